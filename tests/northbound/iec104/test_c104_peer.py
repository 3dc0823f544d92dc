"""c104, an independent master, in a process of its own."""

import asyncio
import contextlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from s4g_gateway.model import AddCause, ControlModel, DataSet, ValueType, refused
from s4g_gateway.model import quality as q

pytestmark = pytest.mark.skipif(find_spec("c104") is None, reason="c104 is not installed")


class C104Master:
    def __init__(self, process):
        self.process = process

    async def ask(self, op, **more):
        self.process.stdin.write(json.dumps({"op": op, "ca": 1, **more}).encode() + b"\n")
        return await self.answer()

    async def answer(self):
        async with asyncio.timeout(20):
            return json.loads(await self.process.stdout.readline())


@contextlib.asynccontextmanager
async def c104_master(port):
    script = Path(__file__).with_name("c104_master.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, str(port), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    master = C104Master(process)
    try:
        assert await master.answer() is True
        yield master
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


def site(kit):
    members = (
        kit.member("ESS1/MMXU1.TotW"),
        kit.member("ESS1/DBAT1.BatSt", ValueType.BOOLEAN, "", "SPS"),
        kit.member("ESS1/XCBR1.Pos", ValueType.ENUMERATED, "", "DPC"),
        kit.member("ESS1/LLN0.Health", ValueType.ENUMERATED, "", "ENS"),
        kit.member("ESS1/MMTR1.SupWh", unit="Wh", cdc="BCR"),
    )
    return DataSet("d", members)


CONTROLS = ("ESS1/DWGC1.WSpt", "ESS1/DWGC1.WGcEna", "ESS1/XCBR1.Pos", "ESS1/DWGC2.WSpt")


def controls(kit):
    return [
        kit.point(CONTROLS[0], minimum=-5000, maximum=5000),
        kit.point(CONTROLS[1], value_type=ValueType.BOOLEAN),
        kit.point(CONTROLS[2], value_type=ValueType.ENUMERATED),
        kit.point(CONTROLS[3], model=ControlModel.SBO_ENHANCED),
    ]


async def test_c104_reads_interrogation_events_and_counters(kit, tmp_path):
    async with kit.serving(tmp_path, [site(kit)]) as bench:
        bench.publish([1.5, True, 2, 3, 77.0], quality=(0, q.INVALID | q.FAILURE, 0, 0, 0))
        async with c104_master(bench.port) as master:
            await master.ask("take", count=4)  # the events of the start
            assert await master.ask("interrogate") is True
            seen = {(ca, ioa): row for ca, ioa, *row in await master.ask("take", count=4)}
            # c104 keeps the type of the first message of a point: interrogated and spontaneous types differ
            assert {(ca, ioa) for ca, ioa in seen} == {(1, 1001), (1, 1002), (1, 10001), (1, 10002)}
            bench.publish([2.5, False, 1, 4, 77.0])
            rows = [(ioa, cot, value) for _, ioa, _, cot, value, _ in await master.ask("take", count=4)]
            assert sorted(rows) == [
                (1001, "SPONTANEOUS", False),
                (1002, "SPONTANEOUS", "OFF"),
                (10001, "SPONTANEOUS", 2.5),
                (10002, "SPONTANEOUS", 4),
            ]
            assert await master.ask("counters") is True
            rows = [row for row in await master.ask("take", count=1) if row[1] == 30001]
            assert [(row[2], row[4]) for row in rows] == [("M_IT_NA_1", 77)]


async def test_c104_commands_clock_and_test(kit, tmp_path):
    async with kit.serving(tmp_path, [site(kit)], controls(kit)) as bench:
        bench.publish([1.5, True, 2, 3, 77.0])
        async with c104_master(bench.port) as master:
            await master.ask("interrogate")
            assert await master.ask("clock") is True
            assert await master.ask("test") is True
            setpoint = {"type": "C_SE_NC_1", "ioa": 50001}
            assert await master.ask("command", value=-1200.0, **setpoint) is True
            assert await master.ask("command", value=6000.0, **setpoint) is False
            assert await master.ask("command", type="C_SC_NA_1", ioa=40001, value=True) is True
            assert await master.ask("command", type="C_DC_NA_1", ioa=40002, value="ON") is True
            assert await master.ask("command", type="C_SC_NA_1", ioa=41000, value=True) is False
            select = {"type": "C_SE_NC_1", "ioa": 50002}
            assert await master.ask("command", value=1.0, **select) is False
            assert await master.ask("command", value=1.0, mode="SELECT_AND_EXECUTE", **select) is True
            bench.device.answer = refused(AddCause.ABORTION_BY_COMMUNICATION_LOSS, "out of reach")
            assert await master.ask("command", value=-1000.0, **setpoint) is False
            assert [(r, v) for r, v, _ in bench.device.seen] == [
                (CONTROLS[0], -1200.0),
                (CONTROLS[1], True),
                (CONTROLS[2], 2),
                (CONTROLS[3], 1.0),
                (CONTROLS[0], -1000.0),
            ]
