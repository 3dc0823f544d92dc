from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4g_gateway.codecs.iec104 import (
    AsduReceived,
    Closed,
    Link,
    LinkParameters,
    LinkState,
    Role,
    TransferStarted,
    TransferStopped,
)
from s4g_gateway.codecs.iec104.apci import U_OCTETS, encode_i_frame, encode_s_frame
from s4g_gateway.codecs.iec104.link_states import TRANSITIONS, LinkInput
from s4g_gateway.errors import DecodeError, LocalProtocolError, RemoteProtocolError

ASDU = bytes.fromhex("01 01 03 00 01 00 0a 00 00 01")
U = {frame.name: octets for frame, octets in U_OCTETS.items()}
OUT, MASTER = Role.CONTROLLED, Role.CONTROLLING


def started(role: Role, parameters: LinkParameters | None = None) -> Link:
    link = Link(role, parameters or LinkParameters(), 0.0)
    if role is MASTER:
        link.start(0.0)
        link.receive_data(U["STARTDT_CON"], 0.0)
    else:
        link.receive_data(U["STARTDT_ACT"], 0.0)
    link.data_to_send()
    assert link.events() == [TransferStarted()]
    return link


def in_state(role: Role, state: LinkState) -> Link:
    if state is LinkState.STOPPED:
        return Link(role, LinkParameters(), 0.0)
    if state is LinkState.STARTING:
        link = Link(role, LinkParameters(), 0.0)
        link.start(0.0)
    else:
        link = started(role)
        link.send(ASDU, 0.0)
        if state is LinkState.STOPPING:
            if role is MASTER:
                link.stop(0.0)
            else:
                link.receive_data(U["STOPDT_ACT"], 0.0)
    link.data_to_send()
    assert link.state is state
    return link


FRAMES = {
    **{LinkInput(frame): octets for frame, octets in U_OCTETS.items()},
    LinkInput.I_FRAME: encode_i_frame(ASDU, 0, 0),
    LinkInput.S_FRAME: encode_s_frame(0),
}
REACHABLE = [
    (role, state)
    for role, state in itertools.product(Role, LinkState)
    if state is not LinkState.CLOSED and not (role is OUT and state is LinkState.STARTING)
]


@pytest.mark.parametrize("cause", FRAMES, ids=lambda cause: cause.name)
@pytest.mark.parametrize(("role", "state"), REACHABLE, ids=lambda item: item.name)
def test_every_frame_in_every_state_does_what_the_table_says(
    role: Role, state: LinkState, cause: LinkInput
) -> None:
    link = in_state(role, state)
    link.receive_data(FRAMES[cause], 0.0)
    step = TRANSITIONS.get((role, state, cause))
    if step is None:
        closed = link.events()[-1]
        assert isinstance(closed, Closed)
        assert isinstance(closed.fault, RemoteProtocolError)
        assert link.state is LinkState.CLOSED
        assert AsduReceived(ASDU) not in link.events()
    else:
        assert link.state is step[0]
        answer = U_OCTETS[step[1]] if step[1] else b""
        assert answer in link.data_to_send()


@pytest.mark.parametrize("wish", ["start", "stop", "supersede"])
@pytest.mark.parametrize(("role", "state"), REACHABLE, ids=lambda item: item.name)
def test_a_wish_at_the_wrong_time_raises_and_changes_nothing(role: Role, state: LinkState, wish: str) -> None:
    link = in_state(role, state)
    if (role, state, LinkInput(wish if wish != "supersede" else "superseded")) in TRANSITIONS:
        getattr(link, wish)(0.0)
        return
    with pytest.raises(LocalProtocolError):
        getattr(link, wish)(0.0)
    assert link.state is state
    assert link.events() == []


def test_nothing_is_sent_before_startdt_or_beyond_the_window() -> None:
    link = Link(OUT, LinkParameters(k=3), 0.0)
    assert link.window == 0
    with pytest.raises(LocalProtocolError, match="STOPPED"):
        link.send(ASDU, 0.0)
    link = started(OUT, LinkParameters(k=3))
    for _ in range(3):
        link.send(ASDU, 0.0)
    assert link.window == 0
    with pytest.raises(LocalProtocolError, match="3 not acknowledged"):
        link.send(ASDU, 0.0)
    link.receive_data(encode_s_frame(2), 0.0)
    assert link.window == 2


