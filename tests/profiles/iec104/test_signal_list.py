"""Signal list: default types, overrides, addresses that never move, export and comparison."""

import csv
import io
import zipfile
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4g_gateway.errors import ConfigError, ProfileError
from s4g_gateway.model import ControlModel, ControlPoint, Member, ObjectReference, ValueType
from s4g_gateway.profiles.iec104 import (
    AddressEntry,
    PointOverride,
    SignalSettings,
    addresses,
    compare,
    csv_text,
    markdown_text,
    parse_ioa_file,
    plan_signals,
    render_ioa_file,
    signal_list_rows,
    write_xlsx,
)
from s4g_gateway.profiles.iec104.addresses import WantedAddress, assign_addresses
from s4g_gateway.profiles.iec104.defaults import load_defaults, parse_defaults


def member(reference, value_type=ValueType.FLOAT, **more):
    return Member(reference=ObjectReference(reference), value_type=value_type, **more)


def control(reference, value_type=ValueType.FLOAT, **more):
    return ControlPoint(reference=ObjectReference(reference), value_type=value_type, **more)


def override(reference, **more):
    return PointOverride(reference=reference, **more)


POWER, SWITCH, ENERGY = "ESS1/MMXU1.TotW", "ESS1/XCBR1.Pos", "ESS1/MMTR1.SupWh"
SITE = [
    member(POWER, unit="W", deadband=10.0, description="active power"),
    member(SWITCH, ValueType.ENUMERATED, cdc="DPC"),
    member(ENERGY, cdc="BCR", unit="Wh"),
    member("ESS1/LLN0.Health", ValueType.ENUMERATED, cdc="ENS"),
    member("ESS1/DBAT1.BatSt", ValueType.BOOLEAN, cdc="SPS"),
    member("ESS1/LPHD1.PhyNam", ValueType.TEXT, cdc="DPL"),
    member("ESS1/GGIO1.IntIn1", ValueType.INTEGER, cdc="INS", minimum=0, maximum=4e9),
]


def plan(members=SITE, controls=(), existing=(), **settings_):
    return plan_signals(members, controls, SignalSettings(**settings_), existing)


def types(signal_plan):
    return {str(s.reference): s.type_id.name for s in signal_plan.signal_list.signals}


def test_default_types_follow_class_and_value_type_and_texts_are_left_out():
    made = plan()
    assert made.problems == ()
    assert types(made) == {
        POWER: "M_ME_NC_1",
        SWITCH: "M_DP_NA_1",
        ENERGY: "M_IT_NA_1",
        "ESS1/LLN0.Health": "M_ME_NB_1",
        "ESS1/DBAT1.BatSt": "M_SP_NA_1",
        "ESS1/GGIO1.IntIn1": "M_ME_NC_1",
    }
    assert [(s.ioa, s.type_id.name) for s in made.signal_list.signals] == [
        (1001, "M_DP_NA_1"),
        (1002, "M_SP_NA_1"),
        (10001, "M_ME_NC_1"),
        (10002, "M_ME_NB_1"),
        (10003, "M_ME_NC_1"),
        (30001, "M_IT_NA_1"),
    ]


def test_counters_are_not_spontaneous_unless_asked_for():
    assert not plan().signal_list.by_reference[ENERGY].spontaneous
    asked = plan(points=[override(ENERGY, spontaneous=True)])
    assert asked.signal_list.by_reference[ENERGY].spontaneous


def test_command_types_follow_class_value_type_and_control_model():
    made = plan(
        controls=[
            control("ESS1/DWGC1.WSpt", unit="W", minimum=-5000, maximum=5000),
            control("ESS1/DWGC1.WGcEna", ValueType.BOOLEAN, model=ControlModel.SBO_ENHANCED),
            control(SWITCH, ValueType.ENUMERATED),
            control("ESS1/DWGC1.WModEna", ValueType.BOOLEAN, model=ControlModel.STATUS_ONLY),
            control("ESS1/GGIO1.IntOut", ValueType.INTEGER),
        ]
    )
    assert [(c.ioa, c.type_id.name, c.mode) for c in made.signal_list.commands] == [
        (40001, "C_SC_NA_1", "select before operate"),
        (40002, "C_DC_NA_1", "direct"),
        (50001, "C_SE_NC_1", "direct"),
        (50002, "C_SE_NB_1", "direct"),
    ]


