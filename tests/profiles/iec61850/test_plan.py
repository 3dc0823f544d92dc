"""From points to logical devices, nodes, data objects, data sets and control blocks."""

import tomllib
from hashlib import sha256
from importlib.resources import files

import pytest

from s4g_gateway.errors import ModelError
from s4g_gateway.model import ControlModel, Member, ObjectReference
from s4g_gateway.model.logical_nodes import load_common_data_classes, load_logical_nodes
from s4g_gateway.profiles.iec61850 import PlanSettings, describe, object_path, plan_model
from s4g_gateway.profiles.iec61850.cdc import load_cdc_attributes, parse_cdc_attributes, parse_enumerations
from s4g_gateway.profiles.iec61850.scl import find_attribute


def node_of(plan, path):
    device, _, name = path.partition("/")
    return next(n for d in plan.devices if d.name == device for n in d.nodes if n.name == name)


def test_every_device_has_lln0_and_lphd_with_their_mandatory_objects(plan):
    for device in plan.devices:
        assert [node.name for node in device.nodes[:2]] == ["LLN0", "LPHD1"]
        assert {entry.name for entry in device.nodes[0].objects} >= {"Beh", "Mod", "Health", "NamPlt"}
        assert {entry.name for entry in device.nodes[1].objects} >= {"PhyNam", "PhyHealth", "Proxy"}


def test_every_node_has_the_mandatory_objects_of_its_class(plan):
    for device in plan.devices:
        for node in device.nodes:
            names = {entry.name for entry in node.objects}
            for entry in load_logical_nodes()[node.ln_class].data_objects.values():
                assert entry.presence != "M" or entry.name in names


@pytest.mark.parametrize(
    ("reference", "value", "has_quality"),
    [
        ("ESS1/DSTO1.EffWh", "mag.f", True),
        ("ESS1/DSTO1.DEROpSt", "stVal", True),
        ("ESS1/DBAT1.BatSt", "stVal", True),
        ("ESS1/DSTO1.ChaWMaxRtg", "setMag.f", False),
        ("ESS1/LPHD1.PhyNam.serNum", "", False),
        ("PCC1/MMXU1.PhV.phsA", "cVal.mag.f", True),
        ("PCC1/MMTR1.DmdWh", "actVal", True),
    ],
)
def test_a_point_is_bound_to_the_attribute_of_its_class(plan, reference, value, has_quality):
    (binding,) = [entry for entry in plan.bindings if entry.reference == reference]
    assert binding.value == f"{reference}.{value}".rstrip(".")
    assert binding.quality == (f"{reference}.q" if has_quality else "")
    assert binding.time == (f"{reference}.t" if has_quality else "")


def test_every_bound_attribute_exists_in_the_model(plan):
    for binding in plan.bindings:
        path = object_path(binding.value)
        device, _, rest = path.partition("/")
        node, _, name = rest.partition(".")
        (entry,) = [o for o in node_of(plan, f"{device}/{node}").objects if o.name == name]
        for attribute in (binding.value, binding.quality, binding.time):
            inner = attribute.removeprefix(f"{path}.")
            assert not attribute or find_attribute(plan.types, entry.type_id, inner) is not None


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (ControlModel.DIRECT_NORMAL, {"Oper"}),
        (ControlModel.SBO_NORMAL, {"Oper", "SBO", "Cancel"}),
        (ControlModel.DIRECT_ENHANCED, {"Oper"}),
        (ControlModel.SBO_ENHANCED, {"Oper", "SBOw", "Cancel"}),
    ],
)
def test_a_control_object_has_what_its_model_asks_for(plan, model, expected):
    (entry,) = [o for o in node_of(plan, f"ESS1/DWGC{int(model)}").objects if o.name == "WSpt"]
    assert {part.name for part in plan.types[entry.type_id].parts if part.fc == "CO"} == expected
    assert entry.values["ctlModel"] == model
    assert (entry.values["minVal.f"], entry.values["maxVal.f"]) == (-5000.0, 5000.0)


def test_a_great_device_goes_on_in_others():
    members = [
        Member(reference=ObjectReference(f"BIG1/MMXU{node}.{name}"), unit="W")
        for node in range(1, 11)
        for name in ("TotW", "Hz")
    ]
    result = plan_model(members, (), PlanSettings(ied_name="X", objects_per_device=6))
    assert [device.name for device in result.plan.devices] == ["BIG1", "BIG1_2", "BIG1_3", "BIG1_4"]
    assert {binding.value.split("/")[0] for binding in result.plan.bindings} == {
        device.name for device in result.plan.devices
    }
    assert all(device.nodes[0].name == "LLN0" for device in result.plan.devices)


