"""Hostile octets: every one ends in an answer or a closed link, and nothing happens that was not rightly asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from s4g_gateway.codecs.iec104 import (
    BROADCAST_ADDRESS,
    Cause,
    ClockSynchronised,
    CommandMode,
    CommandPoint,
    CommandRefused,
    CommandReleased,
    CommandRequested,
    GroupConfig,
    LinkClosed,
    LinkStarted,
    LinkState,
    LinkStopped,
    Master,
    MasterConfig,
    Outstation,
    OutstationConfig,
    ReleaseReason,
    ResetRequested,
    TypeId,
    decode_asdu,
    encode_asdu,
)
from s4g_gateway.codecs.iec104.apci import encode_i_frame
from s4g_gateway.codecs.iec104.identifiers import COMMAND_TYPES
from s4g_gateway.errors import DecodeError

NOW = 1_767_225_600_000_000_000
STARTDT = bytes.fromhex("68 04 07 00 00 00")
T = "00 00 00 00 01 01 1a"
VALID = [
    bytes.fromhex(asdu)
    for asdu in (
        "2d 01 06 05 01 00 32 00 00 01",
        "2d 01 06 05 01 00 33 00 00 81",
        "2d 01 06 05 01 00 33 00 00 01",
        "2d 01 08 05 01 00 33 00 00 81",
        f"3a 01 06 05 01 00 32 00 00 01 {T}",
        "2e 01 06 05 01 00 34 00 00 02",
        "32 01 06 05 01 00 35 00 00 00 00 80 3f 00",
        f"3f 01 06 05 01 00 35 00 00 00 00 80 3f 00 {T}",
        "33 01 06 05 01 00 36 00 00 ef be ad de",
        "64 01 06 05 01 00 00 00 00 14",
        "64 01 06 05 ff ff 00 00 00 14",
        "65 01 06 05 01 00 00 00 00 45",
        "66 01 05 05 01 00 0a 00 00",
        f"67 01 06 05 01 00 00 00 00 {T}",
        "68 01 06 05 01 00 00 00 00 aa 55",
        "69 01 06 05 01 00 00 00 00 01",
        f"6b 01 06 05 01 00 00 00 00 34 12 {T}",
    )
]
POINTS = {
    (1, 50): CommandPoint(type_id=TypeId.C_SC_NA_1),
    (1, 51): CommandPoint(type_id=TypeId.C_SC_NA_1, mode=CommandMode.SELECT),
    (1, 52): CommandPoint(type_id=TypeId.C_DC_NA_1),
    (1, 53): CommandPoint(type_id=TypeId.C_SE_NC_1, minimum=-10.0, maximum=10.0),
    (1, 54): CommandPoint(type_id=TypeId.C_BO_NA_1),
}
FAST = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def stocked(image: Any) -> Any:
    image.points = {(1, 10): (TypeId.M_SP_NA_1, 1, 0), (1, 11): (TypeId.M_ME_NC_1, 0.5, 0)}
    image.counters = {(1, 20): 5}
    image.commands = POINTS
    return image


def station(image: Any) -> tuple[Outstation, int]:
    outstation = Outstation(
        OutstationConfig(groups=(GroupConfig(name="g"),), end_of_initialisation="never"),  # type: ignore[arg-type]
        image,
    )
    link = outstation.open_link("g", 0.0)
    outstation.receive_data(link, STARTDT, 0.0, NOW)
    outstation.data_to_send(link, 0.0)
    outstation.events()
    return outstation, link


@st.composite
def mutations(draw: st.DrawFn, of: st.SearchStrategy[bytes]) -> bytes:
    octets = bytearray(draw(of))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(octets)))
        kind = draw(st.sampled_from(["set", "flip", "cut", "insert", "drop", "double"]))
        if kind == "set" and at < len(octets):
            octets[at] = draw(st.integers(0, 255))
        elif kind == "flip" and at < len(octets):
            octets[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del octets[at:]
        elif kind == "insert":
            octets[at:at] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "drop":
            del octets[at : at + 1]
        else:
            octets += octets[at:]
    return bytes(octets)


ASDUS = mutations(st.sampled_from(VALID)).filter(lambda octets: 6 <= len(octets) <= 249)


def rightly_asked(octets: bytes) -> bool:
    """True where these octets, taken alone, are a legal request that may reach the application."""
    try:
        asdu = decode_asdu(octets)
    except DecodeError:
        return False
    (item, *more) = asdu.objects
    if more or asdu.sequence or asdu.negative or asdu.cause != Cause.ACTIVATION:
        return False
    if asdu.type_id in (TypeId.C_RP_NA_1, TypeId.C_CS_NA_1):
        known = asdu.common_address in (1, BROADCAST_ADDRESS) and item.address == 0
        return known and (item.value in (1, 2) if item.time is None else not item.time.invalid)
    point = POINTS.get((asdu.common_address, item.address))
    if point is None or asdu.type_id not in (point.type_id, point.type_id + 13):
        return False
    if item.time is not None and (item.time.invalid or abs(item.time.time_ns - NOW) > 10 * 10**9):
        return False
    if item.address == 52 and item.value not in (1, 2):
        return False
    if item.address == 53 and not -10.0 <= (item.value or 0.0) <= 10.0:
        return False
    return item.select == (item.address == 51)


def negative_replies(sent: bytes) -> list[tuple[int, int, int]]:
    """Returns (type, common address, object address) of every negative answer in octets that were sent."""
    found = []
    while sent:
        frame, sent = sent[: 2 + sent[1]], sent[2 + sent[1] :]
        asdu = frame[6:]
        if asdu and asdu[2] & 0x40:
            found.append((asdu[0], int.from_bytes(asdu[4:6], "little"), int.from_bytes(asdu[6:9], "little")))
    return found


def refusals(events: list[Any]) -> list[tuple[int, int, int]]:
    """Returns the same of every refused command that was reported."""
    return [
        (event.type_id, event.common_address, event.address)
        for event in events
        if isinstance(event, CommandRefused)
    ]


def cancelled(events: list[Any]) -> list[tuple[int, int, int]]:
    """Returns the same of every request that was cancelled before its answer, which refuses it, too."""
    asked = {event.token: event for event in events if isinstance(event, CommandRequested)}
    tokens = [
        event.token
        for event in events
        if isinstance(event, CommandReleased) and event.reason is ReleaseReason.CANCELLED
    ]
    return [(asked[token].type_id, asked[token].common_address, asked[token].address) for token in tokens]


def of_commands(replies: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return [reply for reply in replies if reply[0] in COMMAND_TYPES]


@FAST
@given(octets=st.one_of(ASDUS, st.sampled_from(VALID), st.binary(min_size=6, max_size=40)))
@example(octets=bytes.fromhex("67 01 06 00 01 00 00 00 00"))
@example(octets=bytes.fromhex("6b 1d 52 e6 01 00 28 00 00 41 f3 5f 74"))
@example(octets=bytes.fromhex("6b 01 06 e6 01 00 28 00 00 41 f3 5f 74"))
@example(octets=bytes.fromhex("32 01 06 05 01 00 35 00 00 00 00 c0 7f 00"))
@example(octets=bytes.fromhex("2e 81 06 05 01 00 34 00 00 02"))
def test_every_asdu_is_answered_or_closes_the_link_and_only_right_ones_act(
    stocked: Any, octets: bytes
) -> None:
    outstation, link = station(stocked)
    stocked.counters = {(1, 20): 5}
    outstation.receive_data(link, encode_i_frame(octets, 0, 0), 0.0, NOW)
    events = outstation.events()
    reply = outstation.data_to_send(link, 0.0)
    assert refusals(events) == of_commands(negative_replies(reply)), "each refusal is answered, and reported"
    for event in events:
        assert isinstance(
            event, (CommandRequested, CommandRefused, ClockSynchronised, ResetRequested, LinkClosed)
        )
        if isinstance(event, LinkClosed):
            assert isinstance(event.fault, DecodeError)
        elif isinstance(event, CommandRefused):
            assert not rightly_asked(octets)
        else:
            assert rightly_asked(octets)
        if isinstance(event, CommandRequested):
            item = decode_asdu(octets).objects[0]
            assert (event.address, event.value, event.qualifier) == (item.address, item.value, item.qualifier)
            assert reply == b"", "nothing is confirmed before the device has answered"
    assert reply or events, "neither answered, nor asked the application, nor closed"
    if rightly_asked(octets):
        assert isinstance(events[0], (CommandRequested, ResetRequested, ClockSynchronised))
    if stocked.counters != {(1, 20): 5}:
        assert encode_asdu(decode_asdu(octets)) == octets
    assert outstation.receive_data(link, STARTDT, 0.0, NOW) is None, "the station goes on"


@FAST
@given(octets=ASDUS)
def test_no_mutation_selects_executes_or_frees_somebody_elses_selection(stocked: Any, octets: bytes) -> None:
    outstation, first = station(stocked)
    second = outstation.open_link("g", 0.0)
    select = encode_i_frame(VALID[1], 0, 0)
    outstation.receive_data(first, select, 0.0, NOW)
    (request,) = outstation.events()
    outstation.answer_command(request.token, True, 0.0, NOW)
    outstation.receive_data(second, encode_i_frame(octets, 0, 0), 0.0, NOW)  # before its STARTDT
    (closed,) = outstation.events()
    assert isinstance(closed, LinkClosed)
    assert closed.link == second
    outstation.receive_data(first, encode_i_frame(VALID[2], 1, 0), 0.0, NOW)
    (execute,) = outstation.events()
    assert execute.selection == request.token


FRAMES = st.lists(st.sampled_from(VALID), min_size=1, max_size=6).map(
    lambda asdus: STARTDT + b"".join(encode_i_frame(asdu, at, 0) for at, asdu in enumerate(asdus))
)


CANCELLED_BEFORE_ITS_ANSWER = STARTDT + encode_i_frame(VALID[1], 0, 0) + encode_i_frame(VALID[3], 1, 0)


@FAST
@example(stream=CANCELLED_BEFORE_ITS_ANSWER, cuts=[])
@given(
    stream=st.one_of(mutations(FRAMES), st.binary(max_size=300)),
    cuts=st.lists(st.integers(0, 300), max_size=5),
)
def test_no_stream_breaks_the_outstation(stocked: Any, stream: bytes, cuts: list[int]) -> None:
    outstation, link = station(stocked)
    stops = sorted(min(cut, len(stream)) for cut in cuts)
    sent = b""
    events: list[Any] = []
    for start, stop in zip([0, *stops], [*stops, len(stream)], strict=True):
        outstation.receive_data(link, stream[start:stop], 0.0, NOW)
        sent += outstation.data_to_send(link, 0.0)
        events += outstation.events()
    closed = [event for event in events if isinstance(event, LinkClosed)]
    assert len(closed) <= 1
    for event in events:
        assert isinstance(
            event,
            (
                LinkStarted,
                LinkStopped,
                LinkClosed,
                CommandRequested,
                CommandRefused,
                CommandReleased,
                ClockSynchronised,
                ResetRequested,
            ),
        )
    unexplained = Counter(of_commands(negative_replies(sent)))
    unexplained.subtract([*refusals(events), *cancelled(events)])
    assert max(unexplained.values(), default=0) <= 0, "every negative answer is reported"
    if not closed:
        outstation.handle_deadline(20.0, NOW)
        outstation.handle_deadline(36.0, NOW)
        assert any(isinstance(event, LinkClosed) for event in outstation.events()), "silence ends it"
    assert outstation.group_status("g").links == ()
    assert outstation.open_link("g", 40.0) == link + 1


MONITORED = [
    bytes.fromhex(asdu)
    for asdu in (
        "01 83 14 07 f1 00 01 00 00 00 01 80",
        f"24 01 03 00 01 00 0e 00 00 00 00 00 3f 00 {T}",
        "64 01 07 00 01 00 00 00 00 14",
        "64 01 0a 00 01 00 00 00 00 14",
        "2d 01 47 00 01 00 32 00 00 01",
        "46 01 04 00 01 00 00 00 00 00",
        "66 01 6f 00 01 00 0a 00 00",
    )
]
DOWN = st.lists(st.sampled_from(MONITORED), min_size=1, max_size=6).map(
    lambda asdus: (
        bytes.fromhex("68 04 0b 00 00 00")
        + b"".join(encode_i_frame(asdu, at, 0) for at, asdu in enumerate(asdus))
    )
)


@FAST
@given(stream=st.one_of(DOWN, mutations(DOWN), st.binary(max_size=300)), start=st.booleans())
def test_no_stream_breaks_the_master(stream: bytes, start: bool) -> None:
    master = Master(MasterConfig(), 0.0)
    if start:
        master.start(0.0)
        master.data_to_send(0.0)
    master.receive_data(stream, 0.0)
    if master.state is LinkState.STARTED:
        master.interrogate(1, 0.0)
        master.receive_data(stream, 0.0)
    master.data_to_send(0.0)
    master.events()
    for now in (20.0, 36.0, 400.0):
        master.handle_deadline(now)
    assert master.state is LinkState.CLOSED
    assert master.next_deadline() is None
