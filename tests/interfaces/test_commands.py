"""Commands, answers and the Controls a command asks for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.interfaces import (
    Command,
    CommandAnswer,
    CommandError,
    bind_message,
    command_controls,
    load_catalogue,
)
from s4g_gateway.model import (
    ACCEPTED,
    AddCause,
    Control,
    ControlAnswer,
    Origin,
    OriginCategory,
    refused,
)

CATALOGUE = load_catalogue()
NOW = 1_700_000_000_000_000_000
END = NOW + 900_000_000_000
MINUTE = 60_000_000_000
ORIGIN = Origin(category=OriginCategory.REMOTE_CONTROL, identity="gesscon-1")
COMMAND = Command(
    command_id="gesscon-1:42",
    ctl_num=7,
    priority=2,
    not_after_ns=END,
    set_points=(("ESS1/DWGC1.WSpt", -1.5),),
)
PAIRS = (
    ("cmd.id", "gesscon-1:42"),
    ("cmd.ctlNum", 7),
    ("cmd.priority", 2),
    ("cmd.notAfter", 1_700_000_900.0),
    ("ESS1/DWGC1.WSpt", -1.5),
)

names = st.from_regex(r"[A-Z]{2,4}1/DWGC1\.[A-Z][a-z]{1,6}", fullmatch=True)
values = st.one_of(st.floats(allow_nan=False), st.booleans(), st.text(max_size=5))


def test_a_command_as_pairs_and_back():
    assert COMMAND.to_pairs() == PAIRS
    assert Command.from_pairs(PAIRS) == COMMAND
    with_site = COMMAND.to_pairs(site="bolzano-1")
    assert with_site[0][0] == "bolzano-1/cmd.id"
    assert with_site[4][0] == "bolzano-1/ESS1/DWGC1.WSpt"
    assert Command.from_pairs(with_site, site="bolzano-1") == COMMAND


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", fullmatch=True),
    st.integers(0, 255),
    st.integers(1, 255),
    st.integers(1, 4_000_000_000_000_000).map(lambda us: us * 1000),
    st.lists(st.tuples(names, values), min_size=1, max_size=5, unique_by=lambda pair: pair[0]),
)
def test_every_command_survives_its_pairs(command_id, ctl_num, priority, not_after_ns, set_points):
    command = Command(
        command_id=command_id,
        ctl_num=ctl_num,
        priority=priority,
        not_after_ns=not_after_ns,
        set_points=tuple(set_points),
    )
    assert Command.from_pairs(command.to_pairs(site="s"), site="s") == command


def test_numbers_without_fraction_count_as_integers():
    pairs = [("cmd.ctlNum", 7.0) if name == "cmd.ctlNum" else (name, value) for name, value in PAIRS]
    read = Command.from_pairs(pairs)
    assert read == COMMAND
    assert isinstance(read.ctl_num, int)


@pytest.mark.parametrize("missing", ["cmd.id", "cmd.ctlNum", "cmd.priority", "cmd.notAfter"])
def test_a_missing_member_is_told(missing):
    with pytest.raises(CommandError, match=f"{missing} is missing"):
        Command.from_pairs([pair for pair in PAIRS if pair[0] != missing])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("cmd.id", "", "cmd.id: found ''"),
        ("cmd.id", "a" * 65, "1 to 64"),
        ("cmd.id", "a b", "cmd.id"),
        ("cmd.id", 5, "cmd.id: found 5, expected a text"),
        ("cmd.ctlNum", 256, "cmd.ctlNum: found 256, expected 0 to 255"),
        ("cmd.ctlNum", -1, "cmd.ctlNum: found -1"),
        ("cmd.ctlNum", 1.5, "expected an integer"),
        ("cmd.ctlNum", True, "expected an integer"),
        ("cmd.ctlNum", float("inf"), "expected an integer"),
        ("cmd.ctlNum", "1", "expected an integer"),
        ("cmd.priority", 0, "cmd.priority: found 0, expected 1 to 255"),
        ("cmd.notAfter", 0, "seconds since 1970"),
        ("cmd.notAfter", float("nan"), "seconds since 1970"),
        ("cmd.notAfter", 1e300, "seconds since 1970"),
        ("cmd.notAfter", 1e-9, "cmd.notAfter: found 0 ns"),
        ("cmd.notAfter", "soon", "seconds since 1970"),
        ("cmd.notAfter", True, "seconds since 1970"),
        ("ESS1/DWGC1.WSpt", None, r"ESS1/DWGC1\.WSpt: no value"),
    ],
)
def test_a_wrong_member_is_told(name, value, words):
    pairs = [(name, value) if name == other else (other, old) for other, old in PAIRS]
    with pytest.raises(CommandError, match=words):
        Command.from_pairs(pairs)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ((*PAIRS, ("cmd.id", "again")), "cmd.id stands twice"),
        ((*PAIRS, ("cmd.colour", 1)), "cmd.colour is unknown"),
        ((*PAIRS, PAIRS[4]), "stands twice at one time"),
        (PAIRS[:4], "0 set-points, expected 1 to 4320"),
        ((*PAIRS, *((f"X{i}/DWGC1.WSpt", 1) for i in range(4320))), "4321 set-points"),
    ],
)
def test_a_command_of_the_wrong_shape_is_told(pairs, words):
    with pytest.raises(CommandError, match=words):
        Command.from_pairs(pairs)


def test_names_of_another_site_and_times_that_do_not_match_are_told():
    with pytest.raises(CommandError, match="starts with fur-1/"):
        Command.from_pairs(COMMAND.to_pairs(site="bolzano-1"), site="fur-1")
    with pytest.raises(CommandError, match="1 times for 5 names"):
        Command.from_pairs(PAIRS, times_ns=[1])
    with pytest.raises(CommandError, match="2 times for 1 set-points"):
        replace(COMMAND, times_ns=(1, 2))


def test_answers_as_pairs_and_back():
    for answer in (
        CommandAnswer(command_id="a", accepted=True),
        *(CommandAnswer(command_id="a", accepted=False, add_cause=cause) for cause in AddCause),
    ):
        assert CommandAnswer.from_pairs(answer.to_pairs(site="s"), site="s") == answer
    assert CommandAnswer(command_id="a", accepted=False, add_cause=AddCause.BLOCKED_BY_MODE).to_pairs() == (
        ("cmd.id", "a"),
        ("cmd.accepted", False),
        ("cmd.addCause", "blocked-by-mode"),
    )


def test_an_answer_of_a_control():
    assert CommandAnswer.of("a", ACCEPTED) == CommandAnswer(command_id="a", accepted=True)
    assert (
        CommandAnswer.of("a", refused(AddCause.TIME_LIMIT_OVER, "late")).add_cause is AddCause.TIME_LIMIT_OVER
    )
    with pytest.raises(CommandError, match="expected NONE when accepted"):
        CommandAnswer.of("a", ControlAnswer(accepted=True, add_cause=AddCause.BLOCKED_BY_MODE))


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ((("cmd.id", "a"), ("cmd.accepted", True)), "cmd.addCause is missing"),
        ((("cmd.id", "a"), ("cmd.accepted", 1), ("cmd.addCause", "none")), "expected a boolean"),
        ((("cmd.id", "a"), ("cmd.accepted", False), ("cmd.addCause", "bad mood")), "found 'bad mood'"),
        ((("cmd.id", "a"), ("cmd.accepted", True), ("cmd.addCause", "none"), ("X", 1)), "no set-points"),
    ],
)
def test_a_wrong_answer_is_told(pairs, words):
    with pytest.raises(CommandError, match=words):
        CommandAnswer.from_pairs(pairs)


# Controls


def test_a_set_point_becomes_one_control_in_canonical_units():
    binding = bind_message(CATALOGUE.message("froniusess-smx/command"), {"ESS1/DWGC1.WSpt": "BAT/DWGC2.WSpt"})
    assert command_controls(COMMAND, origin=ORIGIN, time_ns=NOW, binding=binding) == (
        Control(
            reference="BAT/DWGC2.WSpt",
            value=-1500.0,
            origin=ORIGIN,
            ctl_num=7,
            time_ns=NOW,
            priority=2,
            not_before_ns=0,
            not_after_ns=END,
            command_id="gesscon-1:42",
        ),
    )


def test_an_open_command_names_references_and_canonical_values():
    (control,) = command_controls(COMMAND, origin=ORIGIN, time_ns=NOW)
    assert (control.reference, control.value) == ("ESS1/DWGC1.WSpt", -1.5)
    with pytest.raises(CommandError, match="no ObjectReference"):
        command_controls(replace(COMMAND, set_points=(("WSpt", 1),)), origin=ORIGIN, time_ns=NOW)


def test_a_plan_becomes_one_control_per_slot_with_the_slots_own_priority():
    binding = bind_message(CATALOGUE.message("gesscon-lessag/command"))
    plan = replace(
        COMMAND,
        set_points=(
            ("ESS1/DWGC1.WSpt", 100),
            ("ESS1/dc_power_setpoint_priority", 3),
            ("ESS1/DWGC1.WSpt", -200),
            ("ESS1/dc_power_setpoint_priority", 1),
        ),
        times_ns=(NOW + MINUTE, NOW + MINUTE, NOW, NOW),
    )
    controls = command_controls(plan, origin=ORIGIN, time_ns=NOW, binding=binding)
    assert [(c.value, c.not_before_ns, c.not_after_ns, c.priority) for c in controls] == [
        (-200, NOW, NOW + MINUTE, 1),
        (100, NOW + MINUTE, END, 3),
    ]


def test_several_set_points_keep_their_signs_and_windows():
    binding = bind_message(CATALOGUE.message("er-smx/set-points"))
    command = replace(
        COMMAND,
        set_points=(
            ("ER1/DWMN1.WMinSpt", -2),
            ("ER1/DWMX1.WMaxSpt", 3),
            ("ER1/DPMC1.VArMinSpt", -1),
            ("ER1/DPMC1.VArMaxSpt", 1),
        ),
    )
    controls = command_controls(command, origin=ORIGIN, time_ns=NOW, binding=binding)
    assert [control.value for control in controls] == [-2000, 3000, -1000, 1000]


@pytest.mark.parametrize(
    ("message", "set_points", "times_ns", "words"),
    [
        ("froniusess-smx/command", (("ESS1/DWGC1.Wspt", 1),), None, r"unknown .* expected ESS1/DWGC1\.WSpt"),
        ("froniusess-smx/command", (("ESS1/DWGC1.WSpt", "1"),), None, "expected float"),
        ("froniusess-smx/command", (("ESS1/DWGC1.WSpt", 1),), (END,), "not before cmd.notAfter"),
        (
            "froniusess-smx/command",
            (("ESS1/DWGC1.WSpt", 1), ("ESS1/DWGC1.WSpt", 2)),
            (NOW, NOW + 1),
            "no array",
        ),
        ("evch-smx/command", (("EV1/DESE1.ChaPwrTgt", -1),), None, "outside its limits"),
        ("er-smx/operation", (("ER1/operation_mode", 6),), None, "outside its limits"),
        ("er-smx/set-points", (("ER1/DWMX1.WMaxSpt", 3),), None, r"ER1/DWMN1\.WMinSpt is missing"),
        ("froniusess-smx/measurement", (("ESS1/MMXU1.TotW", 1),), None, "is no command"),
        ("gevchcon-gui/command", (("S4G1/avoid_overload_radial_id", "R1"),), None, "sets nothing"),
    ],
)
def test_a_command_that_does_not_fit_its_message_is_refused(message, set_points, times_ns, words):
    binding = bind_message(CATALOGUE.message(message))
    command = replace(COMMAND, set_points=set_points, times_ns=times_ns)
    with pytest.raises(CommandError, match=words):
        command_controls(command, origin=ORIGIN, time_ns=NOW, binding=binding)


def test_enable_and_operation_mode_are_set_points():
    for name, path, value in (
        ("evch-smx/command", "EV1/DLOD1.AuthConn", True),
        ("er-smx/operation", "ER1/operation_mode", 5),
    ):
        binding = bind_message(CATALOGUE.message(name))
        command = replace(COMMAND, set_points=((path, value),))
        (control,) = command_controls(command, origin=ORIGIN, time_ns=NOW, binding=binding)
        assert control.value == value