@pytest.mark.parametrize("length", [0, 5, 250])
def test_an_asdu_that_fits_no_frame_is_refused(length: int) -> None:
    with pytest.raises(LocalProtocolError, match="6 to 249"):
        started(OUT).send(bytes(length), 0.0)


def test_sequence_numbers_wrap_at_32768() -> None:
    out, master = started(OUT), started(MASTER)
    for number in range(32770):
        out.send(ASDU, 0.0)
        data = out.data_to_send()
        assert data == encode_i_frame(ASDU, number % 32768, 0)
        master.receive_data(data, 0.0)
        out.receive_data(master.data_to_send(), 0.0)
    assert len(master.events()) == 32770
    assert out.state is master.state is LinkState.STARTED
    assert out.window == 12 - 32770 % 8


@pytest.mark.parametrize("number", [1, 2, 32767])
def test_a_send_number_out_of_order_closes_without_delivering(number: int) -> None:
    link = started(OUT)
    link.receive_data(encode_i_frame(ASDU, number, 0), 0.0)
    (closed,) = link.events()
    assert isinstance(closed, Closed)
    assert closed.reason == f"N(S): expected 0, found {number}"


@pytest.mark.parametrize("number", [3, 4, 32767])
def test_an_acknowledgement_of_what_was_never_sent_closes(number: int) -> None:
    link = started(OUT)
    link.send(ASDU, 0.0)
    link.send(ASDU, 0.0)
    link.receive_data(encode_s_frame(number), 0.0)
    assert link.ending.reason == f"N(R): expected 0 to 2, found {number}"
    link = started(OUT)
    link.send(ASDU, 0.0)
    link.receive_data(encode_s_frame(1) + encode_s_frame(0), 0.0)
    assert link.ending.reason == "N(R): expected 1 to 1, found 0"


@pytest.mark.parametrize(
    "octets",
    [
        "68 04 05 00 00 00",  # S with a further bit
        "68 04 01 01 00 00",
        "68 04 01 00 01 00",  # N(R) with its lowest bit
        "68 05 01 00 00 00 00",  # S with an ASDU
        "68 04 03 00 00 00",  # U of nothing
        "68 04 0f 00 00 00",  # U of two
        "68 04 43 00 00 01",
        "68 05 43 00 00 00 00",
        "68 04 00 00 00 00",  # I without ASDU
        "68 09 00 00 00 00 01 01 03 00 01",  # I with half a header
        "68 0e 00 00 01 00 01 01 03 00 01 00 0a 00 00 01",
    ],
)
def test_frames_with_impossible_bits_close(octets: str) -> None:
    link = started(OUT)
    link.receive_data(bytes.fromhex(octets), 0.0)
    (closed,) = link.events()
    assert isinstance(closed, Closed)
    assert isinstance(closed.fault, DecodeError)
    assert closed.fault.offset is not None


def test_frames_before_garbage_are_delivered_first() -> None:
    link = started(OUT)
    link.receive_data(encode_i_frame(ASDU, 0, 0) + b"\x00", 0.0)
    first, second = link.events()
    assert first == AsduReceived(ASDU)
    assert isinstance(second, Closed)
    link.receive_data(encode_i_frame(ASDU, 1, 0), 0.0)
    assert link.events() == []
    assert link.next_deadline() is None
    link.handle_deadline(100.0)
    link.close("again")
    assert link.events() == []


def test_w_received_frames_are_acknowledged_at_once_fewer_after_t2() -> None:
    link = started(MASTER)
    for number in range(7):
        link.receive_data(encode_i_frame(ASDU, number, 0), 1.0 + number)
        assert link.data_to_send() == b""
    assert link.next_deadline() == 11.0, "t2 runs from the first"
    link.handle_deadline(10.9)
    assert link.data_to_send() == b""
    link.handle_deadline(11.0)
    assert link.data_to_send() == encode_s_frame(7)
    for number in range(7, 15):
        link.receive_data(encode_i_frame(ASDU, number, 0), 12.0)
    assert link.data_to_send() == encode_s_frame(15)
    assert link.data_to_send() == b""


