"""What an outstation answers; ASDUs in hex: type vsq cot org ca | ioa | element."""

from __future__ import annotations

from typing import Any

import pytest

from s4g_gateway.codecs.iec104 import (
    ClockSynchronised,
    CommandPoint,
    GroupConfig,
    LinkStarted,
    ResetRequested,
    TimeTag,
    TypeId,
)

T = "5f ea 3b 17 1d 02 18"
NOW = "00 00 00 00 01 01 1a"  # the bench's clock


@pytest.fixture
def stocked(image: Any) -> Any:
    image.common_addresses = {1, 2}
    image.points = {
        (1, 10): (TypeId.M_SP_NA_1, 1, 0),
        (1, 11): (TypeId.M_DP_NA_1, 2, 0),
        (1, 12): (TypeId.M_ST_NA_1, -3, 0),
        (1, 13): (TypeId.M_BO_NA_1, 5, 0),
        (1, 14): (TypeId.M_ME_NA_1, 16508, 0x80),
        (1, 15): (TypeId.M_ME_NB_1, -1, 0),
        (1, 16): (TypeId.M_ME_NC_1, 0.5, 0),
        (2, 10): (TypeId.M_SP_NA_1, 0, 0),
    }
    image.groups = {(1, 11): 1, (1, 16): 16, (1, 30): 4}
    image.counters = {(1, 30): 7, (1, 31): 9, (2, 30): 1}
    image.commands = {(1, 50): CommandPoint(type_id=TypeId.C_SC_NA_1)}
    return image


@pytest.fixture
def peer(stocked: Any, bench: Any) -> Any:
    return bench.master()


def test_general_interrogation_confirms_sends_untimed_data_and_terminates(peer: Any) -> None:
    assert peer.ask("64 01 06 09 01 00 00 00 00 14") == [
        "64 01 07 09 01 00 00 00 00 14",
        "01 01 14 09 01 00 0a 00 00 01",
        "03 01 14 09 01 00 0b 00 00 02",
        "05 01 14 09 01 00 0c 00 00 7d 00",
        "07 01 14 09 01 00 0d 00 00 05 00 00 00 00",
        "09 01 14 09 01 00 0e 00 00 7c 40 80",
        "0b 01 14 09 01 00 0f 00 00 ff ff 00",
        "0d 01 14 09 01 00 10 00 00 00 00 00 3f 00",
        "64 01 0a 09 01 00 00 00 00 14",
    ]


@pytest.mark.parametrize(
    ("group", "data"),
    [
        (1, ["03 01 15 00 01 00 0b 00 00 02"]),
        (16, ["0d 01 24 00 01 00 10 00 00 00 00 00 3f 00"]),
        (5, []),
    ],
)
def test_group_interrogation_carries_the_groups_cause(peer: Any, group: int, data: list[str]) -> None:
    qoi = f"{20 + group:02x}"
    assert peer.ask(f"64 01 06 00 01 00 00 00 00 {qoi}") == [
        f"64 01 07 00 01 00 00 00 00 {qoi}",
        *data,
        f"64 01 0a 00 01 00 00 00 00 {qoi}",
    ]


def test_a_broadcast_interrogation_is_answered_by_every_station(peer: Any) -> None:
    answers = peer.ask("64 01 06 00 ff ff 00 00 00 14")
    assert [a for a in answers if a.startswith("64")] == [
        "64 01 07 00 01 00 00 00 00 14",
        "64 01 07 00 02 00 00 00 00 14",
        "64 01 0a 00 01 00 00 00 00 14",
        "64 01 0a 00 02 00 00 00 00 14",
    ]
    assert len(answers) == 4 + 8
    assert not [a for a in answers if "ff ff 00 00 00" in a]


def test_the_test_bit_is_mirrored_in_the_data(peer: Any) -> None:
    assert peer.ask("64 01 86 00 02 00 00 00 00 14") == [
        "64 01 87 00 02 00 00 00 00 14",
        "01 01 94 00 02 00 0a 00 00 00",
        "64 01 8a 00 02 00 00 00 00 14",
    ]


