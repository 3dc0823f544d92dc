"""Redundancy groups: who gets the events, what waits, what is sent again."""

from __future__ import annotations

from typing import Any

import pytest

from s4g_gateway.codecs.iec104 import (
    EventsDropped,
    GroupConfig,
    LinkClosed,
    LinkStarted,
    LinkState,
    LinkStopped,
    OutstationConfig,
    ResetRequested,
    TypeId,
    pack_asdus,
)
from s4g_gateway.errors import LocalProtocolError, RemoteProtocolError


def event(address: int, cause: int = 3) -> str:
    return f"01 01 {cause:02x} 00 01 00 {address & 255:02x} {address >> 8:02x} 00 01"


def sent(asdus: list[str]) -> list[int]:
    """Object addresses of single points with SQ=0."""
    found: list[int] = []
    for asdu in map(bytes.fromhex, asdus):
        found += [int.from_bytes(asdu[at : at + 3], "little") for at in range(6, len(asdu), 4)]
    return found


@pytest.fixture
def two(make_bench: Any) -> Any:
    return make_bench(groups=(GroupConfig(name="scada"), GroupConfig(name="market")))


def test_every_group_gets_every_event_through_its_started_link_only(two: Any) -> None:
    first = two.master("scada", "a")
    idle = two.connect("scada", "b")
    second = two.master("market", "c")
    two.publish(event(1))
    two.publish(event(2), groups=("market",))
    assert (first.take(), idle.take(), second.take()) == ([event(1)], [], [event(1), event(2)])


def test_events_of_one_turn_leave_packed_and_in_order(bench: Any) -> None:
    peer = bench.master()
    bench.publish(*(event(address) for address in range(1, 131)))
    asdus = peer.take()
    assert len(asdus) == 3
    assert sent(asdus) == list(range(1, 131))


def test_events_wait_in_order_while_no_master_is_there(two: Any) -> None:
    for address in range(1, 1001):
        two.publish(event(address))
    assert two.outstation.group_status("scada").buffered == 1000
    peer = two.connect("scada").start()
    assert sent(peer.take()) == list(range(1, 1001))
    assert two.outstation.group_status("scada").buffered == 0
    assert two.outstation.group_status("market").buffered == 1000


def test_what_was_not_acknowledged_is_sent_again_on_the_next_link(bench: Any) -> None:
    peer = bench.master()
    bench.publish(event(1))
    bench.wait(10.0)  # t2: the master acknowledges
    bench.publish(event(2))
    peer.deaf = True
    bench.publish(event(3))
    assert bench.outstation.data_to_send(peer.number, bench.now)
    bench.publish(event(4))
    peer.lose()
    bench.publish(event(5))
    again = bench.connect(name="again").start()
    assert sent(again.take()) == [2, 3, 4, 5]


def test_answers_and_interrogations_of_a_lost_link_are_not_sent_again(bench: Any, image: Any) -> None:
    image.points = {(1, address): (TypeId.M_SP_NA_1, 1, 0) for address in range(1, 100)}
    peer = bench.master()
    peer.link.send(bytes.fromhex("64 01 06 00 01 00 00 00 00 14"), 0.0)
    bench.outstation.receive_data(peer.number, peer.link.data_to_send(), 0.0, bench.utc_ns)
    assert len(bench.outstation.data_to_send(peer.number, 0.0)) > 100
    peer.lose()
    assert bench.connect().start().take() == []


def test_the_window_bounds_what_a_silent_master_is_sent(bench: Any) -> None:
    peer = bench.master()
    peer.deaf = True
    kinds = ("01", "03")
    for address in range(1, 101):
        bench.publish(kinds[address % 2] + event(address)[2:])
    data = bench.outstation.data_to_send(peer.number, bench.now)
    assert len(data) == 12 * 16
    assert bench.outstation.data_to_send(peer.number, bench.now) == b""
    assert bench.outstation.group_status("scada").buffered == 88
    bench.wait(15.1)
    closed = bench.events()[-1]
    assert isinstance(closed, LinkClosed)
    assert closed.reason == "t1: an I-frame was not acknowledged"
    assert bench.outstation.group_status("scada").buffered == 100


