import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s4g_gateway.codecs.iec104 import TypeId, decode_asdu, pack_asdus
from s4g_gateway.codecs.iec104.buffer import EventBuffer
from s4g_gateway.errors import LocalProtocolError


def event(
    address: int, *, value: int = 1, cause: int = 3, type_id: TypeId = TypeId.M_SP_NA_1, ca: int = 1
) -> bytes:
    return pack_asdus(type_id, ca, cause, addresses=[address], values=[value])[0]


def drain(buffer: EventBuffer) -> list[bytes]:
    return list(iter(buffer.take, b""))


def addresses(asdus: list[bytes]) -> list[int]:
    return [item.address for asdu in asdus for item in decode_asdu(asdu).objects]


def test_neighbours_of_one_kind_are_packed_to_249_octets() -> None:
    buffer = EventBuffer(1000)
    for address in range(1, 101):
        buffer.add(event(address))
    assert len(buffer) == 100
    asdus = drain(buffer)
    assert [len(asdu) for asdu in asdus] == [6 + 60 * 4, 6 + 40 * 4]
    assert addresses(asdus) == list(range(1, 101))
    assert len(buffer) == 0


@pytest.mark.parametrize(
    "other",
    [
        event(2, cause=11),
        event(2, ca=2),
        event(2, type_id=TypeId.M_DP_NA_1),
        pack_asdus(TypeId.M_SP_NA_1, 1, 3, addresses=[2], values=[1], originator=5)[0],
        pack_asdus(TypeId.M_SP_NA_1, 1, 3, addresses=[2, 3], values=[1, 1], sequence=True)[0],
    ],
)
def test_what_differs_is_not_merged_and_order_is_kept(other: bytes) -> None:
    buffer = EventBuffer(1000)
    asdus = [event(1), other, event(3)]
    for asdu in asdus:
        buffer.add(asdu)
    assert drain(buffer) == asdus


def test_the_oldest_go_when_it_is_full() -> None:
    buffer = EventBuffer(3)
    kinds = (TypeId.M_SP_NA_1, TypeId.M_DP_NA_1)
    for address in range(1, 6):
        buffer.add(event(address, type_id=kinds[address % 2]))
    assert (len(buffer), buffer.dropped) == (3, 2)
    assert addresses(drain(buffer)) == [3, 4, 5]


def test_what_is_given_back_comes_first_again() -> None:
    buffer = EventBuffer(1000)
    for address in range(1, 200):
        buffer.add(event(address))
    taken = [(buffer.take(), buffer.taken), (buffer.take(), buffer.taken)]
    buffer.add(event(200))
    buffer.give_back(taken)
    assert len(buffer) == 200
    assert addresses(drain(buffer)) == list(range(1, 201))


def test_giving_back_keeps_the_bound() -> None:
    buffer = EventBuffer(2)
    buffer.add(event(1))
    taken = [(buffer.take(), buffer.taken)]
    buffer.add(event(2))
    buffer.add(event(3, type_id=TypeId.M_DP_NA_1))
    buffer.give_back(taken)
    assert (len(buffer), buffer.dropped) == (2, 1)
    assert addresses(drain(buffer)) == [2, 3]


def test_an_asdu_that_was_handed_out_does_not_grow() -> None:
    buffer = EventBuffer(10)
    first = event(1)
    buffer.add(first)
    buffer.add(event(2))
    assert first == event(1)
    taken = buffer.take()
    buffer.add(event(3))
    assert addresses([taken]) == [1, 2]


def test_clearing_is_no_loss() -> None:
    buffer = EventBuffer(10)
    buffer.add(event(1))
    buffer.clear()
    assert (len(buffer), buffer.dropped, buffer.take()) == (0, 0, b"")


