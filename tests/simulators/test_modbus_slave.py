import struct

import pytest

from s4g_gateway.simulators.modbus_slave import RegisterBlock, Slave, Unit, crc16


@pytest.fixture
def unit():
    registers = struct.pack(">10H", *range(100, 110))
    writable = bytes(5) + b"\1" * 5
    return Unit(
        (RegisterBlock(0, registers, writable), RegisterBlock(200, bytes(250))),
        input_registers=(RegisterBlock(50, b"\0\7"),),
        coils=bytearray(b"\1\0\1\1\0\0\0\0\0\1"),
        discrete_inputs=bytearray(3),
    )


# Requests and answers by function. Source: Modbus Application Protocol V1.1b3 §6 (layout), own values.
GOLDEN = [
    ("01 0000 000a", "01 02 0d 02"),
    ("02 0000 0003", "02 01 00"),
    ("03 0002 0002", "03 04 0066 0067"),
    ("04 0032 0001", "04 02 0007"),
    ("05 0001 ff00", "05 0001 ff00"),
    ("06 0005 beef", "06 0005 beef"),
    ("0f 0000 0004 01 05", "0f 0000 0004"),
    ("10 0006 0002 04 1111 2222", "10 0006 0002"),
    ("16 0005 00f2 0025", "16 0005 00f2 0025"),
    ("17 0000 0002 0005 0001 02 abcd", "17 04 0064 0065"),
]
REFUSED = [
    ("03 0000 0000", 3), ("03 0000 007e", 3), ("03 0000", 3), ("03 0000 000b", 2), ("03 ffff 0001", 2),
    ("04 0000 0001", 2), ("01 0000 07d1", 3), ("01 0000 000b", 2), ("05 0000 1234", 3), ("05 000a ff00", 2),
    ("06 0000 0001", 2), ("06 0005", 3), ("10 0004 0002 04 0000 0000", 2), ("10 0005 0001 04 0000", 3),
    ("10 0005 0000 00", 3), ("10 0005 007c f8", 3), ("0f 0000 0009 01 ff", 3), ("0f 0008 0004 01 0f", 2),
    ("17 0000 007e 0005 0001 02 0000", 3), ("17 0000 0001 0000 0001 02 0000", 2), ("07", 1), ("2b 0e 01 00", 1),
    ("63", 1),
]  # fmt: skip


@pytest.mark.parametrize(("request_hex", "answer_hex"), GOLDEN)
def test_requests_are_answered(unit, request_hex, answer_hex):
    assert unit.answer(bytes.fromhex(request_hex)) == bytes.fromhex(answer_hex)


@pytest.mark.parametrize(("request_hex", "code"), REFUSED)
def test_what_cannot_be_served_is_refused_with_its_code(unit, request_hex, code):
    pdu = bytes.fromhex(request_hex)
    before = [bytes(block.data) for block in unit.holding], bytes(unit.coils)
    assert unit.answer(pdu) == bytes((pdu[0] | 0x80, code))
    assert ([bytes(block.data) for block in unit.holding], bytes(unit.coils)) == before


def test_writes_are_kept(unit):
    unit.answer(bytes.fromhex("06 0005 beef"))
    unit.answer(bytes.fromhex("16 0005 00f2 0025"))
    unit.answer(bytes.fromhex("10 0006 0002 04 1111 2222"))
    assert unit.holding[0].read(5, 3) == struct.pack(">3H", 0xBEEF & 0xF2 | 0x25 & ~0xF2, 0x1111, 0x2222)
    unit.answer(bytes.fromhex("0f 0000 0004 01 05"))
    assert unit.coils[:4] == b"\1\0\1\0"


def adu(transaction, unit_id, pdu_hex):
    pdu = bytes.fromhex(pdu_hex)
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit_id) + pdu


def test_pipelined_requests_are_all_answered_in_order(unit):
    slave = Slave({1: unit})
    buffer = bytearray(adu(7, 1, "03 0000 0001") + adu(8, 1, "03 0001 0001") + adu(9, 1, "03 0002 0001")[:5])
    assert slave.receive_tcp(buffer) == adu(7, 1, "03 02 0064") + adu(8, 1, "03 02 0065")
    buffer += adu(9, 1, "03 0002 0001")[5:]
    assert slave.receive_tcp(buffer) == adu(9, 1, "03 02 0066")
    assert buffer == b""


def test_units_unknown_units_and_broadcast(unit):
    slave = Slave({1: unit})
    assert slave.receive_tcp(bytearray(adu(1, 9, "03 0000 0001"))) == adu(1, 9, "83 0b")
    assert Slave({1: unit}, answers_unknown=False).receive_tcp(bytearray(adu(1, 9, "03 0000 0001"))) == b""
    assert slave.receive_tcp(bytearray(adu(1, 0, "06 0005 0001"))) == b""
    assert unit.holding[0].read(5, 1) == b"\0\1"
    assert slave.receive_tcp(bytearray(adu(1, 0, "03 0000 0001"))) == b""


@pytest.mark.parametrize(
    "stream", ["0001 0007 0006 01 03 0000 0001", "0001 0000 0001 01 0300", "0001 0000 00ff 01 03"]
)
def test_what_is_no_modbus_closes_the_connection(unit, stream):
    assert Slave({1: unit}).receive_tcp(bytearray.fromhex(stream)) is None


def rtu(frame_hex):
    frame = bytes.fromhex(frame_hex)
    return frame + crc16(frame).to_bytes(2, "little")


def test_crc_of_a_published_frame():
    # The widely printed example: read 10 registers at 0 of unit 1 ends in C5 CD.
    assert crc16(bytes.fromhex("01 03 0000 000a")).to_bytes(2, "little") == bytes.fromhex("c5cd")


def test_rtu_frames_come_in_pieces_and_after_noise(unit):
    slave = Slave({1: unit}, answers_unknown=False)
    buffer = bytearray(b"\xff\x00" + rtu("01 03 0000 0001")[:4])
    assert slave.receive_rtu(buffer) == b""
    buffer += rtu("01 03 0000 0001")[4:]
    assert slave.receive_rtu(buffer) == rtu("01 03 02 0064")
    buffer += rtu("01 10 0006 0002 04 1111 2222")
    assert slave.receive_rtu(buffer) == rtu("01 10 0006 0002")
    assert buffer == b""


def test_rtu_other_units_and_broadcasts_stay_unanswered(unit):
    slave = Slave({1: unit}, answers_unknown=False)
    assert slave.receive_rtu(bytearray(rtu("09 03 0000 0001"))) == b""
    assert slave.receive_rtu(bytearray(rtu("00 06 0005 0001"))) == b""
    assert unit.holding[0].read(5, 1) == b"\0\1"
    assert slave.receive_rtu(bytearray(rtu("01 07"))) == rtu("01 87 01")