def test_a_later_startdt_of_the_group_takes_over(bench: Any) -> None:
    first = bench.master(name="first")
    bench.publish(event(1))
    second = bench.connect(name="second")
    bench.events()
    second.start()
    assert bench.events() == [
        LinkStopped(first.number, "scada", "first"),
        LinkStarted(second.number, "scada", "second"),
    ]
    bench.publish(event(2))
    assert first.take() == [event(1)]
    assert sent(second.take()) == [1, 2], "1 was not acknowledged on the first link"
    assert bench.outstation.group_status("scada").active_link == second.number
    bench.wait(12.0)
    assert first.closed is None, "the late acknowledgement is welcome, the link stays in reserve"
    first.stop()
    first.start()
    bench.publish(event(3))
    assert (first.take(), second.take()) == ([event(3)], [])


def test_a_superseded_master_that_sends_on_is_disconnected(bench: Any) -> None:
    first = bench.master(name="first")
    bench.master(name="second")
    bench.events()
    assert first.ask("64 01 06 00 01 00 00 00 00 14") == []
    (closed,) = bench.events()
    assert (closed.link, closed.reason) == (first.number, "I_FRAME: not allowed while STOPPED")


def test_links_of_other_groups_are_not_touched_by_a_takeover(two: Any) -> None:
    market = two.master("market", "m")
    two.master("scada", "first")
    two.master("scada", "second")
    two.publish(event(1))
    assert market.take() == [event(1)]


def test_stopdt_keeps_what_follows_and_startdt_sends_it(bench: Any) -> None:
    peer = bench.master()
    peer.stop()
    assert peer.link.state is LinkState.STOPPED
    assert bench.events()[-1] == LinkStopped(peer.number, "scada", "m")
    bench.publish(event(1))
    assert peer.take() == []
    peer.start()
    assert peer.take() == [event(1)]


def test_stop_and_start_in_the_same_octets_end_what_was_running(bench: Any, image: Any) -> None:
    image.points = {(1, address): (TypeId.M_SP_NA_1, 1, 0) for address in range(1, 100)}
    link = bench.outstation.open_link("scada", 0.0)
    start, stop = bytes.fromhex("68 04 07 00 00 00"), bytes.fromhex("68 04 13 00 00 00")
    ask = bytes.fromhex("68 0e 00 00 00 00 64 01 06 00 01 00 00 00 00 14")
    bench.outstation.receive_data(link, start + ask + stop + start, 0.0, bench.utc_ns)
    kinds = [type(event) for event in bench.outstation.events()]
    assert kinds == [LinkStarted, LinkStopped, LinkStarted]
    assert bench.outstation.group_status("scada").active_link == link
    octets = bytes.fromhex("68 04 0b 00 00 00 68 04 01 00 02 00 68 04 23 00 00 00 68 04 0b 00 00 00")
    assert bench.outstation.data_to_send(link, 0.0) == octets


def test_a_start_that_is_taken_back_at_once_changes_nothing(bench: Any) -> None:
    first = bench.master()
    bench.events()
    link = bench.outstation.open_link("scada", 0.0)
    bench.outstation.receive_data(link, bytes.fromhex("680407000000 680413000000"), 0.0, bench.utc_ns)
    assert bench.outstation.events() == []
    assert bench.outstation.group_status("scada").active_link == first.number


def test_a_full_buffer_drops_the_oldest_and_says_so(make_bench: Any) -> None:
    bench = make_bench(groups=(GroupConfig(name="scada", event_capacity=200),))
    bench.publish(*(event(address) for address in range(1, 301)))
    (dropped,) = bench.events()
    assert isinstance(dropped, EventsDropped)
    status = bench.outstation.group_status("scada")
    assert dropped == EventsDropped("scada", status.dropped, status.dropped)
    assert status.buffered + status.dropped == 300
    bench.publish(event(301))
    assert sent(bench.connect().start().take()) == list(range(status.dropped + 1, 302))


def test_the_overflow_point_rises_before_the_rest_and_falls_after_it(make_bench: Any, image: Any) -> None:
    bench = make_bench(
        groups=(
            GroupConfig(name="scada", event_capacity=127, overflow_point=(1, 999)),
            GroupConfig(name="other"),
        )
    )
    bench.publish(*(event(address) for address in range(1, 201)))
    peer = bench.connect().start()
    asdus = peer.take()
    now = "00 00 00 00 01 01 1a"
    assert asdus[0] == f"1e 01 03 00 01 00 e7 03 00 01 {now}"
    assert asdus[-1] == f"1e 01 03 00 01 00 e7 03 00 00 {now}"
    assert sent(asdus[1:-1])[-1] == 200
    assert peer.ask("64 01 06 00 01 00 00 00 00 14")[1] == "01 01 14 00 01 00 e7 03 00 00"
    bench.publish(event(201))
    assert peer.take() == [event(201)], "said once"
    other = bench.connect("other").start()
    assert sent(other.take()) == list(range(1, 202))
    assert len(other.ask("64 01 06 00 01 00 00 00 00 14")) == 2


