"""Commands: direct, select before operate, cancel, late answers; ASDUs in hex."""

from __future__ import annotations

from typing import Any

import pytest

from s4g_gateway.codecs.iec104 import (
    CommandMode,
    CommandPoint,
    CommandReleased,
    CommandRequested,
    GroupConfig,
    LinkClosed,
    ReleaseReason,
    TimeTag,
    TypeId,
)
from s4g_gateway.errors import LocalProtocolError

DIRECT, SELECTED, BOTH = 50, 51, 52
# 0x32 direct single, 0x33 select single, 0x34 both, scaled
SELECT = "2d 01 06 05 01 00 33 00 00 81"
EXECUTE = "2d 01 06 05 01 00 33 00 00 01"
CANCEL = "2d 01 08 05 01 00 33 00 00 81"


def con(asdu: str, *, negative: bool = False, cause: int = 7) -> str:
    octet = int(asdu[6:8], 16) & 0x80 | cause | (0x40 if negative else 0)
    return f"{asdu[:6]}{octet:02x}{asdu[8:]}"


def term(asdu: str, *, negative: bool = False) -> str:
    return con(asdu, negative=negative, cause=10)


@pytest.fixture
def bench(make_bench: Any, image: Any) -> Any:
    image.common_addresses = {1, 2}
    image.commands = {
        (1, DIRECT): CommandPoint(type_id=TypeId.C_SC_NA_1),
        (1, SELECTED): CommandPoint(type_id=TypeId.C_SC_NA_1, mode=CommandMode.SELECT, select_timeout_s=5.0),
        (1, BOTH): CommandPoint(type_id=TypeId.C_SE_NB_1, mode=CommandMode.BOTH, minimum=-10, maximum=10),
        (1, 53): CommandPoint(type_id=TypeId.C_DC_NA_1),
        (1, 54): CommandPoint(type_id=TypeId.C_RC_NA_1),
        (1, 55): CommandPoint(type_id=TypeId.C_SE_NA_1),
        (1, 56): CommandPoint(type_id=TypeId.C_SE_NC_1),
        (1, 57): CommandPoint(type_id=TypeId.C_BO_NA_1),
    }
    return make_bench(
        groups=(GroupConfig(name="scada"), GroupConfig(name="other")), answer_timeout_s=8.0, max_commands=4
    )


@pytest.fixture
def peer(bench: Any) -> Any:
    peer = bench.master()
    bench.events()
    return peer


def requested(bench: Any) -> CommandRequested:
    (event,) = bench.events()
    assert isinstance(event, CommandRequested)
    return event


def select(bench: Any, peer: Any, asdu: str = SELECT) -> int:
    assert peer.ask(asdu) == []
    token = requested(bench).token
    assert bench.answer(token)
    assert peer.take() == [con(asdu)]
    return token


def test_a_direct_command_is_confirmed_only_when_the_device_has_answered(bench: Any, peer: Any) -> None:
    asdu = "2d 01 06 05 01 00 32 00 00 05"
    assert peer.ask(asdu) == []
    bench.wait(3.0)
    assert peer.take() == []
    event = requested(bench)
    assert event == CommandRequested(
        token=event.token,
        link=peer.number,
        group="scada",
        peer="m",
        originator=5,
        common_address=1,
        address=DIRECT,
        type_id=TypeId.C_SC_NA_1,
        value=1,
        qualifier=1,
        select=False,
        selection=None,
        test=False,
        time=None,
        received_ns=bench.utc_ns - 3_000_000_000,
    )
    assert bench.answer(event.token)
    assert peer.take() == [con(asdu)]
    assert bench.terminate(event.token)
    assert peer.take() == [term(asdu)]
    assert not bench.terminate(event.token)
    assert not bench.answer(event.token)
    assert peer.take() == []


def test_a_refusal_by_the_device_is_a_negative_confirmation_without_termination(
    bench: Any, peer: Any
) -> None:
    asdu = "2d 01 06 05 01 00 32 00 00 01"
    peer.ask(asdu)
    token = requested(bench).token
    assert bench.answer(token, False)
    assert peer.take() == [con(asdu, negative=True)]
    assert not bench.terminate(token)
    assert peer.take() == []


