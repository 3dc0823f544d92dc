"""A master object and an outstation object back to back, and a master against hand-written answers."""

from __future__ import annotations

from typing import Any

import pytest

from s4g_gateway.codecs.iec104 import (
    AsduIgnored,
    AsduReceived,
    Closed,
    CommandMode,
    CommandPoint,
    CommandRequested,
    DataReceived,
    FreezeMode,
    GroupConfig,
    InformationObject,
    Link,
    LinkParameters,
    LinkState,
    Master,
    MasterConfig,
    MasterEvent,
    Outcome,
    Outstation,
    OutstationConfig,
    RequestProgress,
    ResetQualifier,
    ResetRequested,
    Role,
    StationInitialised,
    TimeTag,
    TransferStarted,
    TransferStopped,
    TypeId,
    decode_asdu,
    decode_columns,
    pack_asdus,
)
from s4g_gateway.errors import EncodeError, LocalProtocolError

NOW = 1_767_225_600_000_000_000


class Pair:
    """One master, one outstation, no time but what a test gives."""

    def __init__(self, image: Any, config: MasterConfig | None = None, **station: Any) -> None:
        self.now = 0.0
        self.outstation = Outstation(OutstationConfig(groups=(GroupConfig(name="g"),), **station), image)
        self.link = self.outstation.open_link("g", 0.0)
        self.master = Master(config or MasterConfig(originator=9), 0.0)
        self.up: list[MasterEvent] = []
        self.asked: list[Any] = []

    def start(self) -> Pair:
        self.master.start(self.now)
        self.exchange()
        self.take()
        return self

    def exchange(self) -> None:
        while True:
            up = self.master.data_to_send(self.now)
            self.outstation.receive_data(self.link, up, self.now, NOW)
            down = self.outstation.data_to_send(self.link, self.now)
            self.master.receive_data(down, self.now)
            self.up += self.master.events()
            self.asked += self.outstation.events()
            if not up and not down:
                return

    def take(self) -> list[MasterEvent]:
        self.exchange()
        up, self.up = self.up, []
        return up

    def outcomes(self) -> list[tuple[int | None, Outcome, bool]]:
        return [
            (item.request, item.outcome, item.done)
            for item in self.take()
            if isinstance(item, RequestProgress)
        ]

    def answer(self, accepted: bool = True) -> Any:
        request = self.asked.pop()
        assert isinstance(request, (CommandRequested, ResetRequested))
        assert self.outstation.answer_command(request.token, accepted, self.now, NOW)
        return request


@pytest.fixture
def stocked(image: Any) -> Any:
    image.points = {(1, address): (TypeId.M_ME_NC_1, address / 2, 0) for address in range(1, 1001)}
    image.groups = {(1, 5): 3}
    image.counters = {(1, 2000): 77}
    image.commands = {
        (1, 50): CommandPoint(type_id=TypeId.C_SE_NC_1),
        (1, 51): CommandPoint(type_id=TypeId.C_SC_NA_1, mode=CommandMode.SELECT),
    }
    return image


@pytest.fixture
def pair(stocked: Any) -> Pair:
    return Pair(stocked).start()


def test_start_brings_the_end_of_initialisation(stocked: Any) -> None:
    pair = Pair(stocked)
    with pytest.raises(LocalProtocolError, match="STOPPED"):
        pair.master.interrogate(1, 0.0)
    pair.master.start(0.0)
    assert pair.take() == [TransferStarted(), StationInitialised(1, 0)]


def test_interrogation_of_a_thousand_points(pair: Pair) -> None:
    number = pair.master.interrogate(1, 0.0)
    events = pair.take()
    values = {
        address: value
        for event in events
        if isinstance(event, DataReceived)
        for address, value in zip(event.columns.addresses, event.columns.values or (), strict=True)
    }
    assert values == {address: address / 2 for address in range(1, 1001)}
    assert isinstance(events[0], RequestProgress)
    assert isinstance(events[-1], RequestProgress)
    assert (events[0].request, events[0].outcome, events[0].done) == (number, Outcome.CONFIRMED, False)
    assert (events[-1].request, events[-1].outcome, events[-1].done) == (number, Outcome.TERMINATED, True)


def test_group_interrogation_and_unknown_station(pair: Pair) -> None:
    first, second = pair.master.interrogate(1, 0.0, group=3), pair.master.interrogate(9, 0.0)
    assert pair.outcomes() == [
        (first, Outcome.CONFIRMED, False),
        (second, Outcome.UNKNOWN_COMMON_ADDRESS, True),
        (first, Outcome.TERMINATED, True),
    ]


