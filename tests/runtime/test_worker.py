import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from s4g_gateway.errors import PermanentError, TransientError
from s4g_gateway.model import (
    AddCause,
    Control,
    DataSet,
    Member,
    ObjectReference,
    Origin,
    OriginCategory,
    Report,
)
from s4g_gateway.runtime.contract import Counters
from s4g_gateway.runtime.worker import Worker, WorkerTimes

MODULES = Path(__file__).parent / "worker_modules"
DATA_SET = DataSet(
    "d",
    (
        Member(reference=ObjectReference("ESS1/MMXU1.TotW"), unit="W"),
        Member(reference=ObjectReference("ESS1/MMXU1.TotVAr"), unit="var"),
    ),
)
QUICK = WorkerTimes(first_backoff_s=0.02, max_backoff_s=0.1)
CONTROL = Control(
    reference=ObjectReference("ESS1/DWGC1.WSpt"),
    value=1500.0,
    origin=Origin(category=OriginCategory.REMOTE_CONTROL, identity="scada"),
    ctl_num=7,
    time_ns=1_700_000_000_000_000_000,
    test=True,
    priority=3,
    not_before_ns=1,
    not_after_ns=2,
    command_id="c1",
)


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(MODULES))


@contextlib.asynccontextmanager
async def running(worker, counters=None, log=None):
    services = SimpleNamespace(log=log or structlog.get_logger(), counters=counters or Counters())
    task = asyncio.create_task(worker.run(services))
    try:
        await until(lambda: worker.running, task)
        yield services
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition, task=None):
    async with asyncio.timeout(60):
        while not condition():
            if task is not None and task.done():
                task.result()
            await asyncio.sleep(0.01)


def odd(**more):
    return Worker("odd_worker", start={"port": 1, "key": b"\x00"}, data_sets=[DATA_SET], times=QUICK, **more)


async def test_it_starts_answers_and_stops():
    infos = []
    worker = odd(on_ready=infos.append)
    async with running(worker):
        assert infos == [{"port": 1, "key": b"\x00"}]
        assert await worker.call("echo", [1, 2.5, None, "x", b"y", True], timeout_s=30) == [
            1, 2.5, None, "x", b"y", True,
        ]  # fmt: skip
        answer = await worker.execute(CONTROL)
        assert (answer.accepted, answer.detail) == (True, repr(CONTROL))
        with pytest.raises(PermanentError, match="not today"):
            await worker.call("refuse", "not today", timeout_s=30)
        child = worker.process_id
    assert not Path(f"/proc/{child}").exists()
    assert (worker.running, worker.process_id, worker.restarts) == (False, None, 0)


async def test_reports_come_on_the_connectors_own_data_set():
    reports: list[Report] = []
    worker = odd(on_report=reports.append)
    async with running(worker):
        await worker.call("report", 3, timeout_s=30)
    assert [(r.data_set is DATA_SET, r.values, r.quality) for r in reports] == [
        (True, (float(n), n), (0, 0)) for n in range(3)
    ]


@pytest.mark.parametrize(("action", "body"), [("crash", 0), ("end", 3), ("fail", "oh")])
async def test_what_a_dead_child_was_asked_is_answered_and_it_comes_back(action, body):
    worker = odd()
    async with running(worker):
        waiting = asyncio.create_task(worker.call("silent", 0, timeout_s=60))
        await worker.call("echo", 0, timeout_s=30)
        with pytest.raises(TransientError):
            await worker.call(action, body, timeout_s=60)
        with pytest.raises(TransientError):
            await waiting
        assert (await worker.execute(CONTROL)).add_cause is AddCause.ABORTION_BY_COMMUNICATION_LOSS
        await until(lambda: worker.running)
        assert await worker.call("echo", 1, timeout_s=30) == 1
        assert worker.restarts == 1