@pytest.mark.parametrize("qoi", ["00", "13", "25", "ff"])
def test_an_interrogation_of_no_group_is_refused(peer: Any, qoi: str) -> None:
    assert peer.ask(f"64 01 06 00 01 00 00 00 00 {qoi}") == [f"64 01 47 00 01 00 00 00 00 {qoi}"]


def test_an_interrogation_asked_again_begins_anew_and_ends_once(bench: Any, stocked: Any) -> None:
    stocked.points = {(1, address): (TypeId.M_SP_NA_1, 1, 0) for address in range(1, 101)}
    peer = bench.master()
    peer.link.send(bytes.fromhex("64 01 06 00 01 00 00 00 00 14"), 0.0)
    data = peer.link.data_to_send()
    bench.outstation.receive_data(peer.number, data, 0.0, bench.utc_ns)
    peer.link.receive_data(bench.outstation.data_to_send(peer.number, 0.0), 0.0)
    answers = peer.ask("64 01 06 00 01 00 00 00 00 14")
    assert answers.count("64 01 07 00 01 00 00 00 00 14") == 2
    assert answers.count("64 01 0a 00 01 00 00 00 00 14") == 1
    assert len([a for a in answers if a.startswith("01")]) == 11 + 100


def test_an_interrogation_can_be_cancelled(bench: Any, stocked: Any) -> None:
    stocked.points = {(1, address): (TypeId.M_SP_NA_1, 1, 0) for address in range(1, 101)}
    peer = bench.master()
    answers = peer.ask("64 01 06 00 01 00 00 00 00 14", "64 01 08 00 01 00 00 00 00 14")
    assert [a for a in answers if a.startswith("64")] == [
        "64 01 07 00 01 00 00 00 00 14",
        "64 01 09 00 01 00 00 00 00 14",
    ]
    assert peer.ask("64 01 08 00 01 00 00 00 00 14") == ["64 01 49 00 01 00 00 00 00 14"]


def test_events_and_interrogation_share_the_link(bench: Any, stocked: Any) -> None:
    stocked.points = {(1, address): (TypeId.M_SP_NA_1, 1, 0) for address in range(1, 31)}
    peer = bench.master()
    peer.link.send(bytes.fromhex("64 01 06 00 01 00 00 00 00 14"), 0.0)
    bench.outstation.publish(
        [bytes.fromhex(f"{t} 01 03 00 01 00 0a 00 00 01") for t in ("01", "03") * 50], bench.utc_ns
    )
    bench.exchange()
    kinds = ["event" if a[6:8] == "03" else "data" for a in peer.take() if not a.startswith("64")]
    assert kinds.count("data") == 30
    assert kinds.count("event") == 100
    first = kinds.index("data")
    assert first <= 12 + 8, "a stream of events does not hold the interrogation up"
    assert kinds.index("event", first) <= first + 2


@pytest.mark.parametrize(
    ("qcc", "cause", "data"),
    [
        ("05", "25", ["1e 00 00 07", "1f 00 00 09"]),
        ("04", "29", ["1e 00 00 07"]),
        ("01", "26", []),
    ],
)
def test_counter_interrogation(peer: Any, qcc: str, cause: str, data: list[str]) -> None:
    assert peer.ask(f"65 01 06 03 01 00 00 00 00 {qcc}") == [
        f"65 01 07 03 01 00 00 00 00 {qcc}",
        *[f"0f 01 {cause} 03 01 00 {item} 00 00 00 00" for item in data],
        f"65 01 0a 03 01 00 00 00 00 {qcc}",
    ]