def test_data_sets_hold_every_measured_value_once(plan):
    members = [m for d in plan.devices for n in d.nodes for s in n.data_sets for m in s.members]
    assert len(members) == len(set(members))
    assert "PCC1/MMXU1$MX$PhV" in members
    assert "ESS1/DSTO1$ST$DEROpSt" in members
    assert not any("$SP$" in member for member in members)


def test_data_sets_and_reports_keep_to_the_settings(site):
    settings = PlanSettings(ied_name="X", members_per_data_set=2, buffered_clients=0, unbuffered_clients=3)
    plan = plan_model(*site, settings).plan
    for device in plan.devices:
        head = device.nodes[0]
        assert all(len(entry.members) <= 2 for entry in head.data_sets)
        assert all(not entry.buffered and entry.instances == 3 for entry in head.reports)
        names = [r["name"] for d in describe(plan)["logical_devices"] for r in d["nodes"][0]["reports"]]
        assert names[:3] == ["urcbMX0101", "urcbMX0102", "urcbMX0103"]


def test_only_what_is_included_is_planned(site):
    plan = plan_model(*site, PlanSettings(ied_name="X", include=("PCC1/*",))).plan
    assert [device.name for device in plan.devices] == ["PCC1"]
    assert plan.controls == ()


def test_hyphens_do_not_reach_the_wire():
    members = [Member(reference=ObjectReference("ESS-A/DSTO1.EffWh"), unit="Wh")]
    plan = plan_model(members, (), PlanSettings(ied_name="X")).plan
    assert plan.bindings[0].value == "ESS_A/DSTO1.EffWh.mag.f"


def test_a_reference_that_no_class_knows_is_a_problem():
    result = plan_model(
        [Member(reference=ObjectReference("ESS1/DSTO1.Nonsense"))], (), PlanSettings(ied_name="X")
    )
    (problem,) = result.problems
    assert problem.key == "ESS1/DSTO1.Nonsense"
    assert result.plan.devices == ()


def test_every_common_data_class_with_a_value_has_its_attributes():
    table = load_cdc_attributes()
    for cdc in load_common_data_classes().values():
        if cdc.value_type is None:
            continue
        values = [row for row in table[cdc.name] if row.role == "value"]
        assert len(values) == 1
        assert values[0].fc == cdc.fc


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("MV,mag.f,MX,FLOAT33,,dchg,value,always,solid", "unknown basic type 'FLOAT33'"),
        ("MV,mag.f,MX,FLOAT32,,dchg,worth,always,solid", "role is 'worth'"),
        ("MV,mag.f,MX,FLOAT32,,dchg,value,always,sure", "certainty is 'sure'"),
    ],
)
def test_a_wrong_line_of_the_table_is_named(line, message):
    heading = "cdc,attribute,fc,basic_type,detail,triggers,role,when,certainty"
    with pytest.raises(ModelError, match=f"line 2: {message}"):
        parse_cdc_attributes(f"{heading}\n{line}\n")


def test_an_attribute_or_literal_that_stands_twice_is_named():
    heading = "cdc,attribute,fc,basic_type,detail,triggers,role,when,certainty"
    line = "MV,q,MX,Quality,,qchg,quality,always,solid"
    with pytest.raises(ModelError, match=r"line 3: MV.q stands twice"):
        parse_cdc_attributes(f"{heading}\n{line}\n{line}\n")
    with pytest.raises(ModelError, match="line 3: HealthKind 1 stands twice"):
        parse_enumerations("enum,value,literal,certainty\nHealthKind,1,Ok,solid\nHealthKind,1,Bad,solid\n")


def test_the_sources_of_the_tables_are_recorded_and_current():
    folder = files("s4g_gateway.profiles.iec61850") / "data"
    entries = tomllib.loads((folder / "SOURCE.toml").read_text(encoding="utf-8"))["table"]
    assert {entry["file"] for entry in entries} == {"cdc_attributes.csv", "enumerations.csv"}
    for entry in entries:
        assert sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        assert entry["licence"]