def test_losses_while_the_overflow_lasts_are_not_announced_again(make_bench: Any) -> None:
    bench = make_bench(groups=(GroupConfig(name="scada", event_capacity=127, overflow_point=(1, 999)),))
    kinds = ("01", "03")
    bench.publish(*(kinds[a % 2] + event(a)[2:] for a in range(1, 201)))
    peer = bench.connect()
    peer.link.start(0.0)
    bench.outstation.receive_data(peer.number, peer.link.data_to_send(), 0.0, bench.utc_ns)
    window = bench.outstation.data_to_send(peer.number, 0.0)
    bench.outstation.publish(
        [bytes.fromhex(kinds[a % 2] + event(a)[2:]) for a in range(201, 301)], bench.utc_ns
    )
    peer.link.receive_data(window, 0.0)
    bench.exchange()
    raised = [asdu for asdu in peer.take() if asdu.startswith("1e")]
    assert [asdu[-23:-21] for asdu in raised] == ["01", "00"]


def test_an_interrogation_shows_the_overflow_while_it_lasts(make_bench: Any) -> None:
    bench = make_bench(groups=(GroupConfig(name="scada", event_capacity=127, overflow_point=(1, 999)),))
    kinds = ("01", "03")
    bench.publish(*(kinds[a % 2] + event(a)[2:] for a in range(1, 301)))
    link = bench.outstation.open_link("scada", 0.0)
    bench.outstation.receive_data(
        link,
        bytes.fromhex("68 04 07 00 00 00  68 0e 00 00 00 00 64 01 06 00 01 00 00 00 00 14"),
        0.0,
        bench.utc_ns,
    )
    frames = bench.outstation.data_to_send(link, 0.0)
    assert bytes.fromhex("01 01 14 00 01 00 e7 03 00 01") in frames


def test_cyclic_data_is_for_listeners_only_and_never_sent_again(bench: Any) -> None:
    bench.publish(event(1, cause=1), event(2, cause=2))
    peer = bench.master()
    assert bench.outstation.group_status("scada").buffered == 0
    bench.publish(event(3, cause=1), event(4))
    assert peer.take() == [event(4), event(3, cause=1)], "events go first"
    peer.deaf = True
    bench.publish(event(5, cause=2))
    bench.outstation.data_to_send(peer.number, bench.now)
    peer.lose()
    assert sent(bench.connect().start().take()) == [4], "only what was not acknowledged and is no old news"


def test_a_slow_link_skips_old_cyclic_data_and_counts_it(bench: Any) -> None:
    peer = bench.master()
    peer.deaf = True
    for address in range(1, 1101):
        bench.publish(event(address, cause=1))
    peer.deaf = False
    bench.exchange()
    status = bench.outstation.group_status("scada")
    received = sent(peer.take())
    assert len(received) + status.cyclic_skipped == 1100
    assert status.cyclic_skipped > 0
    assert received[-1] == 1100


def test_the_master_can_empty_the_event_buffer(make_bench: Any) -> None:
    bench = make_bench()
    peer = bench.master()
    peer.deaf = True
    bench.publish(*(event(a)[:0] + ("01", "03")[a % 2] + event(a)[2:] for a in range(1, 101)))
    peer.deaf = False
    peer.link.send(bytes.fromhex("69 01 06 00 01 00 00 00 00 02"), 0.0)
    bench.outstation.receive_data(peer.number, peer.link.data_to_send(), 0.0, bench.utc_ns)
    (token,) = [item.token for item in bench.outstation.events() if hasattr(item, "token")]
    bench.answer(token)
    assert bench.outstation.group_status("scada").buffered == 0
    assert "69 01 07 00 01 00 00 00 00 02" in peer.take()


def test_links_are_counted_and_refused_beyond_the_limit(make_bench: Any) -> None:
    bench = make_bench(groups=(GroupConfig(name="scada", max_links=2),))
    first = bench.connect()
    bench.connect()
    with pytest.raises(RemoteProtocolError, match="2 connections are open"):
        bench.connect()
    first.lose()
    third = bench.connect()
    assert bench.outstation.group_status("scada").links == (2, third.number)