@pytest.mark.parametrize(
    ("frz", "frozen", "counters"),
    [(1, {30: 7, 31: 9}, {30: 7, 31: 9}), (2, {30: 7, 31: 9}, {30: 0, 31: 0}), (3, {}, {30: 0, 31: 0})],
)
def test_counters_are_frozen_and_reset_as_asked(
    peer: Any, stocked: Any, frz: int, frozen: dict[int, int], counters: dict[int, int]
) -> None:
    qcc = f"{frz << 6 | 5:02x}"
    assert peer.ask(f"65 01 06 00 01 00 00 00 00 {qcc}") == [
        f"65 01 07 00 01 00 00 00 00 {qcc}",
        f"65 01 0a 00 01 00 00 00 00 {qcc}",
    ]
    assert {k[1]: v for k, v in stocked.frozen.items()} == frozen
    assert {k[1]: v for k, v in stocked.counters.items() if k[0] == 1} == counters
    assert stocked.counters[2, 30] == 1, "another station keeps its own"


def test_a_group_of_counters_is_frozen_alone(peer: Any, stocked: Any) -> None:
    peer.ask("65 01 06 00 01 00 00 00 00 44")
    assert stocked.frozen == {(1, 30): 7}


def test_counters_that_cannot_be_frozen_are_refused(peer: Any, stocked: Any) -> None:
    stocked.can_freeze = False
    assert peer.ask("65 01 06 00 01 00 00 00 00 45") == ["65 01 47 00 01 00 00 00 00 45"]


@pytest.mark.parametrize("qcc", ["00", "06", "3f", "40"])
def test_a_counter_interrogation_of_no_group_is_refused(peer: Any, stocked: Any, qcc: str) -> None:
    assert peer.ask(f"65 01 06 00 01 00 00 00 00 {qcc}") == [f"65 01 47 00 01 00 00 00 00 {qcc}"]
    assert stocked.frozen == {}


def test_read(peer: Any) -> None:
    assert peer.ask("66 01 05 04 01 00 0e 00 00") == ["09 01 05 04 01 00 0e 00 00 7c 40 80"]
    assert peer.ask("66 01 05 04 01 00 ff 00 00") == ["66 01 6f 04 01 00 ff 00 00"]
    assert peer.ask("66 01 05 04 ff ff 0e 00 00") == ["66 01 6e 04 ff ff 0e 00 00"]


def test_clock_synchronisation_is_confirmed_with_our_time_and_reported(peer: Any, bench: Any) -> None:
    bench.events()
    assert peer.ask(f"67 01 06 05 01 00 00 00 00 {T}") == [f"67 01 07 05 01 00 00 00 00 {NOW}"]
    assert bench.events() == [
        ClockSynchronised(peer.number, 1, TimeTag(1_709_251_199_999_000_000), bench.utc_ns)
    ]


def test_a_broadcast_clock_synchronisation_reports_once(peer: Any, bench: Any) -> None:
    bench.events()
    assert peer.ask(f"67 01 06 00 ff ff 00 00 00 {T}") == [
        f"67 01 07 00 01 00 00 00 00 {NOW}",
        f"67 01 07 00 02 00 00 00 00 {NOW}",
    ]
    assert [event.common_address for event in bench.events()] == [65535]


def test_clock_synchronisation_before_our_clock_was_set(peer: Any, bench: Any) -> None:
    peer.link.send(bytes.fromhex(f"67 01 06 00 01 00 00 00 00 {T}"), 0.0)
    bench.outstation.receive_data(peer.number, peer.link.data_to_send(), 0.0, 5_000_000_000)
    bench.exchange()
    assert peer.take() == ["67 01 07 00 01 00 00 00 00 00 00 80 00 00 00 00"]


@pytest.mark.parametrize("time", ["5f ea bb 17 1d 02 18", "60 ea 3b 17 1d 02 18", "00 00 00 00 00 00 00"])
def test_a_time_that_is_none_is_refused_and_not_reported(peer: Any, bench: Any, time: str) -> None:
    bench.events()
    assert peer.ask(f"67 01 06 00 01 00 00 00 00 {time}") == [f"67 01 47 00 01 00 00 00 00 {time}"]
    assert bench.events() == []


def test_a_station_with_its_own_time_refuses_synchronisation(make_bench: Any, stocked: Any) -> None:
    bench = make_bench(accept_clock_synchronisation=False)
    peer = bench.master()
    bench.events()
    assert peer.ask(f"67 01 06 00 01 00 00 00 00 {T}") == [f"67 01 47 00 01 00 00 00 00 {T}"]
    assert bench.events() == []