def test_an_i_frame_acknowledges_on_its_way() -> None:
    link = started(OUT)
    for number in range(8):
        link.receive_data(encode_i_frame(ASDU, number, 0), 0.0)
    link.send(ASDU, 0.0)
    assert link.data_to_send() == encode_i_frame(ASDU, 0, 8)
    assert link.next_deadline() == 15.0, "t1 of the I-frame, no t2"


def test_t1_closes_when_an_i_frame_is_not_acknowledged() -> None:
    link = started(OUT)
    link.send(ASDU, 1.0)
    link.send(ASDU, 5.0)
    link.receive_data(encode_s_frame(1), 10.0)
    assert link.next_deadline() == 20.0
    link.handle_deadline(19.9)
    assert link.state is LinkState.STARTED
    link.handle_deadline(20.0)
    assert link.ending.reason == "t1: an I-frame was not acknowledged"


def test_t3_of_silence_tests_the_link_and_t1_gives_up() -> None:
    link = started(OUT)
    assert link.next_deadline() == 20.0
    link.receive_data(U["TESTFR_ACT"], 5.0)
    assert link.data_to_send() == U["TESTFR_CON"]
    assert link.next_deadline() == 25.0
    link.handle_deadline(25.0)
    assert link.data_to_send() == U["TESTFR_ACT"]
    link.receive_data(U["TESTFR_CON"], 26.0)
    assert link.next_deadline() == 46.0
    link.handle_deadline(46.0)
    assert link.next_deadline() == 61.0
    link.handle_deadline(61.0)
    assert link.ending.reason == "t1: TESTFR_CON did not come"


def test_no_test_runs_while_another_confirmation_is_awaited() -> None:
    link = Link(MASTER, LinkParameters(t1_s=15.0, t2_s=10.0, t3_s=5.0), 0.0)
    link.start(0.0)
    assert link.data_to_send() == U["STARTDT_ACT"]
    link.handle_deadline(5.0)
    assert link.data_to_send() == b""
    assert link.next_deadline() == 10.0


def test_a_test_runs_also_before_startdt() -> None:
    link = Link(OUT, LinkParameters(), 0.0)
    link.handle_deadline(20.0)
    assert link.data_to_send() == U["TESTFR_ACT"]
    link.handle_deadline(35.0)
    assert link.state is LinkState.CLOSED


@pytest.mark.parametrize("wish", ["start", "stop"])
def test_t1_closes_when_start_or_stop_is_not_confirmed(wish: str) -> None:
    link = started(MASTER) if wish == "stop" else Link(MASTER, LinkParameters(), 0.0)
    getattr(link, wish)(1.0)
    assert link.next_deadline() == 16.0
    link.handle_deadline(16.0)
    assert link.ending.reason == f"t1: {wish.upper()}DT_CON did not come"


def test_stopdt_waits_until_everything_is_acknowledged() -> None:
    out, master = started(OUT), started(MASTER)
    out.send(ASDU, 0.0)
    out.send(ASDU, 0.0)
    on_the_way = out.data_to_send()
    master.stop(0.0)
    out.receive_data(master.data_to_send(), 0.0)
    assert out.state is LinkState.STOPPING
    assert out.data_to_send() == b""
    assert out.window == 0
    master.receive_data(on_the_way, 0.0)
    out.receive_data(master.data_to_send(), 0.0)
    assert out.state is LinkState.STOPPED
    master.receive_data(out.data_to_send(), 0.0)
    assert master.events() == [AsduReceived(ASDU), AsduReceived(ASDU), TransferStopped()]
    assert out.events() == [TransferStopped()]