def test_a_closed_link_is_forgotten_in_silence(bench: Any) -> None:
    peer = bench.master()
    bench.outstation.close_link(peer.number, "shutdown", 0.0, bench.utc_ns)
    *_, closed = bench.outstation.events()
    assert closed == LinkClosed(peer.number, "scada", "m", "shutdown", None)
    bench.outstation.receive_data(peer.number, b"\xff", 0.0, bench.utc_ns)
    bench.outstation.close_link(peer.number, "again", 0.0, bench.utc_ns)
    assert bench.outstation.data_to_send(peer.number, 0.0) == b""
    assert bench.outstation.events() == []
    assert bench.outstation.next_deadline() is None


def test_dead_masters_are_found_by_the_test_frame(bench: Any) -> None:
    peer = bench.master()
    peer.deaf = True
    bench.wait(34.9)
    assert peer.number in bench.outstation.group_status("scada").links
    bench.wait(0.2)
    assert bench.outstation.group_status("scada").links == ()


def test_unknown_groups_are_an_error_of_ours(bench: Any) -> None:
    for call in (
        lambda: bench.connect("nobody"),
        lambda: bench.publish(event(1), groups=("nobody",)),
        lambda: bench.outstation.group_status("nobody"),
    ):
        with pytest.raises(LocalProtocolError, match="expected one of scada"):
            call()


@pytest.mark.parametrize("octets", ["01 01 03", "01 00 03 00 01 00", "01 00 01 00 01 00"])
def test_octets_that_are_no_asdu_cannot_be_published(bench: Any, octets: str) -> None:
    with pytest.raises(LocalProtocolError, match="expected an ASDU"):
        bench.publish(event(1), octets)
    assert bench.outstation.group_status("scada").buffered == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"groups": ()},
        {"groups": (GroupConfig(name="a"), GroupConfig(name="a"))},
        {"initialisation_cause": 128},
        {"command_max_age_s": 0.0},
        {"answer_timeout_s": float("nan")},
        {"max_commands": 0},
        {"max_replies": 0},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        OutstationConfig(**{"groups": (GroupConfig(name="a"),), **wrong})


@pytest.mark.parametrize(
    "wrong",
    [{"event_capacity": 126}, {"max_links": 0}, {"overflow_point": (0, 1)}, {"overflow_point": (1, 0)}],
)
def test_a_group_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError, match="group a"):
        GroupConfig(name="a", **wrong)


def test_a_burst_of_50_000_timed_floats_arrives_whole_and_in_order(bench: Any) -> None:
    peer = bench.master()
    count = 50_000
    asdus = pack_asdus(
        TypeId.M_ME_TF_1,
        1,
        3,
        addresses=range(1, count + 1),
        values=[float(a) for a in range(1, count + 1)],
        times_ns=bench.utc_ns,
    )
    bench.outstation.publish(asdus, bench.utc_ns)
    bench.exchange()
    assert [bytes.fromhex(asdu) for asdu in peer.take()] == asdus


def test_events_are_handed_out_for_storage_until_they_are_acknowledged(make_bench: Any) -> None:
    bench = make_bench(groups=(GroupConfig(name="scada", keep_unsaved=True), GroupConfig(name="other")))
    outstation = bench.outstation
    bench.publish(event(1), event(2), event(9, cause=1))
    assert outstation.has_master("scada") is False
    assert outstation.take_unsaved_events("scada") == [(bytes.fromhex(event(n)), n) for n in (1, 2)]
    assert outstation.take_unsaved_events("scada") == []
    assert (outstation.added_place("scada"), outstation.settled_place("scada")) == (2, 0)
    peer = bench.connect("scada", w=1).start()  # acknowledges everything at once
    assert outstation.has_master("scada")
    bench.exchange()
    assert outstation.settled_place("scada") == 2
    bench.publish(event(3))
    assert outstation.take_unsaved_events("scada") == []
    peer.deaf = True
    bench.publish(event(4))
    assert [place for _, place in outstation.take_unsaved_events("scada")] == [4]
    peer.lose()
    assert outstation.settled_place("scada") == 3
    assert sent(bench.connect("scada", w=1).start().take()) == [4]
    assert outstation.settled_place("scada") == 4
    with pytest.raises(LocalProtocolError, match="keep_unsaved"):
        outstation.take_unsaved_events("other")