def test_time_tags_are_read_and_written_in_the_configured_zone(make_bench: Any, stocked: Any) -> None:
    bench = make_bench(zone_offset_minutes=60)
    peer = bench.master()
    bench.events()
    assert peer.ask("67 01 06 00 01 00 00 00 00 00 00 00 8e 01 07 1a") == [
        "67 01 07 00 01 00 00 00 00 00 00 00 82 01 01 1a"
    ]
    (event,) = bench.events()
    assert event.time == TimeTag(1_782_907_200_000_000_000, summer_time=True)  # 2026-07-01T12:00Z


def test_test_commands_are_mirrored(peer: Any) -> None:
    assert peer.ask("68 01 06 02 01 00 00 00 00 aa 55") == ["68 01 07 02 01 00 00 00 00 aa 55"]
    assert peer.ask("68 01 06 02 01 00 00 00 00 aa 56") == ["68 01 47 02 01 00 00 00 00 aa 56"]
    assert peer.ask(f"6b 01 06 02 01 00 00 00 00 34 12 {T}") == [f"6b 01 07 02 01 00 00 00 00 34 12 {T}"]


@pytest.mark.parametrize(("qrp", "accepted"), [(1, True), (2, True), (1, False)])
def test_reset_process_waits_for_the_application(peer: Any, bench: Any, qrp: int, accepted: bool) -> None:
    bench.events()
    assert peer.ask(f"69 01 06 00 01 00 00 00 00 0{qrp}") == []
    (event,) = bench.events()
    assert event == ResetRequested(event.token, peer.number, 1, qrp)
    assert bench.answer(event.token, accepted)
    assert peer.take() == [f"69 01 {'07' if accepted else '47'} 00 01 00 00 00 00 0{qrp}"]
    assert not bench.answer(event.token, accepted), "once"


def test_a_broadcast_reset_is_asked_once_and_confirmed_by_every_station(peer: Any, bench: Any) -> None:
    bench.events()
    assert peer.ask("69 01 06 00 ff ff 00 00 00 02") == []
    (event,) = bench.events()
    assert event.common_address == 65535
    bench.answer(event.token)
    assert peer.take() == ["69 01 07 00 01 00 00 00 00 02", "69 01 07 00 02 00 00 00 00 02"]


@pytest.mark.parametrize("qrp", ["00", "03", "ff"])
def test_a_reset_of_an_unknown_kind_is_refused(peer: Any, bench: Any, qrp: str) -> None:
    bench.events()
    assert peer.ask(f"69 01 06 00 01 00 00 00 00 {qrp}") == [f"69 01 47 00 01 00 00 00 00 {qrp}"]
    assert bench.events() == []


def test_a_general_reset_sends_the_end_of_initialisation_anew(make_bench: Any, stocked: Any) -> None:
    bench = make_bench(
        end_of_initialisation="once",
        initialisation_cause=1,
        groups=(GroupConfig(name="scada"), GroupConfig(name="other")),
    )
    peer = bench.connect().start()
    assert peer.take() == ["46 01 04 00 01 00 00 00 00 01", "46 01 04 00 02 00 00 00 00 01"]
    peer.ask("69 01 06 00 01 00 00 00 00 01")
    bench.answer(bench.events()[-1].token)
    assert peer.take() == ["69 01 07 00 01 00 00 00 00 01"]
    bench.wait(0)
    assert bench.connect().start().take() == [
        "46 01 04 00 01 00 00 00 00 02",
        "46 01 04 00 02 00 00 00 00 02",
    ]
    assert len(bench.connect("other").start().take()) == 2


@pytest.mark.parametrize(("when", "expected"), [("never", [0, 0]), ("once", [2, 0]), ("every start", [2, 2])])
def test_end_of_initialisation(make_bench: Any, stocked: Any, when: str, expected: list[int]) -> None:
    bench = make_bench(end_of_initialisation=when)
    counts = []
    for _ in range(2):
        peer = bench.connect().start()
        counts.append(len(peer.take()))
        peer.lose()
    assert counts == expected


