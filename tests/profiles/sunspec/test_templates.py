import pytest

from s4g_gateway.errors import ConfigError, ProfileError
from s4g_gateway.model import ValueType, parse_reference
from s4g_gateway.model.units import check_unit
from s4g_gateway.profiles.sunspec import (
    DeviceOptions,
    bind,
    build_device,
    compile_layout,
    full_length,
    load_definition,
    load_template,
    template_names,
)
from s4g_gateway.profiles.sunspec.layout import count_points
from s4g_gateway.profiles.sunspec.mapping import load_mapping
from s4g_gateway.profiles.sunspec.nominal import nominal_chain
from s4g_gateway.profiles.sunspec.point_types import Kind

COVERED = {1, 101, 102, 103, 111, 112, 113, 120, 121, 122, 123, 124, 160, 201, 202, 203, 204, 211, 212, 213}
COVERED |= {214, *range(126, 133), 134, *range(701, 715), 802}


def layouts(model_ids):
    for model_id in model_ids:
        definition = load_definition(model_id)
        counts = dict.fromkeys(count_points(definition), 1)
        yield compile_layout(definition, full_length(definition, counts, 4), counts)


def test_templates_cover_the_models_the_gateway_promises():
    used = {use.mapping for name in template_names() for use in load_template(name).use}
    assert {model for name in used for model in load_mapping(name).models} >= COVERED


@pytest.mark.parametrize("name", template_names())
def test_every_mapped_point_exists_and_fits_its_type(name):
    device = build_device(load_template(name), "d")
    for section in device.sections:
        for points in section.points.values():
            for point in points:
                models = point.row.models or point.file.models
                found = [layout.index[point.path] for layout in layouts(models) if point.path in layout.index]
                assert found, f"{point.path} is in none of {models}"
                for each in found:
                    kind = each.definition.type.kind
                    if point.row.is_analog:
                        assert kind in (Kind.NUMBER, Kind.FLOAT, Kind.ACCUMULATOR), point.path
                    if point.row.type is ValueType.TEXT:
                        assert kind is Kind.TEXT
    for control in device.mapped_controls:
        row = control.row
        for layout in layouts(row.models or control.file.models):
            paths = [row.value, *row.preset]
            paths += [path for path in (row.enable, row.reversion) if path]
            paths += [row.excitation] if row.excitation not in ("", "sign") else []
            assert [path for path in paths if path not in layout.index] == []
            # Timers of one model cannot be written on some devices, but the standard makes all of these RW.
            assert [path for path in paths if not layout.index[path].definition.is_writable] == []


@pytest.mark.parametrize("name", template_names())
def test_a_complete_device_leaves_no_point_without_a_register(name):
    device = build_device(load_template(name), "d")
    binding = bind(device, nominal_chain(device.template))
    assert binding.missing == ()
    for decoder in binding.decoders:
        report = decoder.decode([None] * len(decoder.reads), 0)
        assert len(report.values) == len(decoder.data_set)
        # As many columns as members: no member is left to "no such point".
        assert not decoder.has_unsupplied_members
    assert all(bound.model is not None for bound in binding.controls.values())


@pytest.mark.parametrize("name", template_names())
def test_references_units_and_limits_are_sound(name):
    device = build_device(load_template(name), "d", DeviceOptions(rated_power_w=5000))
    for member in (member for data_set in device.data_sets for member in data_set.members):
        parse_reference(member.reference)
        check_unit(member.unit)
        assert member.description
        if member.minimum is not None and member.maximum is not None:
            assert member.minimum < member.maximum
    for point in device.controls:
        assert point.minimum is None or point.maximum is None or point.minimum < point.maximum


def test_conventional_references_of_the_hybrid_inverter():
    device = build_device(load_template("fronius-symo-hybrid"), "d")
    references = {reference for data_set in device.data_sets for reference in data_set.references}
    assert references >= {
        "INV1/MMXU1.TotW", "PV1/MMDC1.Watt", "ESS1/DBAT1.Watt", "ESS1/DSTO1.SocEffWhPct", "ESS1/DSTO1.SocWh",
        "ESS1/DSTO1.WhRtg", "ESS1/DWGC1.WSpt", "INV1/DWMX1.WMaxSptPct", "INV1/DFPF1.PFGnTgtSpt",
        "INV1/DVAR1.VArTgtSptPct", "INV1/LPHD1.PhyNam.serNum",
    }  # fmt: skip
    assert [(data_set.name, len(data_set) > 10) for data_set in device.data_sets] == [
        ("d-measurements", True),
        ("d-settings", True),
    ]


def test_logical_devices_can_be_renamed_and_limits_follow_the_rating():
    options = DeviceOptions(logical_devices={"storage": "ESS7"}, rated_power_w=4000)
    device = build_device(load_template("fronius-symo-hybrid"), "d", options)
    (point,) = (point for point in device.controls if point.reference == "ESS7/DWGC1.WSpt")
    assert (point.minimum, point.maximum, point.unit) == (-4000.0, 4000.0, "W")
    with pytest.raises(ProfileError, match="house unknown, expected some of inverter, pv, storage"):
        build_device(load_template("fronius-symo-hybrid"), "d", DeviceOptions(logical_devices={"house": "X"}))


OWN = """
title = "Meter and its twin"
logical_devices = { a = "PCC1", b = "PCC2" }
[[use]]
mapping = "meter"
fill = { meter = "{a}" }
[[use]]
mapping = "meter"
fill = { meter = "{b}" }
occurrence = 2
omit = ["{meter}/MMXU1.TotPF"]
"""


def test_templates_of_ones_own(tmp_path):
    (tmp_path / "twin.toml").write_text(OWN)
    device = build_device(load_template("twin.toml", tmp_path), "d")
    references = device.data_sets[0].references
    assert "PCC1/MMXU1.TotPF" in references
    assert "PCC2/MMXU1.TotW" in references
    assert "PCC2/MMXU1.TotPF" not in references


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN.replace("{b}", "{a}"), "mapped twice"),
        (OWN.replace("{b}", "{c}"), "nothing to fill in for 'c'"),
        (OWN.replace('"meter"', '"gauge"'), "no mapping file 'gauge'"),
        (OWN.replace("PCC2", "9"), "no ObjectReference"),
    ],
)
def test_templates_that_contradict_themselves_are_refused(tmp_path, text, message):
    (tmp_path / "twin.toml").write_text(text)
    with pytest.raises(ProfileError, match=message):
        build_device(load_template("twin.toml", tmp_path), "d")


def test_unknown_and_broken_templates_are_problems_of_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"one of battery-802, .*generic-meter"):
        load_template("meter")
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_template("none.toml", tmp_path)
    (tmp_path / "odd.toml").write_text(
        'title = "x"\nlogical_devices = { a = "A1" }\ncolour = 1\n[[use]]\nmapping = "meter"\n'
    )
    with pytest.raises(ConfigError, match="colour"):
        load_template("odd.toml", tmp_path)
