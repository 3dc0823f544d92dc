"""The connector's table in site.toml: safe defaults, every contradiction named."""

import pytest

from s4g_gateway.errors import ConfigError, PermanentError
from s4g_gateway.model import DataSet
from s4g_gateway.northbound.iec104 import IEC104, GroupTable, Iec104Config
from s4g_gateway.profiles.iec104 import PointOverride
from s4g_gateway.runtime.contract import SiteContext, SuppliedDataSet
from s4g_gateway.runtime.tables import check_table, table_schema


def create(tmp_path, kit, **config):
    context = SiteContext(
        site="bench",
        directory=tmp_path,
        state_directory=tmp_path,
        supplied=(SuppliedDataSet(data_set=kit.floats(2), period_s=1.0),),
    )
    return IEC104.create("scada", Iec104Config(**config), context)


def keys(tmp_path, kit, **config):
    with pytest.raises(ConfigError) as caught:
        create(tmp_path, kit, **config)
    return [problem.key for problem in caught.value.problems]


def test_defaults_listen_on_loopback(tmp_path, kit):
    outstation = create(tmp_path, kit)
    assert outstation.config.listen == "127.0.0.1:2404"
    assert len(outstation.signal_list.signals) == 2
    assert not (tmp_path / "bench.ioa.csv").exists()  # creating opens and writes nothing


@pytest.mark.parametrize("listen", ["0.0.0.0:2404", "[::]:2404", "192.0.2.1:2404", "scada.example:2404"])
def test_wider_than_loopback_needs_tls_or_a_plain_word(tmp_path, kit, listen):
    assert keys(tmp_path, kit, listen=listen) == ["listen"]
    create(tmp_path, kit, listen=listen, insecure=True)


@pytest.mark.parametrize("listen", ["2404", "127.0.0.1", "127.0.0.1:", ":2404", "127.0.0.1:70000", "[::1]:x"])
def test_listen_is_host_and_port(tmp_path, kit, listen):
    assert keys(tmp_path, kit, listen=listen) == ["listen"]
    create(tmp_path, kit, listen="[::1]:2404")
    create(tmp_path, kit, listen="localhost:0")


def test_every_contradiction_is_found_at_once(tmp_path, kit):
    (tmp_path / "bench.ioa.csv").write_text("common_address,ioa,direction,reference\n1,x,monitor,A\n")
    found = keys(
        tmp_path,
        kit,
        listen="0.0.0.0:2404",
        t1_s=5.0,
        t2_s=5.0,
        group=(GroupTable(name="a", overflow_ioa=10001), GroupTable(name="a", roles=("BOSS",))),
        point=(PointOverride(reference="ESS1/GGIO1.AnIn9"),),
    )
    assert found == [
        "listen",
        "t2_s",
        "group[1].name",
        "group[1].roles",
        "line 2",
        "point[0].reference",
        "group[0].overflow_ioa",
    ]


def test_address_file_that_is_no_text(tmp_path, kit):
    (tmp_path / "bench.ioa.csv").write_bytes(b"\xff\xfe\x00")
    assert keys(tmp_path, kit) == ["ioa_file"]


def test_addresses_that_cannot_be_kept_are_an_error_and_not_a_surprise_later(tmp_path, kit):
    outstation = create(tmp_path, kit, ioa_file="missing-folder/x.ioa.csv")
    with pytest.raises(PermanentError, match=r"x\.ioa\.csv"):
        outstation.persist_addresses()


def test_keys_are_checked_against_the_dataclass(tmp_path, kit):
    schema = table_schema(Iec104Config)
    table = {
        "listen": "127.0.0.1:0",
        "common_address": 0,
        "kk": 1,
        "group": [{"name": "a", "masters": []}],
        "point": [{"reference": "x", "type": "M_ME_XX_1"}, {"ioa": 5}],
    }
    found = sorted(p.key for p in check_table(table, schema, file="site.toml", key="northbound[0]"))
    assert found == [
        "northbound[0].common_address",
        "northbound[0].group[0].masters",
        "northbound[0].kk",
        "northbound[0].point[0].type",
        "northbound[0].point[1].reference",
    ]


def test_two_data_sets_with_texts_only_offer_nothing(tmp_path, kit):
    context = SiteContext(
        site="bench",
        directory=tmp_path,
        state_directory=tmp_path,
        supplied=(
            SuppliedDataSet(
                data_set=DataSet("t", (kit.member("ESS1/LPHD1.PhyNam", "text", "", "DPL"),)), period_s=1.0
            ),
        ),
    )
    assert IEC104.create("scada", Iec104Config(), context).signal_list.signals == ()