def test_an_execution_that_fails_later_ends_negatively(bench: Any, peer: Any) -> None:
    asdu = "2d 01 06 05 01 00 32 00 00 01"
    peer.ask(asdu)
    token = requested(bench).token
    bench.answer(token)
    bench.terminate(token, accepted=False)
    assert peer.take() == [con(asdu), term(asdu, negative=True)]


def test_termination_can_be_switched_off(make_bench: Any, image: Any) -> None:
    image.commands = {(1, DIRECT): CommandPoint(type_id=TypeId.C_SC_NA_1)}
    bench = make_bench(terminate_commands=False)
    peer = bench.master()
    bench.events()
    peer.ask("2d 01 06 00 01 00 32 00 00 01")
    token = requested(bench).token
    assert bench.answer(token)
    assert not bench.terminate(token)
    assert peer.take() == ["2d 01 07 00 01 00 32 00 00 01"]


@pytest.mark.parametrize(
    ("asdu", "value", "qualifier"),
    [
        ("2e 01 06 00 01 00 35 00 00 02", 2, 0),
        ("2f 01 06 00 01 00 36 00 00 05", 1, 1),
        ("30 01 06 00 01 00 37 00 00 00 c0 03", -16384, 3),
        ("31 01 06 00 01 00 34 00 00 f6 ff 00", -10, 0),
        ("32 01 06 00 01 00 38 00 00 00 00 20 c1 00", -10.0, 0),
        ("33 01 06 00 01 00 39 00 00 ff ff ff ff", 0xFFFFFFFF, 0),
    ],
)
def test_every_command_type_brings_its_value(
    bench: Any, peer: Any, asdu: str, value: float, qualifier: int
) -> None:
    assert peer.ask(asdu) == []
    event = requested(bench)
    assert (event.value, event.qualifier, event.type_id) == (value, qualifier, int(asdu[:2], 16))
    bench.answer(event.token)
    assert peer.take() == [con(asdu)]


@pytest.mark.parametrize(
    "asdu",
    [
        "2e 01 06 00 01 00 35 00 00 00",  # double command 0
        "2e 01 06 00 01 00 35 00 00 03",  # double command 3
        "2f 01 06 00 01 00 36 00 00 00",
        "2f 01 06 00 01 00 36 00 00 03",
        "32 01 06 00 01 00 38 00 00 00 00 c0 7f 00",  # NaN
        "32 01 06 00 01 00 38 00 00 00 00 80 7f 00",  # infinity
        "32 01 06 00 01 00 38 00 00 00 00 80 ff 00",
        "31 01 06 00 01 00 34 00 00 0b 00 00",  # 11 > 10
        "31 01 06 00 01 00 34 00 00 f5 ff 00",  # -11
        "2d 01 06 00 01 00 32 00 00 81",  # selects a direct point
        "2d 01 06 00 01 00 33 00 00 01",  # executes without selection
    ],
)
def test_what_must_not_reach_the_device_is_refused(bench: Any, peer: Any, asdu: str) -> None:
    assert peer.ask(asdu) == [con(asdu, negative=True)]
    assert bench.events() == []


@pytest.mark.parametrize(
    ("time", "fresh"),
    [
        ("00 00 00 00 01 01 1a", True),  # the bench's clock, 2026-01-01 00:00:00
        ("10 27 00 00 01 01 1a", True),  # 10 s ahead
        ("11 27 00 00 01 01 1a", False),
        ("50 c3 3b 17 1f 0c 19", True),  # 10 s old
        ("4f c3 3b 17 1f 0c 19", False),
        ("00 00 00 17 1f 0c 19", False),  # an hour old
        ("00 00 80 00 01 01 1a", False),  # IV
        ("00 00 3c 00 01 01 1a", False),  # minute 60
    ],
)
def test_a_command_with_a_stale_or_doubtful_time_is_refused(
    bench: Any, peer: Any, time: str, fresh: bool
) -> None:
    asdu = f"3a 01 06 00 01 00 32 00 00 01 {time}"
    if not fresh:
        assert peer.ask(asdu) == [con(asdu, negative=True)]
        assert bench.events() == []
        return
    assert peer.ask(asdu) == []
    event = requested(bench)
    assert (event.type_id, isinstance(event.time, TimeTag)) == (TypeId.C_SC_TA_1, True)