def test_counters(pair: Pair, stocked: Any) -> None:
    freeze = pair.master.interrogate_counters(1, 0.0, freeze=FreezeMode.FREEZE_AND_RESET)
    assert pair.outcomes() == [(freeze, Outcome.CONFIRMED, True), (None, Outcome.TERMINATED, True)]
    assert stocked.counters == {(1, 2000): 0}
    read = pair.master.interrogate_counters(1, 0.0)
    events = pair.take()
    assert [item.columns.values for item in events if isinstance(item, DataReceived)] == [(77,)]
    assert isinstance(events[-1], RequestProgress)
    assert events[-1].request == read


def test_clock_read_test_and_reset(pair: Pair) -> None:
    clock = pair.master.synchronise_clock(1, NOW + 5_000_000, 0.0)
    known, unknown = pair.master.read(1, 7, 0.0), pair.master.read(1, 7000, 0.0)
    timed, untimed = pair.master.test(1, 4711, NOW, 0.0), pair.master.test_untimed(1, 0.0)
    assert pair.outcomes() == [
        (clock, Outcome.CONFIRMED, True),
        (known, Outcome.ANSWERED, True),
        (unknown, Outcome.UNKNOWN_OBJECT_ADDRESS, True),
        (timed, Outcome.CONFIRMED, True),
        (untimed, Outcome.CONFIRMED, True),
    ]
    reset = pair.master.reset_process(1, ResetQualifier.GENERAL, 0.0)
    assert pair.outcomes() == []
    pair.answer()
    assert [event for event in pair.take() if not isinstance(event, TransferStarted)] == [
        RequestProgress(
            reset, Outcome.CONFIRMED, True, decode_columns(bytes.fromhex("69 01 07 09 01 00 00 00 00 01"))
        ),
    ]


def test_direct_command(pair: Pair) -> None:
    number = pair.master.command(1, TypeId.C_SE_NC_1, InformationObject(50, 1.5), 0.0)
    assert pair.outcomes() == []
    request = pair.answer()
    assert (request.value, request.originator) == (1.5, 9)
    assert pair.outcomes() == [(number, Outcome.CONFIRMED, False)]
    pair.outstation.terminate_command(request.token, 0.0, NOW, accepted=False)
    assert pair.outcomes() == [(number, Outcome.TERMINATED_NEGATIVELY, True)]


def test_timed_command_in_its_zone(stocked: Any) -> None:
    pair = Pair(stocked, MasterConfig(zone_offset_minutes=60), zone_offset_minutes=60).start()
    item = InformationObject(50, 1.5, time=TimeTag(NOW))
    pair.master.command(1, TypeId.C_SE_TC_1, item, 0.0)
    pair.exchange()
    assert pair.answer().time == TimeTag(NOW)


def test_select_execute_and_cancel(pair: Pair) -> None:
    select = InformationObject(51, 1, select=True)
    first = pair.master.command(1, TypeId.C_SC_NA_1, select, 0.0)
    pair.exchange()
    pair.answer()
    assert pair.outcomes() == [(first, Outcome.CONFIRMED, True)]
    cancel = pair.master.command(1, TypeId.C_SC_NA_1, select, 0.0, cancel=True)
    assert pair.outcomes() == [(cancel, Outcome.CONFIRMED, True)]
    execute = pair.master.command(1, TypeId.C_SC_NA_1, InformationObject(51, 1), 0.0)
    assert pair.outcomes() == [(execute, Outcome.REFUSED, True)]


def test_two_commands_to_one_point_are_told_apart(pair: Pair) -> None:
    item = InformationObject(50, 1.5)
    first = pair.master.command(1, TypeId.C_SE_NC_1, item, 0.0)
    pair.exchange()
    one = pair.answer()
    second = pair.master.command(1, TypeId.C_SE_NC_1, item, 0.0)
    pair.exchange()
    two = pair.answer()
    for request in (one, two):
        pair.outstation.terminate_command(request.token, 0.0, NOW)
    assert pair.outcomes() == [
        (first, Outcome.CONFIRMED, False),
        (second, Outcome.CONFIRMED, False),
        (first, Outcome.TERMINATED, True),
        (second, Outcome.TERMINATED, True),
    ]


def test_no_termination_is_awaited_where_the_outstation_sends_none(stocked: Any) -> None:
    pair = Pair(stocked, MasterConfig(expect_termination=False), terminate_commands=False).start()
    number = pair.master.command(1, TypeId.C_SE_NC_1, InformationObject(50, 1.5), 0.0)
    pair.exchange()
    pair.answer()
    assert pair.outcomes() == [(number, Outcome.CONFIRMED, True)]


