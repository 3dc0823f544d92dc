import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.errors import DecodeError, EncodeError
from s4g_gateway.model import DataSet, Member, ObjectReference, Reason, Report, TimeQuality
from s4g_gateway.workers import frames

FLOATS = st.floats(allow_nan=False)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(st.none(), st.booleans(), INTEGERS, FLOATS, st.text(max_size=8))
PLAIN = st.recursive(
    st.one_of(VALUES, st.binary(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
QUALITY = st.integers(0, 2**13 - 1)


@st.composite
def reports(draw, size=3):
    column = lambda of: st.lists(of, min_size=size, max_size=size).map(tuple)  # noqa: E731
    return Report(
        DATA_SETS[draw(st.integers(0, len(DATA_SETS) - 1))],
        draw(column(VALUES)),
        draw(st.one_of(column(QUALITY), QUALITY.map(lambda quality: (quality,) * size))),
        draw(st.one_of(INTEGERS, column(INTEGERS))),
        draw(st.sampled_from(Reason)),
        draw(st.one_of(st.none(), column(st.integers(0, 1)).map(bytes))),
        TimeQuality(draw(st.integers(0, 7))),
    )


DATA_SETS = tuple(
    DataSet(
        name, tuple(Member(reference=ObjectReference(f"{name}/MMXU1.{point}")) for point in ("W", "Hz", "A"))
    )
    for name in ("A", "B")
)
FRAMES = st.one_of(
    st.builds(frames.StartFrame, PLAIN, st.just(frames.data_set_frames(DATA_SETS))),
    st.just(frames.StopFrame()),
    st.builds(frames.PingFrame, INTEGERS),
    st.builds(frames.PongFrame, INTEGERS, FLOATS),
    st.builds(frames.ReadyFrame, PLAIN),
    reports().map(lambda report: frames.report_frame(DATA_SETS.index(report.data_set), report)),
    st.builds(frames.CallFrame, INTEGERS, st.text(), PLAIN),
    st.builds(frames.ReplyFrame, INTEGERS, PLAIN),
    st.builds(frames.RefusalFrame, INTEGERS, st.text(), st.booleans()),
    st.builds(frames.LogFrame, st.text(), st.text(), st.dictionaries(st.text(max_size=4), PLAIN, max_size=3)),
    st.builds(frames.CountFrame, st.text(), FLOATS),
    st.builds(frames.GaugeFrame, st.text(), FLOATS),
    st.builds(frames.FailureFrame, st.text()),
)


def read(data, step):
    reader, found = frames.FrameReader(), []
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
        found += reader.frames()
    return found


@given(st.lists(FRAMES, max_size=4), st.integers(1, 40))
def test_frames_survive_any_portions(sent, step):
    data = b"".join(frames.encode(frame) for frame in sent)
    assert read(data, step) == sent


@given(reports())
def test_reports_survive(report):
    (frame,) = read(frames.encode(frames.report_frame(DATA_SETS.index(report.data_set), report)), 1000)
    assert frames.report(frame, DATA_SETS) == report
    assert (frame.qualities(), tuple(frame.positions())) == (report.quality, tuple(report.positions()))


@given(st.binary(max_size=60))
def test_garbage_is_one_typed_error(data):
    try:
        read(len(data).to_bytes(4, "big") + data, 7)
    except DecodeError as error:
        assert str(error).startswith("byte ")  # noqa: PT017 - either outcome is right


@given(FRAMES, st.data())
def test_mutated_frames_are_frames_or_one_typed_error(frame, data):
    bad = bytearray(frames.encode(frame))
    bad[data.draw(st.integers(4, len(bad) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bad, 1000)
    except DecodeError as error:
        assert str(error).startswith("byte ")  # noqa: PT017 - either outcome is right


def test_announced_giants_are_refused_before_they_come():
    with pytest.raises(DecodeError, match="frame of 16777217 bytes announced"):
        read((frames.MAX_FRAME_BYTES + 1).to_bytes(4, "big"), 4)


@pytest.mark.parametrize("body", [object(), 2**64, {1: object}, "x" * (frames.MAX_FRAME_BYTES + 1)])
def test_what_cannot_be_carried_is_refused(body):
    with pytest.raises(EncodeError, match="CallFrame"):
        frames.encode(frames.CallFrame(1, "x", body))


@given(reports(), reports())
def test_merged_reports_keep_the_newer_and_include_both(one, two):
    older, newer = frames.report_frame(0, one), frames.report_frame(0, two)
    merged = frames.merge(older, newer)
    assert set(merged.positions()) == {*older.positions(), *newer.positions()}
    assert msgspec.structs.replace(merged, included=newer.included) == newer