def test_the_test_bit_reaches_the_application_and_the_answers(bench: Any, peer: Any) -> None:
    asdu = "2d 01 86 00 01 00 32 00 00 01"
    peer.ask(asdu)
    event = requested(bench)
    assert event.test
    bench.answer(event.token)
    bench.terminate(event.token)
    assert peer.take() == [con(asdu), term(asdu)] == [asdu.replace("86", "87"), asdu.replace("86", "8a")]


def test_select_before_operate(bench: Any, peer: Any) -> None:
    assert peer.ask(SELECT) == []
    event = requested(bench)
    assert (event.select, event.selection) == (True, None)
    bench.answer(event.token)
    assert peer.take() == [con(SELECT)]
    assert not bench.terminate(event.token), "a selection has no termination"
    assert peer.ask(EXECUTE) == []
    execution = requested(bench)
    assert (execution.select, execution.selection) == (False, event.token)
    bench.answer(execution.token)
    bench.terminate(execution.token)
    assert peer.take() == [con(EXECUTE), term(EXECUTE)]
    assert peer.ask(EXECUTE) == [con(EXECUTE, negative=True)], "the selection is used up"
    assert bench.events() == []


def test_a_selection_the_device_refused_does_not_stand(bench: Any, peer: Any) -> None:
    peer.ask(SELECT)
    bench.answer(requested(bench).token, False)
    assert peer.take() == [con(SELECT, negative=True)]
    assert peer.ask(EXECUTE) == [con(EXECUTE, negative=True)]


def test_execute_before_the_selection_is_confirmed_is_refused(bench: Any, peer: Any) -> None:
    assert peer.ask(SELECT, EXECUTE) == [con(EXECUTE, negative=True)]
    token = requested(bench).token
    assert bench.answer(token)
    assert peer.take() == [con(SELECT)]


@pytest.mark.parametrize(
    "execute",
    [
        "2d 01 06 05 01 00 33 00 00 00",  # another value
        "2d 01 06 05 01 00 33 00 00 05",  # another qualifier
        "3a 01 06 05 01 00 33 00 00 01 00 00 00 00 01 01 1a",  # another type
        "2d 01 86 05 01 00 33 00 00 01",  # as a test
    ],
)
def test_an_execution_that_differs_is_refused_and_ends_the_selection(
    bench: Any, peer: Any, execute: str
) -> None:
    token = select(bench, peer)
    assert peer.ask(execute) == [con(execute, negative=True)]
    assert bench.events() == [CommandReleased(token, True, ReleaseReason.MISMATCHED)]
    assert peer.ask(EXECUTE) == [con(EXECUTE, negative=True)]


def test_a_selection_expires(bench: Any, peer: Any) -> None:
    token = select(bench, peer)
    bench.wait(4.9)
    assert bench.events() == []
    bench.wait(0.2)
    assert bench.events() == [CommandReleased(token, True, ReleaseReason.EXPIRED)]
    assert peer.ask(EXECUTE) == [con(EXECUTE, negative=True)]


def test_a_selection_is_dead_at_its_deadline_even_if_nobody_called(bench: Any, peer: Any) -> None:
    token = select(bench, peer)
    bench.now += 5.0
    assert peer.ask(EXECUTE) == [con(EXECUTE, negative=True)]
    assert bench.events() == [CommandReleased(token, True, ReleaseReason.EXPIRED)]