def test_a_broadcast_is_over_with_its_first_station_and_the_others_still_speak(
    pair: Pair, stocked: Any
) -> None:
    stocked.common_addresses = {1, 2}
    number = pair.master.interrogate(65535, 0.0)
    assert pair.outcomes() == [
        (number, Outcome.CONFIRMED, False),
        (None, Outcome.CONFIRMED, True),
        (number, Outcome.TERMINATED, True),
        (None, Outcome.TERMINATED, True),
    ]


def test_spontaneous_data(pair: Pair) -> None:
    pair.outstation.publish(
        pack_asdus(TypeId.M_ME_TF_1, 1, 3, addresses=[1, 2], values=[1.0, 2.0], times_ns=NOW), NOW
    )
    (event,) = pair.take()
    assert isinstance(event, DataReceived)
    assert (event.columns.header.cause, event.columns.times) == (3, [TimeTag(NOW)] * 2)


def test_nobody_answers(pair: Pair) -> None:
    number = pair.master.command(1, TypeId.C_SE_NC_1, InformationObject(50, 1.5), 0.0)
    pair.exchange()
    pair.master.handle_deadline(30.0)
    assert pair.outcomes()[0] == (number, Outcome.TIMED_OUT, True)


def test_a_lost_link_ends_every_request(pair: Pair) -> None:
    number = pair.master.command(1, TypeId.C_SE_NC_1, InformationObject(50, 1.5), 0.0)
    pair.exchange()
    pair.master.receive_eof(0.0)
    assert pair.master.events() == [
        Closed("the peer closed the connection"),
        RequestProgress(number, Outcome.LINK_LOST, True, None),
    ]
    assert pair.master.state is LinkState.CLOSED
    assert pair.master.next_deadline() is None


def test_stop_and_start_again(pair: Pair) -> None:
    number = pair.master.interrogate(1, 0.0)
    pair.outstation.receive_data(pair.link, pair.master.data_to_send(0.0), 0.0, NOW)
    on_the_way = pair.outstation.data_to_send(pair.link, 0.0)
    pair.master.stop(0.0)
    pair.master.receive_data(on_the_way, 0.0)
    events = pair.take()
    assert len([event for event in events if isinstance(event, DataReceived)]) == 11, (
        "the window, less the answer"
    )
    assert TransferStopped() in events
    assert RequestProgress(number, Outcome.LINK_LOST, True, None) in events
    pair.master.start(0.0)
    assert TransferStarted() in pair.take()


def test_more_requests_than_the_window_wait_and_are_bounded(stocked: Any) -> None:
    pair = Pair(stocked, MasterConfig(link=LinkParameters(k=2, w=1), max_waiting=5)).start()
    for address in range(1, 6):
        pair.master.read(1, address, 0.0)
    with pytest.raises(LocalProtocolError, match="5 requests wait"):
        pair.master.read(1, 6, 0.0)
    assert len(pair.master.data_to_send(0.0)) == 2 * 15


def test_more_requests_than_the_window_are_all_answered(stocked: Any) -> None:
    pair = Pair(stocked, MasterConfig(link=LinkParameters(k=2, w=1))).start()
    numbers = [pair.master.read(1, address, 0.0) for address in range(1, 101)]
    assert pair.outcomes() == [(number, Outcome.ANSWERED, True) for number in numbers]


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.interrogate(1, 0.0, group=17),
        lambda m: m.interrogate_counters(1, 0.0, group=5),
        lambda m: m.command(1, TypeId.C_IC_NA_1, InformationObject(0, 20), 0.0),
    ],
)
def test_requests_that_do_not_exist(pair: Pair, call: Any) -> None:
    with pytest.raises(LocalProtocolError):
        call(pair.master)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39])
def test_a_set_point_that_is_no_number_never_leaves(pair: Pair, value: float) -> None:
    with pytest.raises(EncodeError):
        pair.master.command(1, TypeId.C_SE_NC_1, InformationObject(50, value), 0.0)
    pair.exchange()
    assert pair.asked == [] or not isinstance(pair.asked[-1], CommandRequested)


class Foreign:
    """A master against an outstation that is a bare link."""

    def __init__(self) -> None:
        self.master = Master(MasterConfig(), 0.0)
        self.link = Link(Role.CONTROLLED, LinkParameters(), 0.0)
        self.master.start(0.0)
        self.move()
        self.master.events()

    def move(self) -> list[bytes]:
        self.link.receive_data(self.master.data_to_send(0.0), 0.0)
        self.master.receive_data(self.link.data_to_send(), 0.0)
        return [event.asdu for event in self.link.events() if isinstance(event, AsduReceived)]

    def hear(self, *asdus: str) -> list[MasterEvent]:
        for asdu in asdus:
            self.link.send(bytes.fromhex(asdu), 0.0)
        self.move()
        return self.master.events()