def test_later_overrides_win_key_by_key():
    made = plan(
        points=[
            override("*/MMXU1.*", type="M_ME_NA_1", full_scale=1000.0, deadband=5.0),
            override(POWER, full_scale=-2000.0, ioa=77, group=3, description="P"),
        ]
    )
    signal = made.signal_list.by_reference[POWER]
    assert made.problems == ()
    assert (signal.ioa, signal.type_id.name, signal.deadband, signal.group) == (77, "M_ME_NA_1", 5.0, 3)
    assert (signal.scaling.factor, signal.description) == (-2000.0, "P")


def test_stations_by_logical_device_and_by_point():
    members = [member("ESS1/MMXU1.TotW"), member("PV1/MMXU1.TotW"), member("PCC1/MMXU1.TotW")]
    made = plan(
        members,
        common_address=9,
        common_addresses={"PV*": 20},
        points=[override("PCC1/MMXU1.TotW", common_address=30)],
    )
    assert {str(s.reference)[:3]: s.common_address for s in made.signal_list.signals} == {
        "ESS": 9,
        "PV1": 20,
        "PCC": 30,
    }
    assert made.signal_list.common_addresses == (9, 20, 30)


def test_only_included_points_and_those_with_an_override_are_offered():
    made = plan(include=["*/XCBR1.*"], points=[override(POWER)])
    assert set(types(made)) == {POWER, SWITCH}
    assert set(types(plan(include=["*/XCBR1.*"], points=[override("*", deadband=1.0)]))) == {SWITCH}
    assert set(types(plan(points=[override(POWER, type="none")]))) == set(types(plan())) - {POWER}


def test_normalized_takes_its_scale_from_the_limits_or_reports_that_it_has_none():
    limited = [member(POWER, minimum=-8000.0, maximum=5000.0)]
    made = plan(limited, points=[override(POWER, type="M_ME_NA_1")])
    assert made.signal_list.by_reference[POWER].scaling.factor == 8000.0
    (problem,) = plan(points=[override(POWER, type="M_ME_NA_1")]).problems
    assert problem.key == "point[0].full_scale"


def test_every_problem_is_reported_at_once():
    made = plan(
        points=[
            override("ESS1/MMXU1.TotWW"),
            override("ESS1/*", ioa=5),
            override(POWER, ioa=1001, factor=0.0),
            override(SWITCH, ioa=1001),
            override(ENERGY, group=5),
            override("ESS1/LPHD1.PhyNam", type="M_SP_NA_1"),
        ]
    )
    assert [problem.key for problem in made.problems] == [
        "point[0].reference",
        "point[1].ioa",
        "point[2].factor",
        "point[4].group",
        "point[5].type",
        "point[3].ioa",
    ]


# -- addresses ----------------------------------------------------------------------------------------


def wanted(reference, ioa=None, kind="measurement", ca=1):
    return WantedAddress(
        common_address=ca, direction="monitor", reference=reference, kind=kind, ioa=ioa, key="k"
    )


def test_addresses_survive_the_going_and_coming_of_devices():
    first = assign_addresses([wanted("A"), wanted("B"), wanted("C")], ())
    assert first.ioas == (10001, 10002, 10003)
    second = assign_addresses([wanted("C"), wanted("D")], first.entries)
    assert second.ioas == (10003, 10004)
    third = assign_addresses([wanted("B"), wanted("A"), wanted("C"), wanted("D")], second.entries)
    assert third.ioas == (10002, 10001, 10003, 10004)


def test_a_demanded_address_that_belongs_to_another_point_is_a_problem():
    first = assign_addresses([wanted("A")], ())
    second = assign_addresses([wanted("B", ioa=10001)], first.entries)
    assert second.ioas == (0,)
    assert "belongs to A" in second.problems[0].found
    # two stations may use the same address
    assert assign_addresses([wanted("B", ioa=10001, ca=2)], first.entries).problems == ()