def test_a_master_acknowledges_before_it_stops() -> None:
    link = started(MASTER)
    link.receive_data(encode_i_frame(ASDU, 0, 0), 0.0)
    link.stop(0.0)
    assert link.data_to_send() == encode_s_frame(1) + U["STOPDT_ACT"]
    link = started(OUT)
    link.receive_data(encode_i_frame(ASDU, 0, 0), 0.0)
    with pytest.raises(LocalProtocolError):
        link.stop(0.0)
    assert link.data_to_send() == b""


def test_stopdt_acknowledges_what_was_received_first() -> None:
    link = started(OUT)
    link.receive_data(encode_i_frame(ASDU, 0, 0) + U["STOPDT_ACT"], 0.0)
    assert link.data_to_send() == encode_s_frame(1) + U["STOPDT_CON"]


def test_what_a_superseded_link_had_sent_is_taken_once_and_its_late_acknowledgement_accepted() -> None:
    link = started(OUT)
    link.send(ASDU, 0.0, "first")
    link.send(ASDU, 0.0, "second")
    with pytest.raises(LocalProtocolError, match="still running"):
        link.take_unacknowledged()
    link.receive_data(encode_s_frame(1), 0.0)
    link.supersede(0.0)
    assert link.events() == [TransferStopped()]
    assert link.take_unacknowledged() == [(ASDU, "second")]
    assert link.take_unacknowledged() == []
    link.receive_data(U["STARTDT_ACT"], 1.0)
    link.data_to_send()
    assert link.window == 11, "the number is still in flight"
    link.send(ASDU, 1.0, "third")
    link.receive_data(encode_s_frame(2), 2.0)
    assert link.window == 11
    link.close("done")
    assert link.take_unacknowledged() == [(ASDU, "third")]


def test_a_peer_that_tests_on_without_reading_is_disconnected() -> None:
    link = started(OUT)
    for _ in range(10):
        link.receive_data(U["TESTFR_ACT"] * 1024, 0.0)
        assert link.data_to_send() == U["TESTFR_CON"] * 1024
    link.receive_data(U["TESTFR_ACT"] * 1025, 0.0)
    assert link.ending.reason == "1024 confirmations wait: the peer asks on without reading"


def test_the_end_of_the_stream_closes_without_fault() -> None:
    link = started(OUT)
    link.receive_eof()
    assert link.events() == [Closed("the peer closed the connection", None)]


@pytest.mark.parametrize(
    "wrong",
    [{"k": 0}, {"k": 32768}, {"w": 0}, {"t0_s": 0.0}, {"t1_s": -1.0}, {"t2_s": 15.0}, {"t3_s": float("nan")}],
)
def test_parameters_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(LocalProtocolError):
        LinkParameters(**wrong)  # type: ignore[arg-type]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "ab", "ba"]), st.integers(0, 3), st.integers(0, 3))),
    st.integers(1, 5),
    st.integers(1, 8),
)
def test_whatever_the_schedule_nothing_is_lost_doubled_or_reordered(
    schedule: list[tuple[str, int, int]], k: int, w: int
) -> None:
    parameters = LinkParameters(k=k, w=min(w, k))
    out, master = started(OUT, parameters), started(MASTER, parameters)
    sent: dict[str, list[bytes]] = {"a": [], "b": []}
    got: dict[str, list[bytes]] = {"a": [], "b": []}
    wire = {"a": b"", "b": b""}
    ends = {"a": (out, master), "b": (master, out)}

    def move(side: str) -> None:
        me, peer = ends[side]
        wire[side] += me.data_to_send()
        peer.receive_data(wire[side], 0.0)
        wire[side] = b""
        got[side] += [event.asdu for event in peer.events() if isinstance(event, AsduReceived)]

    for sides, from_a, from_b in schedule:
        for side, count in (("a", from_a), ("b", from_b)):
            me = ends[side][0]
            for _ in range(min(count, me.window)):
                asdu = ASDU[:-1] + bytes((len(sent[side]) & 0xFF,))
                me.send(asdu, 0.0)
                sent[side].append(asdu)
        for side in sides:
            move(side)
    for side in "abab":
        move(side)
    assert got == sent
    assert out.state is master.state is LinkState.STARTED
