"""The ctypes layer: library, prototypes, values there and back, client against server in one process each."""

import ctypes
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.errors import EncodeError, ModelError, PermanentError, TransientError
from s4g_gateway.model import AddCause, ControlModel, TimeQuality
from s4g_gateway.workers.libiec61850 import library
from s4g_gateway.workers.libiec61850.client import FC, Client, ClientError, ServiceError
from s4g_gateway.workers.libiec61850.control import ControlObject
from s4g_gateway.workers.libiec61850.values import (
    BitString,
    UtcTime,
    assign,
    decode,
    from_time_octet,
    owned,
    time_octet,
    utc_time,
    utc_time_octets,
)

try:
    LIB = library.load()
except PermanentError as missing:
    pytest.skip(str(missing), allow_module_level=True)


# -- library -------------------------------------------------------------------------------------------


def test_the_library_is_the_bundled_one():
    assert library.library_path().parent.name.endswith(".libs")
    assert library.version().startswith("1.6")


def test_a_missing_wheel_names_the_extra(monkeypatch):
    monkeypatch.setattr(library, "DISTRIBUTION", "no-such-distribution-at-all")
    with pytest.raises(PermanentError, match=r"install s4g-gateway\[iec61850\]"):
        library.library_path()


def test_a_wheel_without_the_library_names_the_extra(monkeypatch):
    monkeypatch.setattr(library, "DISTRIBUTION", "msgspec")
    with pytest.raises(PermanentError, match=r"holds no libiec61850.*install s4g-gateway\[iec61850\]"):
        library.library_path()


def test_the_library_is_found_whatever_its_hash():
    names = ["x.libs/libiec61850-1234abcd.so.1.6.1", "x.libs/libother.so", "x/libiec61850.py"]
    assert library.shared_library(map(Path, names)) == Path(names[0])
    assert library.shared_library([]) is None


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("MmsValue_delete,void,pointr", ModelError, "line 2: unknown type 'pointr'"),
        ("MmsValue_delete,void,void", ModelError, "line 2: no argument is void"),
        ("MmsValue_forget,void,pointer", PermanentError, "has no MmsValue_forget"),
    ],
)
def test_a_wrong_prototype_is_named(line, error, message):
    with pytest.raises(error, match=message):
        library.set_prototypes(ctypes.CDLL(str(library.library_path())), f"name,returns,arguments\n{line}\n")


# -- values --------------------------------------------------------------------------------------------


@given(st.integers(0, (1 << 32) * 10**9 - 1), st.integers(0, 255))
def test_a_time_from_the_wire_goes_back_as_it_came(time_ns, quality):
    octets = utc_time_octets(time_ns, quality)
    read = utc_time(octets)
    assert abs(read.time_ns - time_ns) <= 60
    assert utc_time_octets(*read) == octets


@pytest.mark.parametrize("time_ns", [-1, (1 << 32) * 10**9])
def test_a_time_that_cannot_be_expressed_is_zero_with_clock_failure(time_ns):
    assert utc_time_octets(time_ns)[:7] == bytes(7)
    assert TimeQuality.CLOCK_FAILURE in utc_time(utc_time_octets(time_ns)).time_quality


def test_time_quality_goes_there_and_back():
    for bits in range(8):
        assert from_time_octet(time_octet(TimeQuality(bits))) == TimeQuality(bits)


@given(st.integers(0, 3))
def test_a_coded_enum_counts_its_first_bit_most(code):
    with owned(LIB.MmsValue_newBitString(2)) as value:
        assign(value, BitString((code >> 1) | (code & 1) << 1, 2))
        assert decode(value).coded == code


@pytest.mark.parametrize(
    ("make", "python"),
    [
        (lambda: LIB.MmsValue_newBoolean(False), True),
        (lambda: LIB.MmsValue_newFloat(0.0), 1.5),
        (lambda: LIB.MmsValue_newIntegerFromInt64(0), -(1 << 62)),
        (lambda: LIB.MmsValue_newUnsignedFromUint32(0), (1 << 32) - 1),
        (lambda: LIB.MmsValue_newVisibleString(b""), "kW"),
        (lambda: LIB.MmsValue_newMmsString(b""), "Leistung, kW"),
        (lambda: LIB.MmsValue_newOctetString(0, 64), b"\x00\xff"),
        (lambda: LIB.MmsValue_newBitString(13), BitString(0b1000000000011, 13)),
        (lambda: LIB.MmsValue_newUtcTime(0), UtcTime(1_732_400_000_000_000_000, 0x2A)),
    ],
)
def test_a_value_goes_there_and_back(make, python):
    with owned(make()) as value:
        assign(value, python)
        assert decode(value) == python


