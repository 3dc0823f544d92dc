"""Simulators as commands, spoken to over their sockets."""

import asyncio
import json
import signal
import socket
import struct

import pytest
from click.testing import CliRunner

from s4g_gateway.cli.failures import ExitCode
from s4g_gateway.cli.root import s4g
from s4g_gateway.cli.target import socket_of
from s4g_gateway.runtime.local_client import LocalClient


async def holding(port, unit, address, count):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(struct.pack(">HHHBBHH", 1, 0, 6, unit, 3, address, count))
    async with asyncio.timeout(20):
        header = await reader.readexactly(9)
        data = await reader.readexactly(header[8])
    writer.close()
    return data


@pytest.mark.parametrize(
    ("words", "unit"), [(("meter",), 240), (("meter", "--at", "load", "--unit-id", "7"), 7), (("site",), 240)]
)
async def test_devices_show_a_sunspec_map(start, words, unit):
    device = start("simulate", *words, "--port", "0", env={"PYTHONUNBUFFERED": "1"})
    port = int(device.wait_for(rf"unit {unit}, on 127\.0\.0\.1:(\d+)")[1])
    assert await holding(port, unit, 40000, 2) == b"SunS"
    device.signal(signal.SIGTERM)
    assert device.end() == 0


def test_the_energy_router_is_an_iec_61850_server(start):
    pytest.importorskip("iec61850")
    from s4g_gateway.workers.libiec61850.client import FC, Client

    router = start("simulate", "energy-router", "--port", "0", env={"PYTHONUNBUFFERED": "1"})
    port = int(router.wait_for(r"energy router on 127\.0\.0\.1:(\d+)")[1])
    with Client(connect_timeout_s=30, request_timeout_s=30) as client:
        client.connect("127.0.0.1", port)
        assert {"ER1", "PV1", "ESS1"} <= set(client.logical_devices())
        assert client.read("ER1/GGIO1.ISCSO1.stVal", FC.ST) == 1
    router.signal(signal.SIGTERM)
    assert router.end() == 0


async def test_the_fleet_answers_on_every_port(start):
    fleet = start("simulate", "fleet", "--devices", "3", "--registers", "20", "--port", "0")
    ports = fleet.wait_for(r"ports ((?:\d+ ?){3})")[1].split()
    for port in ports:
        assert len(await holding(int(port), 1, 0, 20)) == 40
    fleet.signal(signal.SIGINT)
    assert fleet.end() == 0
    assert "answered 3 requests" in fleet.output


def test_duration_ends_it():
    result = CliRunner().invoke(s4g, ["simulate", "meter", "--port", "0", "--duration", "0.1"])
    assert (result.exit_code, result.output.startswith("grid meter, unit 240, on 127.0.0.1:")) == (0, True)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("meter", "--host", "0.0.0.0"), "--insecure"),
        (("hybrid-inverter", "--host", "inverter.example"), "IP address"),
        (("site", "--port", "65535"), "three ports"),
        (("fleet", "--devices", "100", "--port", "65500"), "no room"),
        (("meter", "--unit-id", "0"), "--unit-id"),
    ],
)
def test_wrong_usage(words, hint):
    result = CliRunner().invoke(s4g, ["simulate", *words, "--duration", "0.1"])
    assert (result.exit_code, hint in result.stderr) == (ExitCode.USAGE, True)


@pytest.fixture
def outstation(start, tmp_path, inverter_port, site_text):
    """A gateway with an outstation and first values; gives its port."""
    site = tmp_path / "site.toml"
    listen = '\n[[northbound]]\nname = "scada"\ntype = "iec104"\nlisten = "127.0.0.1:0"\n'
    site.write_text(site_text(inverter_port) + listen)
    gateway = start("run", site)
    port = gateway.wait_for(r'"port":(\d+)[^\n]*"event":"outstation listens"')[1]
    with LocalClient(socket_of(site)) as client:
        for update in client.watch("ESS1/DSTO1.SocEffWhPct", interval_s=0.05):
            if update["points"] and update["points"][-1]["value"] is not None:
                break
    yield port
    assert gateway.stop() == 0


def test_the_master_interrogates_and_commands(start, outstation):
    words = ("simulate", "iec104-master", "--port", outstation, "--json", "--duration", "0.2")
    master = start(*words, "--command", "C_SE_NC_1", "50001", "-500")
    assert master.end() == 0, master.output
    assert "interrogation: terminated" in master.output
    assert "command to 50001: terminated" in master.output
    rows = [json.loads(line) for line in master.output.splitlines() if line.startswith("{")]
    assert {row["cause"] for row in rows} >= {20}
    assert {row["common_address"] for row in rows} == {1}
    refused = start(*words, "--command", "C_SE_NC_1", "77777", "1")
    assert (refused.end(), "object address unknown" in refused.output) == (ExitCode.PROBLEMS, True)


def test_the_master_without_outstation():
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    result = CliRunner().invoke(s4g, ["simulate", "iec104-master", "--port", str(free)])
    assert (result.exit_code, "no connection" in result.stderr) == (ExitCode.PROBLEMS, True)
