"""The simulated DLMS meter, read by a client that shares no code with it (dlms-cosem, tests only)."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("dlms_cosem")

from dlms_cosem import cosem, enumerations, utils
from dlms_cosem.client import DlmsClient
from dlms_cosem.cosem.capture_object import CaptureObject
from dlms_cosem.cosem.selective_access import RangeDescriptor
from dlms_cosem.io import BlockingTcpIO, HdlcTransport, TcpTransport
from dlms_cosem.security import (
    HighLevelSecurityGmacAuthentication,
    LowLevelSecurityAuthentication,
    NoSecurityAuthentication,
)

from s4g_gateway.simulators.dlms_meter import DlmsMeterServer, HouseholdMeter, Keys, Mechanism, MeterSecurity
from s4g_gateway.simulators.house import House
from s4g_gateway.simulators.sunspec_meter import grid_reading

KEYS = Keys(encryption=bytes(range(16)), authentication=bytes(range(16, 32)))
START_S = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
SECURITY = {
    "none": MeterSecurity(),
    "lls": MeterSecurity(mechanism=Mechanism.LLS, password=b"12345678"),
    "gmac": MeterSecurity(mechanism=Mechanism.HLS_GMAC, keys=KEYS),
    "gmac-ciphered": MeterSecurity(mechanism=Mechanism.HLS_GMAC, keys=KEYS, ciphered=True),
}


def household(mode="none", **more):
    house = House(seed=4, time_s=START_S)
    house.step(1.0)
    return HouseholdMeter(house, grid_reading, security=SECURITY[mode], **more), house


@pytest.fixture
async def serve():
    servers = []

    async def start(meter, **more):
        server = DlmsMeterServer(meter.device, **more)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


def client(port, mode="none", *, hdlc=False, address=1, keys=KEYS, counter=1000, **more):
    io = BlockingTcpIO("127.0.0.1", port, timeout=5)
    transport = (
        HdlcTransport(client_logical_address=address, server_logical_address=1, io=io)
        if hdlc
        else TcpTransport(client_logical_address=address, server_logical_address=1, io=io)
    )
    authentication = {
        "none": NoSecurityAuthentication,
        "lls": lambda: LowLevelSecurityAuthentication(b"12345678"),
        "gmac": HighLevelSecurityGmacAuthentication,
        "gmac-ciphered": HighLevelSecurityGmacAuthentication,
    }[mode]()
    if mode.startswith("gmac"):
        more |= {
            "encryption_key": keys.encryption,
            "authentication_key": keys.authentication,
            "client_system_title": b"TST00001",
            "client_initial_invocation_counter": counter,
        }
    return DlmsClient(transport=transport, authentication=authentication, **more)


def attribute(obis, number=2, interface=enumerations.CosemInterface.REGISTER):
    return cosem.CosemAttribute(interface, cosem.Obis.from_string(obis), number)


def read(it, *attributes):
    with it.session() as session:
        return [utils.parse_as_dlms_data(session.get(each)) for each in attributes]


@pytest.mark.parametrize("hdlc", [False, True], ids=["wrapper", "hdlc"])
@pytest.mark.parametrize("mode", ["none", "lls", "gmac-ciphered"])
async def test_another_client_reads_it(serve, mode, hdlc):
    meter, house = household(mode)
    server = await serve(meter, link="hdlc" if hdlc else "wrapper")
    it = client(server.port, mode, hdlc=hdlc)
    power, scale, taken = await asyncio.to_thread(
        read, it, attribute("1.0.16.7.0.255"), attribute("1.0.1.8.0.255", 3), attribute("1.0.1.8.0.255")
    )
    assert power == round(-house.state.export_w)
    assert scale == [0, 30]
    assert taken == round(house.state.imported_wh)


async def test_a_long_result_comes_in_blocks(serve):
    meter, _ = household(max_pdu_bytes=128)
    server = await serve(meter)
    it = client(server.port, block_transfer=True)
    view = attribute("0.0.40.0.0.255", interface=enumerations.CosemInterface.ASSOCIATION_LN)
    (objects,) = await asyncio.to_thread(read, it, view)
    assert len(objects) == len(meter.device.objects) + 1


async def test_a_used_invocation_counter_is_refused(serve):
    meter, _ = household("gmac-ciphered")
    server = await serve(meter)
    power = attribute("1.0.16.7.0.255")
    await asyncio.to_thread(read, client(server.port, "gmac-ciphered", counter=1000), power)
    with pytest.raises(Exception, match=r"AUTHENTICATION_FAILURE|REJECTED"):
        await asyncio.to_thread(read, client(server.port, "gmac-ciphered", counter=999), power)
    assert meter.device.replays_total == 1
    await asyncio.to_thread(read, client(server.port, "gmac-ciphered", counter=2000), power)


async def test_a_wrong_key_is_refused(serve):
    meter, _ = household("gmac-ciphered")
    server = await serve(meter)
    wrong = Keys(encryption=bytes(16), authentication=KEYS.authentication)
    with pytest.raises(Exception, match=r"AUTHENTICATION_FAILURE|REJECTED"):
        await asyncio.to_thread(
            read, client(server.port, "gmac-ciphered", keys=wrong), attribute("1.0.16.7.0.255")
        )
    assert meter.device.refusals_total == 1
    assert meter.device.counters.greatest == {}


async def test_the_public_client_of_a_secured_meter_sees_clock_and_counter_only(serve):
    meter, _ = household("gmac-ciphered")
    server = await serve(meter)
    data = enumerations.CosemInterface.DATA
    (counter,) = await asyncio.to_thread(
        read, client(server.port, address=16), attribute("0.0.43.1.1.255", interface=data)
    )
    assert counter == 0
    with pytest.raises(Exception, match="OBJECT_UNDEFINED"):
        await asyncio.to_thread(read, client(server.port, address=16), attribute("1.0.16.7.0.255"))


async def test_the_load_profile_is_read_by_range(serve):
    meter, house = household()
    for _ in range(100):
        house.step(900.0)
        meter.show()
    server = await serve(meter)
    clock = CaptureObject(
        cosem_attribute=attribute("0.0.1.0.0.255", interface=enumerations.CosemInterface.CLOCK), data_index=0
    )
    start = datetime.fromtimestamp(START_S, UTC) + timedelta(hours=1)
    wanted = RangeDescriptor(restricting_object=clock, from_value=start, to_value=start + timedelta(hours=2))
    profile = attribute("1.0.99.1.0.255", interface=enumerations.CosemInterface.PROFILE_GENERIC)

    def rows():
        with client(server.port).session() as session:
            return utils.parse_as_dlms_data(session.get(profile, wanted))

    found = await asyncio.to_thread(rows)
    assert 8 <= len(found) <= 9
    assert all(len(row) == 4 for row in found)


@pytest.mark.parametrize("link", ["wrapper", "hdlc"])
@pytest.mark.parametrize(
    ("names", "mode"),
    [("ln", "none"), ("ln", "lls"), ("ln", "gmac"), ("ln", "gmac-ciphered"), ("sn", "none"), ("sn", "lls")],
)
async def test_gurux_with_its_own_framing_reads_it(serve, link, names, mode):
    """What Gurux itself cannot do (HLS and ciphering by short names) is left to our own worker's tests."""
    pytest.importorskip("gurux_dlms")
    meter, house = household(mode)
    server = await serve(meter, link=link)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("gurux_reader.py")),
        str(server.port),
        link,
        names,
        mode,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert int(output) == round(-house.state.export_w)
