"""Parts of the DLMS worker that need no meter."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("gurux_dlms")

import contextlib

from s4g_gateway.errors import DecodeError
from s4g_gateway.simulators.dlms_meter import axdr as meter_axdr
from s4g_gateway.simulators.dlms_meter import security as meter_security
from s4g_gateway.workers.dlms import axdr
from s4g_gateway.workers.dlms.counters import STEP, CounterFile
from s4g_gateway.workers.dlms.faults import MeterFaultError
from s4g_gateway.workers.dlms.hdlc_frame import (
    Frame,
    decode_frame,
    encode_address,
    encode_frame,
    take_frame,
)
from s4g_gateway.workers.dlms.protection import Keys
from s4g_gateway.workers.dlms.services import Target, get, read

ENCRYPTION, AUTHENTICATION, TITLE = bytes(range(16)), bytes(range(16, 32)), b"TITLE001"
OURS = Keys(encryption=ENCRYPTION, authentication=AUTHENTICATION)
THEIRS = meter_security.Keys(encryption=ENCRYPTION, authentication=AUTHENTICATION)


@given(st.binary(max_size=70), st.integers(0, 2**32 - 1))
def test_protection_is_that_of_another_library(plain, counter):
    sealed = meter_security.protect(THEIRS, TITLE, counter, meter_security.BOTH, plain)
    assert OURS.protect(TITLE, counter, plain) == sealed
    assert OURS.open(TITLE, sealed) == (plain, counter)
    assert OURS.answer(TITLE, counter, plain) == meter_security.gmac(THEIRS, TITLE, counter, plain)


@pytest.mark.parametrize("position", [0, 1, 4, 5, 20, -13, -12, -1])
def test_a_changed_byte_is_seen(position):
    """Gurux alone does not look at the tag of what it deciphers."""
    sealed = bytearray(OURS.protect(TITLE, 5, bytes(40)))
    sealed[position] ^= 1
    with pytest.raises(MeterFaultError):
        OURS.open(TITLE, bytes(sealed))


def test_another_title_or_key_is_seen():
    sealed = OURS.protect(TITLE, 5, b"1234")
    with pytest.raises(MeterFaultError, match="tag"):
        OURS.open(b"TITLE002", sealed)
    with pytest.raises(MeterFaultError, match="tag"):
        Keys(encryption=ENCRYPTION, authentication=bytes(16)).open(TITLE, sealed)


def test_a_counter_is_never_used_twice(tmp_path):
    path = tmp_path / "x.counter"
    used = []
    for _ in range(3):  # each time a process that was killed
        counter = CounterFile(path)
        used += [counter.take() for _ in range(STEP + 5)]
    assert len(set(used)) == len(used)
    assert used == sorted(used)
    assert int(path.read_text()) > used[-1]


@pytest.mark.parametrize("text", ["", "abc", "-4", "12 13", "\x00"])
def test_a_damaged_counter_file_is_not_guessed(tmp_path, text):
    path = tmp_path / "x.counter"
    path.write_text(text)
    with pytest.raises(MeterFaultError, match="expected a counter"):
        CounterFile(path)


def test_a_counter_that_cannot_be_kept_is_not_used(tmp_path):
    counter = CounterFile(tmp_path / "gone" / "x.counter")
    with pytest.raises(MeterFaultError):
        counter.take()


def test_the_last_counter_is_not_passed(tmp_path):
    path = tmp_path / "x.counter"
    path.write_text(str(2**32 - 10))
    with pytest.raises(MeterFaultError, match="no invocation counters left"):
        CounterFile(path).take()


@pytest.mark.parametrize(
    ("raw", "scaler", "factor", "expected"),
    [
        (2301, -1, 1, 230.1),
        (5003, -2, 1, 50.03),
        (12, 3, -1, -12000.0),
        (1, -3, 1, 0.001),
        (True, 0, 1, None),
        ("12", 0, 1, None),
        (None, 0, 1, None),
        (math.nan, 0, 1, None),
        (math.inf, 0, 1, None),
        (2**63, -20, 1, 0.09223372036854775807),
    ],
)
def test_values_are_scaled_and_rounded_once(raw, scaler, factor, expected):
    assert axdr.scaled(raw, scaler, factor) == expected


DATA = st.recursive(
    st.one_of(
        st.just(meter_axdr.NULL),
        st.integers(-(2**31), 2**31 - 1).map(lambda n: meter_axdr.number(meter_axdr.Tag.DOUBLE_LONG, n)),
        st.integers(0, 2**64 - 1).map(lambda n: meter_axdr.number(meter_axdr.Tag.LONG64_UNSIGNED, n)),
        st.binary(max_size=200).map(meter_axdr.octets),
    ),
    lambda inner: st.lists(inner, max_size=4).map(meter_axdr.array),
    max_leaves=10,
)


def plain(data):
    return [plain(member) for member in data.value] if isinstance(data.value, tuple) else data.value


@given(DATA)
def test_data_of_the_meter_is_read_by_worker_and_meter_alike(data):
    coded = meter_axdr.encode(data)
    assert meter_axdr.decode(coded) == (data, len(coded))
    assert axdr.whole(coded) == plain(data)
    with pytest.raises(MeterFaultError):
        axdr.whole(coded[:-1])


@given(st.binary(max_size=60))
def test_garbage_is_a_fault_and_nothing_else(data):
    with contextlib.suppress(MeterFaultError):
        axdr.whole(data)
    with contextlib.suppress(DecodeError):
        meter_axdr.decode(data)
    for service in (get, read):
        target = Target(class_id=3, logical_name=bytes(6), base_name=8)
        try:
            if service is get:
                get([target, target], 1, lambda _: b"\xc4\x03\x41" + data, axdr.skip)
            else:
                read([target], lambda _: b"\x0c" + data, axdr.skip)
        except MeterFaultError:
            pass


def test_a_refused_member_of_a_list_keeps_its_place():
    """Gurux drops it, so that the values behind it slip to other objects."""
    targets = [Target(class_id=3, logical_name=bytes(6), base_name=8 * n) for n in (1, 2, 3)]
    found = read(targets, lambda _: bytes.fromhex("0c03 00 110a 01 04 00 1114"), axdr.skip)
    assert [(result.data.hex(), result.error) for result in found] == [("110a", 0), ("", 4), ("1114", 0)]


def test_an_answer_to_another_request_is_not_taken():
    target = Target(class_id=3, logical_name=bytes(6))
    with pytest.raises(MeterFaultError, match="invoke id"):
        get([target], 2, lambda _: bytes.fromhex("c40141 00 1101"), axdr.skip)


@given(
    st.integers(0, 0x3FFF), st.none() | st.integers(0, 0x3FFF), st.binary(max_size=300), st.integers(0, 255)
)
def test_frames_survive_the_line_in_pieces(logical, physical, information, control):
    frame = Frame(encode_address(16), encode_address(logical, physical), control, information, True)
    line = encode_frame(frame)
    buffer = bytearray(b"noise")
    found = None
    for byte in line:
        assert found is None
        buffer.append(byte)
        found = take_frame(buffer)
    assert found is not None
    assert decode_frame(found) == frame


@given(st.integers(1, 30), st.integers(1, 255))
def test_a_changed_byte_of_a_frame_is_seen(position, change):
    line = bytearray(encode_frame(Frame(encode_address(16), encode_address(1, 17), 0x10, bytes(20))))
    line[position % (len(line) - 2) + 1] ^= change
    buffer = bytearray(line)
    found = take_frame(buffer)
    if found is not None:
        with pytest.raises(DecodeError):
            decode_frame(found)