def test_a_full_range_goes_on_in_the_overflow_range():
    many = [wanted(f"P{i}") for i in range(20_005)]
    ioas = assign_addresses(many, ()).ioas
    assert ioas[19_999] == 30_000
    assert ioas[20_000:] == (100_001, 100_002, 100_003, 100_004, 100_005)


references = st.text("ABC", min_size=1, max_size=2)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(references, unique=True, max_size=6), max_size=6))
def test_no_address_is_ever_moved_or_given_twice(generations):
    entries = ()
    ever = {}
    for names in generations:
        made = assign_addresses([wanted(name) for name in names], entries)
        entries = parse_ioa_file(render_ioa_file(made.entries), "x.ioa.csv")
        assert entries == made.entries
        for name, ioa in zip(names, made.ioas, strict=True):
            assert ever.setdefault(ioa, name) == name
            assert [i for i, owner in ever.items() if owner == name] == [ioa]


def test_address_file_names_every_wrong_line():
    text = "\n".join(
        [
            "# heading",
            "common_address,ioa,direction,reference",
            "1,10001,monitor,ESS1/MMXU1.TotW",
            "0,10002,monitor,A",
            "1,16777216,monitor,A",
            "1,x,monitor,A",
            "1,5,up,A",
            "1,6,monitor,",
            "1,10001,monitor,B",
            "1,7,monitor",
        ]
    )
    with pytest.raises(ConfigError) as caught:
        parse_ioa_file(text, "site.ioa.csv")
    assert [p.key for p in caught.value.problems] == [f"line {n}" for n in (4, 5, 6, 7, 8, 9, 10)]
    with pytest.raises(ConfigError, match="line 1"):
        parse_ioa_file("a,b,c\n", "site.ioa.csv")
    assert parse_ioa_file("", "site.ioa.csv") == ()
    assert parse_ioa_file("common_address,ioa,direction,reference\n1,2,command,X\n", "f") == (
        AddressEntry(1, 2, "command", "X"),
    )


def test_a_station_without_a_free_address_is_a_problem():
    existing = [AddressEntry(1, 16_777_215, "monitor", "last")]
    point = WantedAddress(common_address=1, direction="monitor", reference="A", kind="counter")
    with_little_room = replace(load_defaults(), overflow=16_777_215, ranges={"counter": range(5, 6)})
    taken = AddressEntry(1, 5, "monitor", "B")
    with patch.object(addresses, "load_defaults", return_value=with_little_room):
        made = assign_addresses([point], [*existing, taken])
    assert made.ioas == (0,)
    assert made.problems[0].found == "no free address for A"


def test_a_text_cannot_be_commanded():
    text = control("ESS1/LPHD1.PhyNam", ValueType.TEXT)
    assert plan(controls=[text]).signal_list.commands == ()
    wish = override("ESS1/LPHD1.PhyNam", command_type="C_SC_NA_1")
    (problem,) = plan(controls=[text], points=[wish]).problems
    assert problem.key == "point[0].command_type"


def test_a_command_can_be_left_out():
    made = plan(controls=[control(POWER)], points=[override(POWER, command_type="none")])
    assert made.signal_list.commands == ()


# -- export and comparison --------------------------------------------------------------------------------


def exported():
    members = [
        member(POWER, unit="W", deadband=10.0, description="=HYPERLINK(1)|x"),
        member(SWITCH, ValueType.BOOLEAN, cdc="DPC", description="breaker"),
    ]
    controls = [control(POWER, unit="W", minimum=-5000, maximum=5000, description="-2+3")]
    return plan(members, controls, points=[override(POWER, factor=-1000.0, offset=5.0)]).signal_list