def test_requests_on_the_wire() -> None:
    foreign = Foreign()
    master = foreign.master
    master.interrogate(1, 0.0, group=2)
    master.interrogate_counters(2, 0.0, group=4, freeze=FreezeMode.RESET)
    master.synchronise_clock(65535, NOW, 0.0)
    master.read(1, 0x123456, 0.0)
    master.command(1, TypeId.C_DC_NA_1, InformationObject(5, 2, qualifier=1, select=True), 0.0, cancel=True)
    master.command(1, TypeId.C_SE_NA_1, InformationObject(6, -1), 0.0, test=True)
    assert [octets.hex(" ") for octets in foreign.move()] == [
        "64 01 06 00 01 00 00 00 00 16",
        "65 01 06 00 02 00 00 00 00 c4",
        "67 01 06 00 ff ff 00 00 00 00 00 00 00 01 01 1a",
        "66 01 05 00 01 00 56 34 12",
        "2e 01 08 00 01 00 05 00 00 86",
        "30 01 86 00 01 00 06 00 00 ff ff 00",
    ]


@pytest.mark.parametrize(
    "octets",
    [
        "15 01 03 00 01 00 0a 00 00 00 00",  # type 21, no quality
        "01 02 03 00 01 00 0a 00 00 01",  # truncated
        "64 01 06 00 01 00 00 00 00 14",  # a request from an outstation
        "64 01 3f 00 01 00 00 00 00 14",
    ],
)
def test_what_a_master_cannot_read_is_reported_and_the_link_goes_on(octets: str) -> None:
    foreign = Foreign()
    first, second = foreign.hear(octets, "01 01 03 00 01 00 0a 00 00 01")
    assert isinstance(first, AsduIgnored)
    assert first.asdu == bytes.fromhex(octets)
    assert isinstance(second, DataReceived)


def test_an_answer_to_nothing_has_no_request() -> None:
    (event,) = Foreign().hear("64 01 07 00 01 00 00 00 00 14")
    assert isinstance(event, RequestProgress)
    assert (event.request, event.outcome, event.done) == (None, Outcome.CONFIRMED, True)


def test_a_termination_without_confirmation_is_no_success() -> None:
    foreign = Foreign()
    foreign.master.interrogate(1, 0.0)
    foreign.move()
    (event,) = foreign.hear("64 01 0a 00 01 00 00 00 00 14")
    assert isinstance(event, RequestProgress)
    assert event.request is None


def test_a_late_deactivation_confirmation_belongs_to_the_cancel() -> None:
    foreign = Foreign()
    master = foreign.master
    item = InformationObject(5, 1, select=True)
    select = master.command(1, TypeId.C_SC_NA_1, item, 0.0)
    cancel = master.command(1, TypeId.C_SC_NA_1, item, 0.0, cancel=True)
    foreign.move()
    events = foreign.hear("2d 01 09 00 01 00 05 00 00 81", "2d 01 47 00 01 00 05 00 00 81")
    assert [(e.request, e.outcome) for e in events if isinstance(e, RequestProgress)] == [
        (cancel, Outcome.CONFIRMED),
        (select, Outcome.REFUSED),
    ]


def test_a_read_can_be_refused_and_foreign_data_answer_no_read() -> None:
    foreign = Foreign()
    number = foreign.master.read(1, 10, 0.0)
    foreign.move()
    other, refused = foreign.hear("01 01 05 00 02 00 0a 00 00 01", "66 01 45 00 01 00 0a 00 00")
    assert isinstance(other, DataReceived)
    assert isinstance(refused, RequestProgress)
    assert (refused.request, refused.outcome, refused.done) == (number, Outcome.REFUSED, True)


def test_closing_ends_what_runs(pair: Pair) -> None:
    number = pair.master.command(1, TypeId.C_SE_NC_1, InformationObject(50, 1.5), 0.0)
    pair.exchange()
    pair.master.close("enough", 0.0)
    assert pair.master.events() == [
        Closed("enough"),
        RequestProgress(number, Outcome.LINK_LOST, True, None),
    ]


def test_data_that_were_requested_by_nobody(pair: Pair) -> None:
    pair.outstation.publish([bytes.fromhex("01 01 05 00 01 00 0a 00 00 01")], NOW)
    (event,) = pair.take()
    assert isinstance(event, DataReceived)


def test_decoded_originator_is_ours(pair: Pair) -> None:
    pair.master.read(1, 7, 0.0)
    (data, _) = pair.take()
    assert isinstance(data, DataReceived)
    assert data.columns.header.originator == 9
    assert decode_asdu(bytes.fromhex("66 01 05 09 01 00 07 00 00")).originator == 9
