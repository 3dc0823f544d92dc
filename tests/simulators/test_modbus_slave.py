import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.simulators.modbus_slave import ModbusTcpSlave, RtuFramer, Unit, crc16, respond, rtu_answer


def unit():
    made = Unit(readable=(range(100, 400),), writable=(range(200, 210),))
    made.put(100, struct.pack(">200H", *range(200)))
    return made


@pytest.mark.parametrize(
    ("request_hex", "answer_hex"),
    [
        ("03 0064 0002", "03 04 0000 0001"),
        ("04 0065 0001", "04 02 0001"),
        ("03 0000 0001", "83 02"),  # address not there
        ("03 018f 0002", "83 02"),  # runs over the end
        ("03 0064 0000", "83 03"),  # count 0
        ("03 0064 007e", "83 03"),  # count 126
        ("03 0064", "83 03"),  # truncated
        ("06 00c8 0007", "06 00c8 0007"),
        ("06 0064 0007", "86 02"),  # read only
        ("10 00c8 0002 04 0001 0002", "10 00c8 0002"),
        ("10 00c8 0002 03 0001 00", "90 03"),
        ("10 00d1 0002 04 0001 0002", "90 02"),
        ("17 0064 0001 00c8 0001 02 0009", "17 02 0000"),
        ("2b 0e 01 00", "ab 01"),
    ],
)
def test_answers(request_hex, answer_hex):
    assert respond(unit(), bytes.fromhex(request_hex)).hex() == answer_hex.replace(" ", "")


def test_a_value_the_device_refuses_leaves_the_register_as_it_was():
    device = unit()

    def refuse(address, count):
        raise ValueError

    device.on_write = refuse
    assert respond(device, bytes.fromhex("0600c80007")).hex() == "8603"
    assert device.get(200, 1) == b"\x00\x64"


@given(st.binary(max_size=300))
def test_no_request_raises(pdu):
    answer = respond(unit(), pdu)
    assert 2 <= len(answer) <= 253


async def test_pipelined_and_split_requests_are_all_answered():
    slave = ModbusTcpSlave({1: unit()})
    port = await slave.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    frames = b"".join(struct.pack(">HHHBBHH", n, 0, 6, 1, 3, 100 + n, 1) for n in range(5))
    for part in (frames[:7], frames[7:20], frames[20:]):
        writer.write(part)
        await writer.drain()
    for n in range(5):
        assert struct.unpack(">HHHBBBH", await reader.readexactly(11)) == (n, 0, 5, 1, 3, 2, n)
    writer.write(struct.pack(">HHHBBHH", 9, 0, 6, 7, 3, 100, 1))
    assert (await reader.readexactly(9))[-2:] == b"\x83\x0b"
    writer.write(b"\x00\x01\x00\x05\x00\x06\x01\x03")
    assert await reader.read() == b""
    writer.close()
    await slave.stop()


def test_crc_of_the_published_example():
    assert crc16(bytes.fromhex("0207")).hex() == "4112"  # MODBUS over Serial Line V1.02, appendix


@given(st.lists(st.tuples(st.binary(max_size=4), st.integers(1, 5))), st.integers(1, 9))
def test_rtu_frames_are_found_among_noise(parts, chunk):
    line, expected = b"", 0
    for noise, count in parts:
        request = bytes((1, 3, 0, 100, 0, count))
        line += bytes(byte | 0x80 for byte in noise) + request + crc16(request)
        expected += 1
    framer = RtuFramer()
    line += bytes((0xFF,)) * 16  # flushes what waits behind noise
    found = [
        frame for start in range(0, len(line), chunk) for frame in framer.receive(line[start : start + chunk])
    ]
    assert len(found) == expected
    assert all(pdu[0] == 3 for _, pdu in found)


def test_rtu_answers_only_its_own_unit():
    units = {1: unit()}
    answer = rtu_answer(units, 1, bytes.fromhex("0300640001"))
    assert answer[:-2] == bytes.fromhex("0103020000")
    assert crc16(answer[:-2]) == answer[-2:]
    assert rtu_answer(units, 2, bytes.fromhex("0300640001")) == b""
    assert rtu_answer(units, 0, bytes.fromhex("0600c80009")) == b""
    assert units[1].get(200, 1) == b"\x00\x09"
