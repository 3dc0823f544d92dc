"""SCL: what is written keeps the rules, what is read is what was written, and broken files are explained."""

import pytest
from lxml import etree

from s4g_gateway.errors import ConfigError
from s4g_gateway.profiles.iec61850 import bind_points, check_scl, describe, read_scl, render_scl

NS = "{http://www.iec.ch/61850/2003/SCL}"


@pytest.fixture
def text(plan):
    return render_scl(plan, description="a site").decode()


def test_the_written_file_keeps_every_rule(text):
    assert check_scl(etree.fromstring(text.encode()), "site.cid") == []


def test_values_stand_as_their_literals(text):
    root = etree.fromstring(text.encode())
    found = {
        (doi.get("name"), dai.get("name")): dai.findtext(f"{NS}Val")
        for doi in root.iter(f"{NS}DOI")
        for dai in doi.iter(f"{NS}DAI")
        if doi.get("name") in ("EffWh", "WSpt", "Proxy")
    }
    assert found["EffWh", "SIUnit"] == "Wh"
    assert found["EffWh", "d"] == "energy"
    assert found["Proxy", "stVal"] == "true"
    assert found["WSpt", "ctlModel"] == "sbo-with-enhanced-security"


def test_reading_back_gives_the_same_model(plan, site, text):
    read = read_scl(text.encode(), "site.cid")
    bound = bind_points(read, *site)
    assert bound.unbound == ()
    assert set(bound.plan.bindings) == set(plan.bindings)
    assert set(bound.plan.controls) == set(plan.controls)
    ours, theirs = describe(plan), describe(bound.plan)
    assert [d["name"] for d in ours["logical_devices"]] == [d["name"] for d in theirs["logical_devices"]]
    assert ours["types"] == theirs["types"]
    for one, other in zip(ours["logical_devices"], theirs["logical_devices"], strict=True):
        for mine, read_node in zip(one["nodes"], other["nodes"], strict=True):
            assert mine["data_sets"] == read_node["data_sets"]
            assert [r["name"] for r in mine["reports"]] == [r["name"] for r in read_node["reports"]]
            assert [r["options"] for r in mine["reports"] if r["buffered"]] == [
                r["options"] for r in read_node["reports"] if r["buffered"]
            ]


def test_devices_without_ld_name_are_called_after_the_ied(text, site):
    root = etree.fromstring(text.encode())
    for device in root.iter(f"{NS}LDevice"):
        del device.attrib["ldName"]
    read = read_scl(etree.tostring(root), "site.icd")
    assert [device.name for device in read.devices] == ["BENCHESS1", "BENCHPCC1"]
    bound = bind_points(read, *site)
    assert bound.unbound == ()
    assert all(entry.value.startswith("BENCH") for entry in bound.plan.bindings)


def test_points_without_a_place_are_told(text, site):
    root = etree.fromstring(text.encode())
    (device,) = [d for d in root.iter(f"{NS}LDevice") if d.get("inst") == "PCC1"]
    device.getparent().remove(device)
    bound = bind_points(read_scl(etree.tostring(root), "site.icd"), *site)
    assert set(bound.unbound) == {m.reference for m in site[0] if m.reference.startswith("PCC1/")}


def broken(text, old, new):
    assert old in text
    return text.replace(old, new, 1).encode()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('datSet="MX01"', 'datSet="MX77"', "a DataSet of the same node"),
        ('bType="FLOAT32"', 'bType="FLOAT33"', "one of BOOLEAN"),
        ('<DO name="Beh"', '<DO name="Boh"', "the mandatory data object Beh"),
        ('doName="EffWh"', 'doName="EffVh"', "a data object of that node"),
        ('doName="EffWh" fc="MX"', 'doName="EffWh" fc="ST"', "a functional constraint that it has"),
        ('<DOI name="Beh">', '<DOI name="Bah">', "a DO of the node's type"),
        ('lnType="LPHD_t2"', 'lnType="LPHD_t99"', "the id of a LNodeType"),
        ('<DAI name="SIUnit">', '<DAI name="SIUnits">', "a part of units_"),
        ('lnClass="LPHD" inst="1"', 'lnClass="MMXU" inst="1"', "one of class MMXU"),
    ],
)
def test_a_broken_rule_is_named_with_its_line(text, old, new, expected):
    with pytest.raises(ConfigError) as caught:
        read_scl(broken(text, old, new), "bad.icd")
    problem = next(found for found in caught.value.problems if expected in found.expected)
    assert problem.file == "bad.icd"
    assert problem.key.startswith("line ")


def test_what_is_no_scl_is_refused():
    for data in (b"not xml", b"<SCL/>", b"<a xmlns='http://www.iec.ch/61850/2003/SCL'/>"):
        with pytest.raises(ConfigError):
            read_scl(data, "bad.icd")


def test_external_entities_are_not_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    data = f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{secret}">]><SCL>&e;</SCL>'.encode()
    with pytest.raises(ConfigError) as caught:
        read_scl(data, "bad.icd")
    assert "secret" not in str(caught.value).replace(str(secret), "")


def test_one_of_several_ieds_is_chosen_by_name(text):
    with pytest.raises(ConfigError, match="BENCH"):
        read_scl(text.encode(), "site.cid", "OTHER")
    assert read_scl(text.encode(), "site.cid", "BENCH").ied_name == "BENCH"
