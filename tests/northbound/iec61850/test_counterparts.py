"""Counterparts that nobody here wrote: the PyPI ``iec61850`` client (Rust) and tshark."""

import asyncio
import contextlib
import json
import shutil
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from s4g_gateway.model import ControlModel, ControlPoint, ObjectReference, ValueType
from s4g_gateway.model import quality as q
from s4g_gateway.workers.libiec61850.client import FC
from s4g_gateway.workers.libiec61850.control import ControlObject
from s4g_gateway.workers.libiec61850.reports import ReportControl

TIME_NS = 1_732_400_000_500_000_000
PORT = 29102  # not the registered one: only -d makes tshark look

SWITCHES = tuple(
    ControlPoint(reference=ObjectReference(f"SW1/GGIO1.SPCSO{n}"), value_type=ValueType.BOOLEAN, model=model)
    for n, model in ((1, ControlModel.DIRECT_ENHANCED), (2, ControlModel.SBO_ENHANCED))
)


@pytest.mark.skipif(find_spec("iec61850") is None, reason="the PyPI package iec61850 is not installed")
async def test_an_independent_client_reads_reports_and_operates(bench_tools, tmp_path):
    serving, client, until = bench_tools
    async with serving(tmp_path, controls=SWITCHES) as bench:
        bench.publish([4200.0, -1500.0], quality=(0, q.QUESTIONABLE | q.OLD_DATA), time_ns=TIME_NS)
        async with client(bench.port) as peer:
            await until(lambda: peer.read("PCC1/MMXU1.TotW.mag.f", FC.MX) == -1500.0)
        script = Path(__file__).with_name("rust_client.py")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(script),
            str(bench.port),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(120):
            output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert json.loads(output) == {
        "devices": ["ESS1", "PCC1", "SW1"],
        "value": -1500.0,
        "validity": "QUESTIONABLE",
        "old": True,
        "time": TIME_NS / 1e9,
        "description": "energy available",
        "report": ["PCC1/LLN0$RP$urcbMX0101", 1],
        "direct": True,
        "selected": True,
    }
    assert [(reference, value) for reference, value, _ in bench.device.seen] == [
        ("SW1/GGIO1.SPCSO1", True),
        ("SW1/GGIO1.SPCSO2", True),
    ]


@contextlib.asynccontextmanager
async def tapped(port, stream):
    """A relay that notes what passes: (from the server?, octets)."""

    async def relay(reader, writer):
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)

        async def pump(source, sink, is_server):
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    stream.append((is_server, data))
                    sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, up_writer, False), pump(up_reader, writer, True))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def write_capture(path, stream):
    """One Ethernet frame per piece, both directions."""
    sequence = {False: 1, True: 1}
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for is_server, whole in stream:
            for start in range(0, len(whole), 1400):
                data = whole[start : start + 1400]
                ports = (PORT, 40000) if is_server else (40000, PORT)
                tcp = struct.pack(
                    ">HHIIBBHHH", *ports, sequence[is_server], sequence[not is_server], 80, 24, 65535, 0, 0
                )
                ends = (b"\x0a\0\0\1", b"\x0a\0\0\2")[:: 1 if is_server else -1]
                ip = struct.pack(">BBHHHBBH4s4s", 69, 0, 40 + len(data), 0, 0, 64, 6, 0, *ends)
                packet = bytes(6) + b"\x02\0\0\0\0\1\x08\x00" + ip + tcp + data
                file.write(struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet)
                sequence[is_server] += len(data)


def dissect(path, fields):
    command = ["tshark", "-r", str(path), "-d", f"tcp.port=={PORT},tpkt", "-T", "json"]
    for field in (*fields, "_ws.malformed"):
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    found = {}
    for packet in json.loads(done.stdout):
        layers = packet["_source"]["layers"]
        assert "_ws.malformed" not in layers
        for field, values in layers.items():
            found.setdefault(field, []).extend(values)
    return found


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
async def test_tshark_decodes_what_the_server_sends(bench_tools, tmp_path):
    serving, client, until = bench_tools
    stream = []
    async with serving(tmp_path, controls=SWITCHES) as bench, tapped(bench.port, stream) as port:
        bench.publish([4200.0, -1500.0], quality=(0, q.QUESTIONABLE | q.OLD_DATA), time_ns=TIME_NS)
        async with client(port) as peer:
            await until(lambda: peer.read("PCC1/MMXU1.TotW", FC.MX)[0] == (-1500.0,))
            reports = []

            def work():
                peer.variables("PCC1")
                block = ReportControl(peer, "PCC1/LLN0.RP.urcbMX0101")
                block.subscribe(reports.append, rpt_id=block.read().rpt_id)
                block.enable(interrogate=True)
                return ControlObject(peer, "SW1/GGIO1.SPCSO1").operate(True)

            assert (await asyncio.to_thread(work)).accepted
            await until(lambda: reports)
    capture = tmp_path / "mms.pcap"
    await asyncio.to_thread(write_capture, capture, stream)
    found = await asyncio.to_thread(
        dissect,
        capture,
        ("mms.domainId", "mms.itemId", "mms.floating_point", "mms.utc_time", "mms.data_bit-string"),
    )
    assert {"PCC1", "SW1"} <= set(found["mms.domainId"])
    assert "MMXU1$MX$TotW" in found["mms.itemId"]
    assert "GGIO1$CO$SPCSO1$Oper" in found["mms.itemId"]
    # -1500.0 as MMS has it: exponent width 8, then IEEE 754
    assert "08c4bb8000" in [text.replace(":", "") for text in found["mms.floating_point"]]
    # questionable, oldData: bits 0, 1 and 7 of thirteen
    assert "c100" in [text.replace(":", "") for text in found["mms.data_bit-string"]]
    assert any("Nov 23, 2024 22:13:20.5" in text for text in found["mms.utc_time"])