@pytest.mark.parametrize(
    ("make", "python"),
    [
        (lambda: LIB.MmsValue_newBoolean(False), 1),
        (lambda: LIB.MmsValue_newFloat(0.0), True),
        (lambda: LIB.MmsValue_newFloat(0.0), "1"),
        (lambda: LIB.MmsValue_newUnsignedFromUint32(0), -1),
        (lambda: LIB.MmsValue_newIntegerFromInt64(0), 1 << 63),
        (lambda: LIB.MmsValue_newVisibleString(b""), 5),
    ],
)
def test_a_value_that_does_not_fit_is_refused(make, python):
    with owned(make()) as value, pytest.raises(EncodeError):
        assign(value, python)


# -- client against server -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    script = Path(__file__).with_name("small_server.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    yield number
    output, _ = process.communicate(b"stop\n", timeout=60)
    assert (process.returncode, output) == (0, b"stopped\n")


@pytest.fixture
def client(port):
    with Client(connect_timeout_s=60, request_timeout_s=60) as made:
        made.connect("127.0.0.1", port)
        yield made


def test_first_values_are_served(client):
    value, quality, _, *_ = client.read("LD1/GGIO1.AnIn1", FC.MX)
    assert (value, quality) == ((2.5,), BitString(3, 13))
    assert client.read("LD1/GGIO1.AnIn1.d", FC.DC) == "text"


def test_what_is_not_there_is_said(client):
    assert client.read("LD1/GGIO1.AnIn7", FC.MX).reason.name in ("OBJECT_NON_EXISTENT", "OBJECT_UNDEFINED")
    with pytest.raises(ServiceError) as caught:
        ControlObject(client, "LD1/GGIO1.AnIn1")
    assert caught.value.code is ClientError.OBJECT_DOES_NOT_EXIST


def test_nothing_but_controls_can_be_written(client):
    for reference, fc, value in (("LD1/GGIO1.AnIn1.mag.f", FC.MX, 9.0), ("LD1/GGIO1.AnIn1.d", FC.DC, "x")):
        with pytest.raises(ServiceError) as caught:
            client.write(reference, fc, value)
        assert caught.value.code is ClientError.ACCESS_DENIED


def test_controls_are_accepted_and_refused_with_their_cause(client):
    control = ControlObject(client, "LD1/GGIO1.SPCSO1")
    assert control.model is ControlModel.DIRECT_ENHANCED
    assert control.operate(True).accepted
    answer = control.operate(False)
    assert (answer.accepted, answer.add_cause) == (False, AddCause.BLOCKED_BY_INTERLOCKING)
    with pytest.raises(EncodeError):
        control.operate("on")


def test_a_fault_inside_a_callback_refuses_and_the_server_lives(client):
    from s4g_gateway.model import Origin, OriginCategory

    control = ControlObject(client, "LD1/GGIO1.SPCSO1")
    control.set_origin(Origin(category=OriginCategory.STATION_CONTROL, identity="crash"))
    assert not control.operate(True).accepted
    assert client.read("LD1/GGIO1.AnIn2", FC.MX).reason.name == "OBJECT_ACCESS_DENIED"
    assert client.read("LD1/GGIO1.AnIn1.mag.f", FC.MX) == 2.5


def test_many_threads_may_share_a_client(client):
    failures = []

    def work():
        for _ in range(50):
            if client.read("LD1/GGIO1.AnIn1.mag.f", FC.MX) != 2.5:
                failures.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def test_nobody_there_is_transient():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
        with Client() as made, pytest.raises(TransientError):
            made.connect("127.0.0.1", number)


def test_a_closed_client_says_so():
    from s4g_gateway.errors import LocalProtocolError

    made = Client()
    made.close()
    made.close()
    with pytest.raises(LocalProtocolError):
        made.read("LD1/GGIO1.AnIn1", FC.MX)