def test_the_selection_lives_from_its_confirmation(bench: Any, peer: Any) -> None:
    peer.ask(SELECT)
    bench.wait(4.0)
    bench.answer(requested(bench).token)
    bench.wait(4.0)
    assert peer.ask(EXECUTE) == [con(SELECT)]
    assert requested(bench).select is False


def test_cancel_cancels(bench: Any, peer: Any) -> None:
    token = select(bench, peer)
    assert peer.ask(CANCEL) == [con(CANCEL, cause=9)]
    assert bench.events() == [CommandReleased(token, True, ReleaseReason.CANCELLED)]
    assert peer.ask(EXECUTE) == [con(EXECUTE, negative=True)]
    assert peer.ask(CANCEL) == [con(CANCEL, cause=9, negative=True)]
    assert bench.events() == []


def test_cancel_of_a_selection_that_is_not_confirmed_yet(bench: Any, peer: Any) -> None:
    assert peer.ask(SELECT, CANCEL) == [con(SELECT, negative=True), con(CANCEL, cause=9)]
    request, released = bench.events()
    assert released == CommandReleased(request.token, False, ReleaseReason.CANCELLED)
    assert not bench.answer(request.token)
    assert peer.ask(EXECUTE) == [con(EXECUTE, negative=True)]


def test_cancel_does_not_stop_an_execution(bench: Any, peer: Any) -> None:
    asdu = "2d 01 06 00 01 00 32 00 00 01"
    cancel = "2d 01 08 00 01 00 32 00 00 01"
    assert peer.ask(asdu, cancel) == [con(cancel, cause=9, negative=True)]
    assert bench.answer(requested(bench).token)


def test_selecting_anew_replaces_the_selection(bench: Any, peer: Any) -> None:
    token = select(bench, peer)
    assert peer.ask(SELECT) == []
    released, again = bench.events()
    assert released == CommandReleased(token, True, ReleaseReason.RESELECTED)
    bench.answer(again.token)
    peer.take()
    assert peer.ask(EXECUTE) == []
    assert requested(bench).selection == again.token


def test_another_master_can_neither_select_execute_nor_cancel(bench: Any, peer: Any) -> None:
    other = bench.master("other")
    bench.events()
    token = select(bench, peer)
    assert other.ask(SELECT) == [con(SELECT, negative=True)]
    assert other.ask(EXECUTE) == [con(EXECUTE, negative=True)]
    assert other.ask(CANCEL) == [con(CANCEL, cause=9, negative=True)]
    assert bench.events() == []
    assert peer.ask(EXECUTE) == []
    assert requested(bench).selection == token


def test_a_point_for_both_ways_selected_by_one_master_is_closed_to_the_other(bench: Any, peer: Any) -> None:
    other = bench.master("other")
    bench.events()
    direct = "31 01 06 00 01 00 34 00 00 05 00 00"
    token = select(bench, peer, "31 01 06 00 01 00 34 00 00 05 00 80")
    assert other.ask(direct) == [con(direct, negative=True)]
    assert peer.ask(direct) == []
    assert requested(bench).selection == token
    assert other.ask(direct) == [con(direct, negative=True)], "still in execution"


def test_while_a_point_waits_for_its_device_nobody_commands_it(bench: Any, peer: Any) -> None:
    asdu = "2d 01 06 00 01 00 32 00 00 01"
    other = bench.master("other")
    bench.events()
    assert peer.ask(asdu) == []
    assert peer.ask(asdu) == [con(asdu, negative=True)]
    assert other.ask(asdu) == [con(asdu, negative=True)]
    bench.answer(requested(bench).token)
    assert other.ask(asdu) == []


def test_a_silent_application_means_refused(bench: Any, peer: Any) -> None:
    asdu = "2d 01 06 00 01 00 32 00 00 01"
    peer.ask(asdu)
    token = requested(bench).token
    bench.wait(8.1)
    assert peer.take() == [con(asdu, negative=True)]
    assert bench.events() == [CommandReleased(token, False, ReleaseReason.EXPIRED)]
    assert not bench.answer(token)
    assert peer.take() == []