def test_rows_say_address_type_scaling_and_commands():
    assert signal_list_rows(exported()) == [
        ("1", "1001", "M_DP_NA_1 (3/31)", SWITCH, "breaker", "", "x 1", "0", ""),
        (
            "1", "10001", "M_ME_NC_1 (13/36)", POWER, "=HYPERLINK(1)|x", "W", "x -1000 offset 5", "10",
            "C_SE_NC_1 at IOA 50001",
        ),
        (
            "1", "50001", "C_SE_NC_1 (50/63)", POWER, "-2+3", "W", "x -1000 offset 5", "",
            "direct, min -5000, max 5000",
        ),
    ]  # fmt: skip


def test_no_cell_is_a_formula():
    rows = signal_list_rows(exported())
    cells = [cell for row in csv.reader(io.StringIO(csv_text(rows))) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert "'=HYPERLINK(1)|x" in cells
    assert "\\|x" in markdown_text(rows)
    stream = io.BytesIO()
    write_xlsx(rows, stream, site="demo")
    with zipfile.ZipFile(stream) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
        assert "<f>" not in sheet
        assert "HYPERLINK(1)|x" in book.read("xl/sharedStrings.xml").decode()


def test_comparison_of_the_same_list_finds_nothing():
    text = csv_text(signal_list_rows(exported()))
    assert compare(text, exported(), file="points.csv") == []
    assert compare("\ufeff" + text.replace("\r\n", "\n"), exported(), file="points.csv") == []


def test_comparison_names_every_change():
    old = csv_text(signal_list_rows(exported()))
    members = [member(POWER, unit="W"), member("ESS1/MMXU1.Hz", unit="Hz")]
    now = plan(members, points=[override(POWER, type="M_ME_NB_1", ioa=11, factor=10.0)]).signal_list
    found = [(p.key, p.found, p.expected) for p in compare(old, now, file="points.csv")]
    assert found == [
        (f"line 2: {SWITCH}", "no such point any more", "M_DP_NA_1 (3/31) at CA 1 IOA 1001"),
        (f"line 3: {POWER}: address", "CA 1 IOA 11", "CA 1 IOA 10001"),
        (f"line 3: {POWER}: type", "M_ME_NB_1 (11/35)", "M_ME_NC_1 (13/36)"),
        (f"line 3: {POWER}: scaling", "x 10", "x -1000 offset 5"),
        (f"line 4: {POWER} (command)", "no such point any more", "C_SE_NC_1 (50/63) at CA 1 IOA 50001"),
        ("ESS1/MMXU1.Hz", "M_ME_NC_1 (13/36) at CA 1 IOA 10001", "no such point: it is new"),
    ]


def test_comparison_with_something_that_is_no_signal_list():
    (problem,) = compare("a;b;c\n", exported(), file="points.csv")
    assert problem.key == "line 1"
    rows = csv_text(signal_list_rows(exported()))
    cut = rows.splitlines()[0] + "\n1,2\n"
    assert [p.key for p in compare(cut, exported(), file="points.csv")] == ["line 2"]
    twice = rows + rows.splitlines()[1] + "\r\n"
    assert [p.found for p in compare(twice, exported(), file="points.csv")] == [SWITCH]


def test_default_table_is_checked():
    table = {
        "monitored": {"cdc": {}, "value_type": {}},
        "command": {"cdc": {}, "value_type": {}},
        "wide": {},
        "kind": {t.name: k for t, k in load_defaults().kind.items()},
        "addresses": {
            "indication": 1, "measurement": 2, "counter": 3, "command": 4, "set_point": 5, "end": 6, "overflow": 7
        },
    }  # fmt: skip
    parse_defaults(table)
    for broken in (
        {**table, "kind": {}},
        {**table, "kind": {**table["kind"], "M_XX": "counter"}},
        {**table, "addresses": {**table["addresses"], "counter": 1}},
        {**table, "monitored": {"cdc": {"MV": "C_SC_NA_1"}, "value_type": {}}},
        {**table, "command": {"cdc": {}, "value_type": {"complex": "C_SC_NA_1"}}},
    ):
        with pytest.raises(ProfileError, match=r"defaults\.toml"):
            parse_defaults(broken)
