import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.codecs.iec104.apci import (
    U_OCTETS,
    FrameReader,
    UFrame,
    encode_i_frame,
    encode_s_frame,
)
from s4g_gateway.errors import DecodeError

ASDU = bytes.fromhex("64 01 06 00 01 00 00 00 00 14")

# (id, octets, frame as our encoder makes it)
GOLDEN = [
    ("STARTDT act", "68 04 07 00 00 00", U_OCTETS[UFrame.STARTDT_ACT]),
    ("STARTDT con", "68 04 0b 00 00 00", U_OCTETS[UFrame.STARTDT_CON]),
    ("STOPDT act", "68 04 13 00 00 00", U_OCTETS[UFrame.STOPDT_ACT]),
    ("STOPDT con", "68 04 23 00 00 00", U_OCTETS[UFrame.STOPDT_CON]),
    ("TESTFR act", "68 04 43 00 00 00", U_OCTETS[UFrame.TESTFR_ACT]),
    ("TESTFR con", "68 04 83 00 00 00", U_OCTETS[UFrame.TESTFR_CON]),
    ("S 5", "68 04 01 00 0a 00", encode_s_frame(5)),
    ("S 32767", "68 04 01 00 fe ff", encode_s_frame(32767)),
    ("I 0/0", "68 0e 00 00 00 00 " + ASDU.hex(" "), encode_i_frame(ASDU, 0, 0)),
    ("I 129/32767", "68 0e 02 01 fe ff " + ASDU.hex(" "), encode_i_frame(ASDU, 129, 32767)),
    ("longest", "68 fd 00 00 00 00 " + bytes(249).hex(), encode_i_frame(bytes(249), 0, 0)),
]


@pytest.mark.parametrize(("octets", "frame"), [row[1:] for row in GOLDEN], ids=[row[0] for row in GOLDEN])
def test_golden_frames_whole_and_octet_by_octet(octets: str, frame: bytes) -> None:
    data = bytes.fromhex(octets)
    assert frame == data
    assert list(FrameReader().feed(data)) == [data]
    reader = FrameReader()
    for octet in data[:-1]:
        assert list(reader.feed(bytes((octet,)))) == []
    assert list(reader.feed(data[-1:])) == [data]
    assert list(reader.feed(b"")) == []


@given(st.lists(st.sampled_from([row[2] for row in GOLDEN]), max_size=12), st.data())
def test_frames_survive_any_cut(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader = FrameReader()
    got: list[bytes] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += reader.feed(stream[start:stop])
    assert got == frames


@pytest.mark.parametrize(
    ("octets", "offset"),
    [("67", 0), ("68 03", 1), ("68 fe", 1), ("68 ff 00", 1), ("68 00", 1), ("ff 04 07 00 00 00", 0)],
)
def test_what_is_no_frame_is_refused_at_its_octet(octets: str, offset: int) -> None:
    good = U_OCTETS[UFrame.TESTFR_ACT]
    got: list[bytes] = []
    with pytest.raises(DecodeError) as error:
        got.extend(FrameReader().feed(good + bytes.fromhex(octets)))
    assert got == [good]
    assert error.value.offset == len(good) + offset