def test_every_group_hears_the_end_of_initialisation(make_bench: Any, stocked: Any) -> None:
    stocked.common_addresses = {7}
    bench = make_bench(
        end_of_initialisation="once", groups=(GroupConfig(name="scada"), GroupConfig(name="other"))
    )
    assert bench.connect("scada").start().take() == ["46 01 04 00 07 00 00 00 00 00"]
    assert bench.connect("other").start().take() == ["46 01 04 00 07 00 00 00 00 00"]


# (request, its answer): the order of judgement is type, cause, station, object.
WRONG = [
    ("00 01 06 05 01 00 00 00 00 14", "00 01 6c 05 01 00 00 00 00 14"),
    ("01 01 06 05 01 00 0a 00 00 01", "01 01 6c 05 01 00 0a 00 00 01"),  # monitored types come from us only
    ("46 01 04 05 01 00 00 00 00 00", "46 01 6c 05 01 00 00 00 00 00"),
    ("6a 01 06 05 01 00 00 00 00 10 00", "6a 01 6c 05 01 00 00 00 00 10 00"),  # delay acquisition
    ("6e 01 06 05 01 00 0a 00 00 00 00 00", "6e 01 6c 05 01 00 0a 00 00 00 00 00"),  # parameter
    ("7a 01 0d 05 01 00 00 00 00 01 00 01 00", "7a 01 6c 05 01 00 00 00 00 01 00 01 00"),  # file
    ("ff 01 06 05 63 00 00 00 00", "ff 01 6c 05 63 00 00 00 00"),
    ("64 01 03 05 01 00 00 00 00 14", "64 01 6d 05 01 00 00 00 00 14"),
    ("64 01 07 05 01 00 00 00 00 14", "64 01 6d 05 01 00 00 00 00 14"),
    ("64 01 00 05 63 00 00 00 00 14", "64 01 6d 05 63 00 00 00 00 14"),
    ("65 01 08 05 01 00 00 00 00 05", "65 01 6d 05 01 00 00 00 00 05"),
    ("66 01 06 05 01 00 0a 00 00", "66 01 6d 05 01 00 0a 00 00"),
    (f"67 01 03 05 01 00 00 00 00 {T}", f"67 01 6d 05 01 00 00 00 00 {T}"),
    ("2d 01 03 05 01 00 32 00 00 01", "2d 01 6d 05 01 00 32 00 00 01"),  # c104 executes this one
    ("2d 01 3f 05 01 00 32 00 00 01", "2d 01 6d 05 01 00 32 00 00 01"),
    ("64 01 06 05 63 00 00 00 00 14", "64 01 6e 05 63 00 00 00 00 14"),
    ("64 01 06 05 00 00 00 00 00 14", "64 01 6e 05 00 00 00 00 00 14"),
    ("2d 01 06 05 63 00 32 00 00 01", "2d 01 6e 05 63 00 32 00 00 01"),
    ("2d 01 06 05 ff ff 32 00 00 01", "2d 01 6e 05 ff ff 32 00 00 01"),  # no command to everybody
    ("68 01 06 05 ff ff 00 00 00 aa 55", "68 01 6e 05 ff ff 00 00 00 aa 55"),
    ("64 01 06 05 01 00 01 00 00 14", "64 01 6f 05 01 00 01 00 00 14"),
    ("65 01 06 05 01 00 01 00 00 05", "65 01 6f 05 01 00 01 00 00 05"),
    (f"67 01 06 05 01 00 01 00 00 {T}", f"67 01 6f 05 01 00 01 00 00 {T}"),
    ("69 01 06 05 01 00 01 00 00 01", "69 01 6f 05 01 00 01 00 00 01"),
    ("2d 01 06 05 01 00 33 00 00 01", "2d 01 6f 05 01 00 33 00 00 01"),
    ("2e 01 06 05 01 00 32 00 00 01", "2e 01 6f 05 01 00 32 00 00 01"),  # a single command point
    ("2d 02 06 05 01 00 32 00 00 01 33 00 00 01", "2d 02 47 05 01 00 32 00 00 01 33 00 00 01"),
    ("2d 81 06 05 01 00 32 00 00 01", "2d 81 47 05 01 00 32 00 00 01"),
    ("2d 82 08 05 01 00 32 00 00 01 01", "2d 82 49 05 01 00 32 00 00 01 01"),
    ("2d 01 46 05 01 00 32 00 00 01", "2d 01 47 05 01 00 32 00 00 01"),  # P/N in a request
    ("2d 00 06 05 01 00", "2d 00 47 05 01 00"),
    ("66 02 05 05 01 00 0a 00 00 0b 00 00", "66 02 45 05 01 00 0a 00 00 0b 00 00"),
    ("64 02 06 05 01 00 00 00 00 14 00 00 00 14", "64 02 47 05 01 00 00 00 00 14 00 00 00 14"),
]