def test_places_tell_what_is_still_needed() -> None:
    buffer = EventBuffer(4)
    kinds = (TypeId.M_SP_NA_1, TypeId.M_DP_NA_1)

    def add(*numbers: int) -> None:
        for number in numbers:
            buffer.add(event(number, type_id=kinds[number % 2]))

    add(1, 2)
    first = (buffer.take(), buffer.taken)
    assert (buffer.added, buffer.taken, buffer.settled) == (2, 1, 0)
    add(3, 4, 5, 6)  # 2 is dropped, 1 is still on its way
    assert (buffer.dropped, buffer.settled) == (1, 0)
    buffer.give_back([first])  # and now 1 is dropped as well
    assert (buffer.dropped, buffer.settled, buffer.taken) == (2, 2, 2)
    assert addresses([buffer.take()]) == [3]
    buffer.acknowledge(buffer.taken)
    assert (buffer.taken, buffer.settled) == (3, 3)
    assert addresses(buffer.clear()) == [4, 5, 6]
    assert (len(buffer), buffer.settled) == (0, 6)


@pytest.mark.parametrize("octets", [b"", bytes(5), bytes(6), bytes(250)])
def test_octets_that_are_no_event_are_refused(octets: bytes) -> None:
    buffer = EventBuffer(10)
    with pytest.raises(LocalProtocolError):
        buffer.add(octets)
    assert len(buffer) == 0


@given(
    st.lists(st.tuples(st.sampled_from([1, 3]), st.sampled_from([1, 2]), st.booleans()), max_size=400),
    st.integers(0, 5),
)
def test_nothing_is_lost_or_reordered(rows: list[tuple[int, int, bool]], hold: int) -> None:
    buffer = EventBuffer(1000)
    got: list[bytes] = []
    for address, (number, ca, take) in enumerate(rows, 1):
        buffer.add(event(address, type_id=TypeId(number), ca=ca))
        if take:
            got.append(buffer.take())
            place = buffer.taken
            if address % 6 == hold:
                buffer.give_back([(got.pop(), place)])
            else:
                buffer.acknowledge(place)
            assert buffer.settled <= place
    got += drain(buffer)
    assert addresses(got) == list(range(1, len(rows) + 1))
    assert buffer.dropped == 0


@given(
    st.integers(1, 60),
    st.lists(
        st.tuples(
            st.sampled_from(["add", "add", "add", "take", "take", "acknowledge", "lose", "clear"]),
            st.integers(1, 5),
        ),
        max_size=60,
    ),
)
@example(4, [("add", 4), ("take", 1), ("add", 5), ("lose", 1)])
@example(20, [("add", 4), ("take", 1), ("clear", 1), ("lose", 1)])
@example(2, [("add", 1), ("take", 1), ("clear", 1), ("lose", 1), ("add", 1)])
def test_nothing_that_waits_or_is_on_its_way_counts_as_settled(
    capacity: int, steps: list[tuple[str, int]]
) -> None:
    buffer = EventBuffer(capacity)
    on_its_way: list[tuple[bytes, int]] = []
    for step, number in steps:
        if step == "add":
            first = buffer.added + 1
            buffer.add(
                pack_asdus(
                    (TypeId.M_SP_NA_1, TypeId.M_DP_NA_1)[number % 2],
                    1,
                    3,
                    addresses=range(first, first + number),  # as the places
                    values=[1] * number,
                )[0]
            )
        elif step == "take" and (asdu := buffer.take()):
            on_its_way.append((asdu, buffer.taken))
        elif step == "acknowledge" and on_its_way:
            buffer.acknowledge(on_its_way[min(number, len(on_its_way)) - 1][1])
            del on_its_way[:number]
        elif step == "lose":
            buffer.give_back(on_its_way)
            on_its_way = []
        elif step == "clear":
            buffer.clear()
        needed = [place for _, place in on_its_way]
        if not needed and not len(buffer):
            assert buffer.settled == buffer.added
        assert all(place > buffer.settled for place in needed)
    buffer.give_back(on_its_way)
    settled = buffer.settled
    waiting = addresses(drain(buffer))
    assert waiting == sorted(waiting)
    assert all(address > settled for address in waiting)
