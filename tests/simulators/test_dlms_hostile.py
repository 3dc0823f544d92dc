"""Whatever bytes a simulated meter gets, it does not fall over, and the next client is served."""

import asyncio
import contextlib
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4g_gateway.errors import DecodeError
from s4g_gateway.simulators.dlms_meter import DlmsMeterServer, HouseholdMeter, Keys, Mechanism, MeterSecurity
from s4g_gateway.simulators.dlms_meter.application import Application
from s4g_gateway.simulators.dlms_meter.wrapper import WrappedApdu, encode_wrapped
from s4g_gateway.simulators.house import House
from s4g_gateway.simulators.sunspec_meter import grid_reading
from s4g_gateway.workers.dlms.hdlc_frame import SNRM, Frame, encode_address, encode_frame

KEYS = Keys(encryption=bytes(range(16)), authentication=bytes(range(16, 32)))
AARQ = bytes.fromhex("601da109060760857405080101be10040e01000000065f1f0400007e1fffff")
AARQ_HLS = bytes.fromhex(
    "6036a1090607608574050801 01a60a04085453543030303031 8a0207808b0760857405080205ac0a8008 0102030405060708"
    "be10040e01000000065f1f0400007e1fffff"
).replace(b"\x60\x36", b"\x60\x3e")
GET = bytes.fromhex("c001410003 0100100700ff 0200")
GET_LIST = bytes.fromhex("c0034102 0003 0100100700ff 0200 0003 0100010800ff 0300")
GET_RANGE = bytes.fromhex(
    "c00141 0007 0100630100ff 02 01 01 0204 0204 120008 09060000010000ff 0f02 120000"
    "090c 07ea0101ff00000000000000 090c 07ea0102ff00000000000000 0100"
)
ACTION = bytes.fromhex("c30141 000f 0000280000ff 01 01 0911" + "10" + "00" * 16)
READ = bytes.fromhex("0502 02 7330 04 7330 01 0203 110112000109020102")
SAMPLES = [AARQ, AARQ_HLS, GET, GET_LIST, GET_RANGE, ACTION, READ, b"\x62\x03\x80\x01\x00"]


def device(**security):
    house = House(seed=1)
    house.step(1.0)
    return HouseholdMeter(house, grid_reading, security=MeterSecurity(**security)).device


def mutated(chance, data):
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data)) if data else 0
        match chance.randrange(4):
            case 0 if data:
                data[place] = chance.randrange(256)
            case 1 if data:
                del data[place : place + chance.randint(1, 5)]
            case 2:
                data[place:place] = chance.randbytes(chance.randint(1, 5))
            case 3 if data:
                data[place] ^= 1 << chance.randrange(8)
    return bytes(data)


@pytest.mark.parametrize("mechanism", list(Mechanism))
def test_mutated_apdus_are_answered_and_change_nothing(mechanism):
    keys = KEYS if mechanism is Mechanism.HLS_GMAC else None
    meter = device(mechanism=mechanism, password=b"secret", keys=keys)
    chance = random.Random(7)
    before = [item.read(2) for item in meter.objects]
    for _ in range(1500):
        application = Application(meter, 1)
        application.receive(AARQ if chance.random() < 0.8 else AARQ_HLS)
        for _ in range(3):
            assert application.receive(mutated(chance, chance.choice(SAMPLES)))
    assert [item.read(2) for item in meter.objects] == before
    if mechanism is Mechanism.NONE:
        application = Application(meter, 1)
        assert application.receive(AARQ)[0] == 0x61
        assert application.receive(GET)[:4] == bytes.fromhex("c4014100")


@given(st.lists(st.binary(max_size=40), max_size=5))
@settings(max_examples=100)
def test_any_bytes_on_any_line_raise_nothing_but_the_error_that_cuts_it(chunks):
    for link in ("wrapper", "hdlc", "mode-e"):
        line = DlmsMeterServer(device(), link=link).line()
        with contextlib.suppress(DecodeError):
            for chunk in chunks:
                line.receive(chunk)


def frames(link):
    if link == "wrapper":
        return [encode_wrapped(WrappedApdu(1, 1, apdu)) for apdu in SAMPLES]
    own, meter = encode_address(1), encode_address(1)
    found = [encode_frame(Frame(meter, own, SNRM | 0x10))]
    for number, apdu in enumerate(SAMPLES):
        control = (number & 7) << 5 | (number & 7) << 1 | 0x10
        found.append(encode_frame(Frame(meter, own, control, b"\xe6\xe6\x00" + apdu)))
    return found


@pytest.mark.parametrize("link", ["wrapper", "hdlc"])
async def test_a_client_is_served_after_hostile_ones_and_beside_silent_ones(link):
    server = DlmsMeterServer(device(), link=link)
    await server.start()
    chance = random.Random(3)
    try:
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        for _ in range(60):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            with contextlib.suppress(ConnectionError):
                for frame in chance.sample(frames(link), 4):
                    writer.write(mutated(chance, frame))
                await writer.drain()
            writer.transport.abort()
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            answer = await ask(server.port, link)
        assert answer == bytes.fromhex("c4014100")
        for _, writer in silent:
            writer.close()
    finally:
        await server.stop()


async def ask(port, link):
    while True:  # the meter may still be closing what the hostile clients left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for frame in [*frames(link)[: 2 if link == "hdlc" else 1], frame_of(link, GET)]:
                writer.write(frame)
                answer = await (wrapped(reader) if link == "wrapper" else framed(reader))
            return answer[:4]
        except (ConnectionError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.05)
        finally:
            writer.close()


def frame_of(link, apdu):
    if link == "wrapper":
        return encode_wrapped(WrappedApdu(1, 1, apdu))
    return encode_frame(Frame(encode_address(1), encode_address(1), 0x32, b"\xe6\xe6\x00" + apdu))


async def wrapped(reader):
    *_, size = struct.unpack(">HHHH", await reader.readexactly(8))
    return await reader.readexactly(size)


async def framed(reader):
    await reader.readexactly(1)
    head = await reader.readexactly(2)
    body = await reader.readexactly((int.from_bytes(head, "big") & 0x7FF) - 2 + 1)
    return body[8:]
