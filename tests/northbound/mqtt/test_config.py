"""What ``s4g check`` finds in an mqtt table, all at once."""

import msgspec
import pytest

from s4g_gateway.errors import ConfigError
from s4g_gateway.model import DataSet, Member, ObjectReference
from s4g_gateway.northbound.mqtt import MQTT, MqttConfig, MqttTls
from s4g_gateway.runtime.contract import SiteContext, SuppliedDataSet


def problems(tmp_path, context=None, **keys):
    site = context or SiteContext(site="house", directory=tmp_path, state_directory=tmp_path)
    try:
        MQTT.create("broker", MqttConfig(**keys), site)
    except ConfigError as error:
        return [(problem.key, problem.found) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "url", ["mqtt://127.0.0.1:1883", "mqtt://localhost", "mqtt://[::1]:1883", "mqtts://eb.example:8883"]
)
def test_loopback_and_tls_are_fine(tmp_path, url):
    assert problems(tmp_path, url=url) == []


def test_plain_mqtt_to_elsewhere_needs_insecure_in_so_many_words(tmp_path):
    url = "mqtt://eb.example"
    assert problems(tmp_path, url=url) == [("url", url)]
    assert problems(tmp_path, url=url, insecure=True) == []


def test_every_problem_is_found_at_once(tmp_path):
    found = problems(
        tmp_path,
        url="mqtt://eb.example",
        tls=MqttTls(key="key.pem"),
        clients={"grid": ("GESSCON", "BOSS"), "me": ("KING",)},
    )
    assert [key for key, _ in found] == ["url", "tls", "tls.key", "clients.grid", "clients.me"]


@pytest.mark.parametrize("url", ["mqtt://user@127.0.0.1", "mqtt://:1883", "mqtt://127.0.0.1:99999"])
def test_url_that_is_none(tmp_path, url):
    assert [key for key, _ in problems(tmp_path, url=url)] == ["url"]


def test_missing_and_wrong_certificate_files_are_named(tmp_path):
    (tmp_path / "wrong.pem").write_text("no certificate")
    for ca in ("missing.pem", "wrong.pem"):
        ((key, found),) = problems(tmp_path, url="mqtts://eb.example", tls=MqttTls(ca=ca))
        assert key == "tls"
        assert ca in found


def test_roles_that_do_not_fit_the_measurement_event_are_a_problem(tmp_path):
    volts = DataSet("d", (Member(reference=ObjectReference("GRID/MMXU1.PhV"), unit="V"),))
    for roles in ({"PCC1/MMXU1.TotW": "GRID/MMXU1.PhV"}, {"PCC1/MMXU1.TotW": "nothing"}):
        site = SiteContext(
            site="house",
            directory=tmp_path,
            state_directory=tmp_path,
            supplied=(SuppliedDataSet(data_set=volts, period_s=1.0),),
            roles=roles,
        )
        assert [key for key, _ in problems(tmp_path, site, url="mqtt://127.0.0.1")] == ["site.roles"]


def test_roles_move_the_points_of_the_measurement_event(tmp_path):
    watts = DataSet("d", (Member(reference=ObjectReference("GRID7/MMXU3.TotW"), unit="W"),))
    site = SiteContext(
        site="house",
        directory=tmp_path,
        state_directory=tmp_path,
        supplied=(SuppliedDataSet(data_set=watts, period_s=1.0),),
        roles={"PCC1/MMXU1.TotW": "GRID7/MMXU3.TotW"},
    )
    connector = MQTT.create("broker", MqttConfig(url="mqtt://127.0.0.1"), site)
    assert connector.events.measurement.data_set.references == ("GRID7/MMXU3.TotW",)
    assert connector.events.status.data_set is None


@pytest.mark.parametrize(
    "table",
    [
        {"url": "http://x"},
        {"url": "mqtt://x", "node": "a_b"},
        {"url": "mqtt://x", "qos": 2},
        {"url": "mqtt://x", "format": "exi"},
        {"url": "mqtt://x", "measurement_period_s": 11},
        {"url": "mqtt://x", "publish": "all"},
        {"url": "mqtt://x", "journal_sync_s": 0},
        {"url": "mqtt://x", "inflight": 0},
    ],
)
def test_schema_refuses(table):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(table, MqttConfig)