def test_a_loss_before_the_start_is_signalled_like_any_other(make_bench: Any) -> None:
    bench = make_bench(groups=(GroupConfig(name="scada", overflow_point=(1, 99)),))
    bench.outstation.report_loss("scada", 7)
    bench.publish(event(1))
    assert bench.outstation.group_status("scada").dropped == 7
    received = bench.connect().start().take()
    assert [(asdu[:2], asdu[27:29]) for asdu in received if asdu[18:26] == "63 00 00"] == [
        ("1e", "01"),
        ("1e", "00"),
    ]
    assert not any(isinstance(item, EventsDropped) for item in bench.events())


RESET = "69 01 06 00 01 00 00 00 00 01"


def ask_for_reset(bench: Any, peer: Any) -> int:
    peer.link.send(bytes.fromhex(RESET), bench.now)
    bench.outstation.receive_data(peer.number, peer.link.data_to_send(), bench.now, bench.utc_ns)
    (token,) = [item.token for item in bench.outstation.events() if isinstance(item, ResetRequested)]
    return int(token)


def test_a_reset_is_confirmed_then_every_link_closes_and_comes_back_to_a_remote_reset(
    make_bench: Any, image: Any
) -> None:
    image.points[1, 10] = (TypeId.M_SP_NA_1, 1, 0)
    bench = make_bench(
        groups=(GroupConfig(name="scada"), GroupConfig(name="market")), end_of_initialisation="once"
    )
    peer, other, idle = bench.master("scada"), bench.master("market"), bench.connect("market")
    assert bench.answer(ask_for_reset(bench, peer))
    bench.publish(event(1))
    assert peer.take() == [RESET.replace("06", "07", 1)]
    assert other.take() == []
    bench.wait(0)
    closed = [item for item in bench.events() if isinstance(item, LinkClosed)]
    assert {item.link for item in closed} == {peer.number, other.number, idle.number}
    assert {(item.reason, item.fault) for item in closed} == {("the process was reset", None)}
    for group in ("scada", "market"):
        again = bench.connect(group).start()
        assert again.take() == ["46 01 04 00 01 00 00 00 00 02", event(1)]
        assert "01 01 14 00 01 00 0a 00 00 01" in again.ask("64 01 06 00 01 00 00 00 00 14")


def test_a_reset_waits_for_room_to_confirm_and_answers_nothing_more(bench: Any) -> None:
    peer = bench.master()
    peer.deaf = True
    # Twelve frames fill the window.
    bench.publish(*(event(n, cause=(3, 11)[n % 2]) for n in range(1, 30)))
    for _ in range(13):
        bench.outstation.data_to_send(peer.number, bench.now)
    token = ask_for_reset(bench, peer)
    bench.outstation.answer_command(token, True, bench.now, bench.utc_ns)
    assert bench.outstation.data_to_send(peer.number, bench.now) == b""
    bench.wait(0)
    assert peer.number in bench.outstation.group_status("scada").links
    peer.link.send(bytes.fromhex("64 01 06 00 01 00 00 00 00 14"), bench.now)
    bench.outstation.receive_data(peer.number, peer.link.data_to_send(), bench.now, bench.utc_ns)
    bench.wait(15)  # t1: the master takes nothing
    assert bench.outstation.group_status("scada").links == ()
    assert len(bench.connect().start().take()) == 29


def test_the_master_empties_the_buffer_of_time_tagged_events_only(make_bench: Any) -> None:
    bench = make_bench()
    tagged = "1e 01 03 00 01 00 07 00 00 01 00 00 00 01 01 01 1a"
    bench.publish(event(1), tagged, event(2))
    peer = bench.connect()
    peer.link.start(0.0)
    bench.outstation.receive_data(peer.number, peer.link.data_to_send(), 0.0, bench.utc_ns)
    peer.link.receive_data(bytes.fromhex("68 04 0b 00 00 00"), 0.0)
    peer.link.send(bytes.fromhex("69 01 06 00 01 00 00 00 00 02"), 0.0)
    bench.outstation.receive_data(peer.number, peer.link.data_to_send(), 0.0, bench.utc_ns)
    (token,) = [item.token for item in bench.outstation.events() if isinstance(item, ResetRequested)]
    assert bench.outstation.answer_command(token, True, 0.0, bench.utc_ns)
    assert bench.outstation.group_status("scada").buffered == 2
