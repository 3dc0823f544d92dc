"""Message <-> Report: units, signs, roles, devices, halves, quality, plans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.errors import LocalProtocolError
from s4g_gateway.interfaces import (
    MessageError,
    bind_message,
    load_catalogue,
    message_data_set,
    plan_columns,
    plan_reports,
)
from s4g_gateway.model import Reason, Report, ValueType, check_report
from s4g_gateway.model.quality import GOOD, INVALID, OLD_DATA, OUT_OF_RANGE, QUESTIONABLE

CATALOGUE = load_catalogue()
EB = CATALOGUE.message("lessag-eb/measurement")
ESS = CATALOGUE.message("commercialess-smx/measurement")
NOW = 1_700_000_000_000_000_000
OUTSIDE = QUESTIONABLE | OUT_OF_RANGE
CLOSED = [message for message in CATALOGUE.messages() if not message.open]


def report(binding, values, quality=None, **more):
    return Report(binding.data_set, tuple(values), quality or (GOOD,) * len(binding.data_set), NOW, **more)


def test_data_set_of_the_event_broker_measurement():
    data = message_data_set(EB)
    assert data.name == "lessag-eb/measurement"
    assert data.references == (
        "PV1/MMXU1.TotW",
        "ESS1/MMXU1.TotW",
        "PCC1/MMXU1.TotW",
        "LOAD1/MMXU1.TotW",
        "GEN1/MMXU1.TotW",
        "ESS1/DSTO1.SocEffWhPct",
        "LOAD1/MMXU1.AvPhVPhs",
        "PCC1/MMXU1.AvPhVPhs",
    )
    assert [member.unit for member in data.members] == ["W"] * 5 + ["%", "V", "V"]
    assert data.members[0].description == "Generated power (kW)"


def test_to_wire_and_back_with_units():
    binding = bind_message(EB)
    sent = report(binding, (3300, -1000.5, 2299.5, -0.0, None, 55.5, 231, 230.1))
    wire = binding.to_wire(sent)
    assert wire == (3.3, -1.0005, 2.2995, 0, None, 55.5, 231, 230.1)
    assert [field.unit for field in binding.fields] == ["kW"] * 5 + ["%EL", "V", "V"]
    assert binding.fields[0].path == "PV1/MMXU1.TotW"
    back = binding.from_wire(wire, time_ns=NOW)
    check_report(back)
    assert back.values == (3300, -1000.5, 2299.5, 0, None, 55.5, 231, 230.1)
    assert back.included == bytes([1, 1, 1, 1, 0, 1, 1, 1])
    assert back.quality == (GOOD,) * 4 + (INVALID,) + (GOOD,) * 3
    assert binding.missing(wire) == ()
    assert binding.missing((None,) * 8)[0] == "PV1/MMXU1.TotW"
    assert "GEN1/MMXU1.TotW" not in binding.missing((None,) * 8)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_powers_survive_the_wire_to_the_last_digit_but_one(power_w):
    binding = bind_message(EB)
    back = binding.from_wire(
        binding.to_wire(report(binding, (power_w,) + (None,) * 7)), time_ns=NOW, reason=Reason.DATA_CHANGE
    )
    assert back.values[0] == pytest.approx(power_w, rel=1e-15, abs=1e-300)
    assert back.reason is Reason.DATA_CHANGE


@given(st.decimals(-100_000_000, 100_000_000, places=3).map(float) | st.integers(-(10**8), 10**8))
def test_decimal_powers_survive_the_wire_exactly(power_w):
    binding = bind_message(EB)
    wire = binding.to_wire(report(binding, (power_w,) + (None,) * 7))
    assert wire[0] == power_w / 1000
    assert binding.from_wire(wire, time_ns=NOW).values[0] == power_w


def test_members_that_are_not_included_do_not_travel():
    binding = bind_message(EB)
    partial = report(
        binding, range(8), (GOOD, QUESTIONABLE) + (INVALID,) * 6, included=bytes([0, 1] + [0] * 6)
    )
    assert binding.to_wire(partial) == (None, 0.001, None, None, None, None, None, None)
    assert binding.wire_quality(partial) == (0, QUESTIONABLE, 0, 0, 0, 0, 0, 0)


def test_quality_travels_and_a_quality_without_value_is_included():
    binding = bind_message(EB)
    sent = report(binding, (1, None, 2, 3, 4, 5, 6, 7), (QUESTIONABLE | OLD_DATA, INVALID) + (GOOD,) * 6)
    back = binding.from_wire(
        binding.to_wire(sent), time_ns=NOW, quality=binding.wire_quality(sent), reason=sent.reason
    )
    assert (back.values, back.quality, back.included) == (sent.values, sent.quality, None)


@pytest.mark.parametrize(
    ("discharge_w", "supplied", "released"),
    [(5000, 0, 5), (-5000, 5, 0), (0, 0, 0), (None, None, None)],
)
def test_supplied_and_released_power_are_the_halves_of_one_signed_power(discharge_w, supplied, released):
    binding = bind_message(ESS)
    assert binding.data_set.references == (
        "ESS1/MMXU1.AvPhVPhs",
        "ESS1/MMXU1.TotW",
        "ESS1/DSTO1.SocEffWhPct",
    )
    wire = binding.to_wire(report(binding, (400, discharge_w, 50)))
    assert wire == (400, supplied, released, 50)
    assert binding.from_wire(wire, time_ns=NOW).values == (400, discharge_w, 50)
    assert [field.name for field in binding.fields][1:3] == [
        "power_supplied_to_the_ess",
        "power_released_from_the_ess",
    ]


def test_halves_one_alone_both_at_once_and_a_negative_one():
    binding = bind_message(ESS)
    assert binding.from_wire((None, 2, None, None), time_ns=NOW).values[1] == -2000
    assert binding.from_wire((None, None, 2, None), time_ns=NOW).values[1] == 2000
    assert binding.from_wire((None, 3, 1, None), time_ns=NOW).values[1] == -2000
    wrong = binding.from_wire((None, -3, None, None), time_ns=NOW)
    assert wrong.quality[1] == OUTSIDE
    bad = binding.from_wire((None, 3, 0, None), time_ns=NOW, quality=(0, INVALID, 0, 0))
    assert bad.quality[1] == INVALID


def test_what_breaks_a_limit_is_questionable_not_lost():
    binding = bind_message(EB)
    back = binding.from_wire((1, 1, 1, 1, 1, 100.5, 230, -1), time_ns=NOW)
    assert back.values[5:] == (100.5, 230, -1)
    assert back.quality == (GOOD,) * 5 + (OUTSIDE, GOOD, OUTSIDE)
    status = bind_message(CATALOGUE.message("lessag-eb/status"))
    unknown = status.from_wire(("SN1", 7, "R1", None, None), time_ns=NOW)
    assert (unknown.values[1], unknown.quality[1]) == (7, OUTSIDE)
    overview = bind_message(CATALOGUE.message("gesscon-gui/status"))
    good = overview.from_wire(("R1=Ok R2=Alarm", "peak-shaving", "", "E1=in"), time_ns=NOW)
    assert set(good.quality) == {GOOD}
    odd = overview.from_wire(("R1: fine", "levitation", "E1", "E1=in"), time_ns=NOW)
    assert odd.quality == (OUTSIDE, OUTSIDE, OUTSIDE, GOOD)
    assert odd.values[1] == "levitation"


@pytest.mark.parametrize("bad", ["3.3", True, float("nan"), float("inf")])
def test_a_value_of_the_wrong_type_is_refused(bad):
    binding = bind_message(EB)
    with pytest.raises(MessageError, match=r"PV1/MMXU1\.TotW: found .* expected float"):
        binding.from_wire((bad,) + (None,) * 7, time_ns=NOW)


def test_integers_booleans_and_texts_are_checked_too():
    binding = bind_message(CATALOGUE.message("gesscon-lessag/measurement"))
    names = [field.name for field in binding.fields]
    values = [None] * len(names)
    values[names.index("dc_power_setpoint_priority")] = 2.0
    values[names.index("dc_power_setpoint_accepted")] = True
    back = binding.from_wire(values, time_ns=NOW)
    at = binding.data_set.index["ESS1/GGIO1.DcPowerSetpointPriority"]
    assert back.values[at] == 2
    assert isinstance(back.values[at], int)
    for name, bad in (
        ("dc_power_setpoint_priority", 2.5),
        ("dc_power_setpoint_accepted", 1),
        ("LPHD1.PhyNam.serNum", 1),
        ("DSTO1.DEROpSt", "running"),
    ):
        values = [None] * len(names)
        values[names.index(name)] = bad
        with pytest.raises(MessageError, match="expected"):
            binding.from_wire(values, time_ns=NOW)


def test_a_wrong_number_of_values_is_refused():
    binding = bind_message(EB)
    with pytest.raises(MessageError, match="3 values and 8 qualities, expected 8 of each"):
        binding.from_wire((1, 2, 3), time_ns=NOW)
    with pytest.raises(MessageError, match="expected 8 of each"):
        binding.from_wire((1,) * 8, time_ns=NOW, quality=(0,))


def test_a_report_of_another_data_set_is_our_own_mistake():
    with pytest.raises(LocalProtocolError, match="lessag-eb/measurement"):
        bind_message(EB).to_wire(report(bind_message(ESS), (1, 2, 3)))


def test_roles_replace_references_and_the_wire_keeps_the_conventional_name():
    binding = bind_message(EB, {"PCC1/MMXU1.TotW": "Meter/MMXU2.TotW", "XY1/MMXU1.TotW": "Z1/MMXU1.TotW"})
    assert "Meter/MMXU2.TotW" in binding.data_set.index
    assert "PCC1/MMXU1.TotW" not in binding.data_set.index
    assert binding.fields[2].path == "PCC1/MMXU1.TotW"


def test_roles_rename_logical_devices_on_the_wire_too():
    binding = bind_message(EB, {"ESS1": "ESS2", "ESS2/DSTO1.SocEffWhPct": "BMS/DSTO1.UseSocPct"})
    assert "ESS2/MMXU1.TotW" in binding.data_set.index
    assert binding.fields[1].path == "ESS2/MMXU1.TotW"
    assert "BMS/DSTO1.UseSocPct" in binding.data_set.index
    assert binding.by_path["ESS2/DSTO1.SocEffWhPct"] == 5


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ({"ESS1": "PV1"}, "both PV1/MMXU1.TotW"),
        ({"ESS1/MMXU1.TotW": "PV1/MMXU1.TotW"}, "both PV1/MMXU1.TotW"),
        ({"ESS1": "PV1", "ESS1/MMXU1.TotW": "B1/MMXU1.TotW"}, "two variables one name"),
        ({"ESS1": "PV1/MMXU1.TotW"}, "two references or two logical devices"),
        ({"ESS1": "1ESS"}, "no ObjectReference"),
        ({"ESS1/MMXU1": "ESS2/MMXU1.TotW"}, "no ObjectReference"),
    ],
)
def test_roles_that_do_not_fit_are_refused(roles, words):
    with pytest.raises(MessageError, match=words):
        bind_message(EB, roles)


def test_two_halves_share_a_point_and_nothing_else_does():
    with pytest.raises(MessageError, match=r"both ESS1/MMXU1\.TotW"):
        bind_message(ESS, {"ESS1/DSTO1.SocEffWhPct": "ESS1/MMXU1.TotW"})


def test_a_message_per_device_holds_every_device():
    status = CATALOGUE.message("lessag-eb/status")
    binding = bind_message(status, {"PV1/LPHD1.PhyNam.serNum": "INV1/LPHD1.PhyNam.serNum"}, ["ESS1", "PV1"])
    assert len(binding.fields) == 2 * len(status.records)
    assert binding.fields[5].path == "PV1/LPHD1.PhyNam.serNum"
    assert binding.data_set.members[5].reference == "INV1/LPHD1.PhyNam.serNum"
    assert binding.data_set.members[7].reference == "PV1/GGIO1.RadialId"
    with pytest.raises(MessageError, match=r"both ESS1/LPHD1\.PhyNam\.serNum"):
        bind_message(status, None, ["ESS1", "ESS1"])
    with pytest.raises(MessageError, match="device '1ESS'"):
        bind_message(status, None, ["1ESS"])
    with pytest.raises(MessageError, match="whole site"):
        bind_message(EB, None, ["ESS1"])


def test_an_open_message_has_no_data_set():
    with pytest.raises(MessageError, match="smx-eb/measurement is open"):
        message_data_set(CATALOGUE.message("smx-eb/measurement"))


SAMPLES = {
    ValueType.FLOAT: 12.5,
    ValueType.INTEGER: 3,
    ValueType.BOOLEAN: True,
    ValueType.ENUMERATED: 1,
    ValueType.TEXT: "",
}


@pytest.mark.parametrize("message", CLOSED, ids=lambda message: message.name)
def test_every_message_goes_out_and_comes_back(message):
    binding = bind_message(message)
    halves = {field.position for field in binding.fields if field.variable.half}
    values = [
        literal if (literal := next(iter(field.variable.values), None)) is None else literal.value
        for field in binding.fields
    ]
    columns = [None] * len(binding.data_set)
    for field, value in zip(binding.fields, values, strict=True):
        columns[field.position] = SAMPLES[field.variable.value_type] if value is None else value
    sent = report(binding, columns)
    back = binding.from_wire(binding.to_wire(sent), time_ns=NOW, quality=binding.wire_quality(sent))
    assert back == sent
    assert len(binding.data_set) == len(binding.fields) - len(halves)


PLAN = bind_message(CATALOGUE.message("gesscon-lessag/command"))
POWER, PRIORITY = PLAN.data_set.references
MINUTE = 60_000_000_000


def test_a_plan_is_one_report_per_slot():
    times = [NOW + MINUTE * slot for slot in range(1440)]
    powers = [float(slot % 7 - 3) * 100 for slot in range(1440)]
    reports = plan_reports(PLAN, times, {POWER: powers, PRIORITY: [1] * 1440})
    assert len(reports) == 1440
    assert PLAN.to_wire(reports[5]) == (200.0, 1)
    assert reports[5].time_ns == times[5]
    found_times, columns = plan_columns(PLAN, list(reversed(reports)))
    assert found_times == tuple(times)
    assert columns == {POWER: tuple(powers), PRIORITY: (1,) * 1440}


def test_single_variables_travel_with_the_first_slot():
    binding = bind_message(CATALOGUE.message("gui-lessag/lessag-variables"))
    soc, power, priority = binding.data_set.references
    reports = plan_reports(binding, [NOW, NOW + MINUTE], {power: [100, 200]}, {soc: 50})
    assert [binding.to_wire(slot) for slot in reports] == [(50, 0.1, None), (None, 0.2, None)]
    assert [slot.included for slot in reports] == [bytes([1, 1, 0]), bytes([0, 1, 0])]
    assert plan_columns(binding, reports)[1] == {power: (100, 200)}
    with pytest.raises(MessageError, match=f"{priority} is no single variable"):
        plan_reports(binding, [NOW], {}, {priority: 1})


def test_a_plan_that_does_not_fit_is_refused():
    for times, columns, words in (
        ([], {}, "0 slots"),
        ([NOW + i for i in range(1441)], {}, "1441 slots"),
        ([NOW, NOW], {}, "do not rise"),
        ([NOW], {POWER: [1, 2]}, "2 values for 1 slots"),
        ([NOW], {"X1/GGIO1.AnIn1": [1]}, "is no array of"),
    ):
        with pytest.raises(MessageError, match=words):
            plan_reports(PLAN, times, columns)
    (slot,) = plan_reports(PLAN, [NOW], {POWER: [1]})
    other = Report(slot.data_set, slot.values, slot.quality, NOW)
    with pytest.raises(MessageError, match="two slots"):
        plan_columns(PLAN, [slot, other])
    with pytest.raises(MessageError, match="one time"):
        plan_columns(PLAN, [Report(slot.data_set, slot.values, slot.quality, (NOW, NOW))])