def test_a_termination_that_never_comes_is_forgotten(bench: Any, peer: Any) -> None:
    peer.ask("2d 01 06 00 01 00 32 00 00 01")
    token = requested(bench).token
    bench.answer(token)
    bench.wait(8.1)
    assert not bench.terminate(token)


@pytest.mark.parametrize("how", ["lose", "stop"])
def test_a_lost_or_stopped_link_takes_its_selections_and_requests_along(
    bench: Any, peer: Any, how: str
) -> None:
    token = select(bench, peer)
    peer.ask("2d 01 06 00 01 00 32 00 00 01")
    pending = requested(bench).token
    getattr(peer, how)()
    bench.exchange()
    events = bench.events()
    assert CommandReleased(token, True, ReleaseReason.LINK_LOST) in events
    assert CommandReleased(pending, False, ReleaseReason.LINK_LOST) in events
    assert not bench.answer(pending)
    again = bench.master()
    bench.events()
    assert again.ask(EXECUTE) == [con(EXECUTE, negative=True)]


def test_a_reset_of_the_process_releases_every_selection(bench: Any, peer: Any) -> None:
    other = bench.master("other")
    bench.events()
    token = select(bench, peer)
    other.ask("69 01 06 00 01 00 00 00 00 01")
    (event,) = bench.events()
    bench.answer(event.token)
    assert bench.events() == [CommandReleased(token, True, ReleaseReason.RESET)]
    bench.wait(0)
    again = bench.master()
    assert again.ask(EXECUTE) == [con(EXECUTE, negative=True)]


def test_one_link_has_a_bounded_number_of_commands(bench: Any, peer: Any, image: Any) -> None:
    for address in range(100, 106):
        image.commands[1, address] = CommandPoint(type_id=TypeId.C_SC_NA_1)
    asdus = [f"2d 01 06 00 01 00 {address:02x} 00 00 01" for address in range(100, 106)]
    assert peer.ask(*asdus) == [con(asdu, negative=True) for asdu in asdus[4:]]
    assert len(bench.events()) == 4
    reset = "69 01 06 00 01 00 00 00 00 01"
    assert peer.ask(reset) == [con(reset, negative=True)]


def test_return_information_goes_before_the_termination_and_to_the_other_groups(
    bench: Any, peer: Any
) -> None:
    asdu = "2d 01 06 05 01 00 32 00 00 01"
    changed = "01 01 0b 00 01 00 0a 00 00 01"
    other = bench.master("other")
    bench.events()
    peer.ask(asdu)
    token = requested(bench).token
    bench.answer(token)
    assert bench.terminate(token, returned=(changed,))
    assert peer.take() == [con(asdu), changed, term(asdu)]
    assert other.take() == [changed]


def test_return_information_of_a_lost_link_waits_for_its_group(bench: Any, peer: Any) -> None:
    asdu = "2d 01 06 05 01 00 32 00 00 01"
    changed = "01 01 0b 00 01 00 0a 00 00 01"
    peer.ask(asdu)
    token = requested(bench).token
    bench.answer(token)
    peer.lose()
    assert not bench.terminate(token, returned=(changed,))
    again = bench.connect().start()
    assert again.take() == [changed]


def test_no_command_runs_for_a_link_that_broke_in_the_same_octets(bench: Any) -> None:
    link = bench.outstation.open_link("scada", 0.0)
    octets = bytes.fromhex(
        "68 04 07 00 00 00  68 0e 00 00 00 00 2d 01 06 05 01 00 32 00 00 01  68 04 05 00 00 00"
    )
    bench.outstation.receive_data(link, octets, 0.0, bench.utc_ns)
    (closed,) = bench.outstation.events()
    assert isinstance(closed, LinkClosed)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type_id": TypeId.M_SP_NA_1},
        {"type_id": TypeId.C_SC_TA_1},
        {"type_id": TypeId.C_BO_NA_1, "mode": CommandMode.SELECT},
    ],
)
def test_a_command_point_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        CommandPoint(**wrong)