@pytest.mark.parametrize(("request_", "answer"), WRONG, ids=[row[0][:8] + row[1][6:8] for row in WRONG])
def test_a_wrong_request_is_mirrored_negatively_and_does_nothing(
    peer: Any, bench: Any, request_: str, answer: str
) -> None:
    bench.events()
    assert peer.ask(request_) == [answer]
    assert bench.events() == []


@pytest.mark.parametrize(
    "request_",
    [
        "67 01 06 00 01 00 00 00 00",  # kills c104
        "6b 1d 52 e6 01 00 28 00 00 41 f3 5f 74",  # kills c104; here the cause is unknown first
        "6b 01 06 00 01 00 00 00 00 41 f3 5f 74",
        "2d 01 06 00 01 00 32 00 00",
        "2d 01 06 00 01 00 32 00 00 01 00",
        "2d 02 06 00 01 00 32 00 00 01",
        "64 01 06 00 01 00",
        "64 7f 06 00 01 00 00 00 00 14",
    ],
)
def test_octets_that_make_no_asdu_end_in_an_answer_or_a_closed_link(
    peer: Any, bench: Any, request_: str
) -> None:
    bench.events()
    answers = peer.ask(request_)
    if answers:
        assert answers == [request_[:6] + "6d" + request_[8:]]
        return
    (closed,) = bench.events()
    assert (closed.link, closed.fault.offset) == (
        peer.number,
        min(len(bytes.fromhex(request_)), closed.fault.offset),
    )
    assert bench.outstation.group_status("scada").links == ()


def test_the_frame_that_crashes_c104_closes_the_link_and_the_next_one_works(bench: Any, stocked: Any) -> None:
    link = bench.outstation.open_link("scada", 0.0)
    killer = bytes.fromhex("68 04 07 00 00 00  68 0d 00 00 00 00 67 01 06 00 01 00 00 00 00")
    bench.outstation.receive_data(link, killer, 0.0, bench.utc_ns)
    *_, closed = bench.outstation.events()
    assert closed.reason == "byte 9: C_CS_NA_1: 1 objects: expected 16 octets, found 9"
    assert bench.master().ask("66 01 05 00 02 00 0a 00 00") == ["01 01 05 00 02 00 0a 00 00 00"]


def test_a_master_that_never_acknowledges_is_disconnected_at_the_limit(make_bench: Any, stocked: Any) -> None:
    bench = make_bench(max_replies=20)
    link = bench.outstation.open_link("scada", 0.0)
    frames = b"".join(
        bytes.fromhex("68 0d")
        + (n << 1).to_bytes(2, "little")
        + bytes.fromhex("00 00 66 01 05 00 01 00 ff ff 00")
        for n in range(21)
    )
    bench.outstation.receive_data(link, bytes.fromhex("680407000000") + frames, 0.0, bench.utc_ns)
    first, second = bench.outstation.events()
    assert isinstance(first, LinkStarted)
    assert second.reason == "20 answers wait: the master asks on without acknowledging"
