import asyncio
import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from s4g_gateway.errors import EncodeError, ModelError, PermanentError, TransientError
from s4g_gateway.model import (
    AddCause,
    Control,
    ControlAnswer,
    DataSet,
    Member,
    ObjectReference,
    Origin,
    OriginCategory,
    Reason,
    Report,
    refused,
)
from s4g_gateway.model import quality as q
from s4g_gateway.runtime.arbitration import Arbitration
from s4g_gateway.runtime.clock import ManualClock
from s4g_gateway.runtime.contract import Counters, SuppliedDataSet
from s4g_gateway.runtime.database import RealTimeDatabase
from s4g_gateway.runtime.worker import Worker, WorkerTimes
from s4g_gateway.runtime.worker_link import MAX_OUTSTANDING
from s4g_gateway.runtime.worker_output import LINES_PER_WINDOW, MAX_LINE_BYTES
from s4g_gateway.security import Principal, default_policy
from s4g_gateway.workers import frames

MODULES = Path(__file__).parent / "worker_modules"
DATA_SET = DataSet(
    "d",
    (
        Member(reference=ObjectReference("ESS1/MMXU1.TotW"), unit="W"),
        Member(reference=ObjectReference("ESS1/MMXU1.TotVAr"), unit="var", minimum=-1.5, cdc="MV"),
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
LOST = AddCause.ABORTION_BY_COMMUNICATION_LOSS


class Log:
    """Keeps what is logged."""

    def __init__(self):
        self.lines = []

    def bind(self, **fields):
        return self

    def __getattr__(self, level):
        return lambda event, **fields: self.lines.append((level, event, fields))

    def said(self, event, level=None):
        return [fields for at, what, fields in self.lines if what == event and level in (None, at)]


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(MODULES))


@contextlib.asynccontextmanager
async def running(worker, *, wait=True):
    services = SimpleNamespace(log=Log(), counters=Counters())
    task = services.task = asyncio.create_task(worker.run(services))
    try:
        if wait:
            await until(lambda: worker.running or task.done())
        yield services
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition):
    async with asyncio.timeout(90):
        while not condition():
            await asyncio.sleep(0.01)


def odd(start=None, *, times=QUICK, **more):
    return Worker("odd_worker", start=start, data_sets=[DATA_SET], times=times, **more)


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


# -- the contract -----------------------------------------------------------------------------------


async def test_it_starts_answers_and_stops():
    infos = []
    start = {"port": 1, "key": b"\x00", "list": [1.5, None, True]}
    worker = odd(start, on_ready=infos.append)
    async with running(worker) as services:
        assert infos == [start]
        body = [1, 2.5, None, "x", b"y", True]
        assert await worker.call("echo", body, timeout_s=60) == body
        answer = await worker.execute(CONTROL)
        assert (answer.accepted, answer.detail) == (True, repr(CONTROL))
        with pytest.raises(PermanentError, match=r"^not today$"):
            await worker.call("refuse", "not today", timeout_s=60)
        with pytest.raises(TransientError, match=r"^not now$"):
            await worker.call("refuse for now", "not now", timeout_s=60)
        with pytest.raises(TransientError, match=r"did not answer 'silent' within 0.01 s"):
            await worker.call("silent", None, timeout_s=0.01)
        with pytest.raises(EncodeError):
            await worker.call("echo", object(), timeout_s=60)
        assert services.counters.values == {"worker_running": 1}
        child = worker.process_id
    assert not Path(f"/proc/{child}").exists()  # not even a zombie
    assert (worker.running, worker.process_id, worker.restarts) == (False, None, 0)
    assert services.counters.values == {"worker_running": 0}


async def test_the_child_meets_nothing_but_the_model_and_its_contract():
    worker = odd()
    async with running(worker):
        facts = await worker.call("facts", None, timeout_s=60)
        ours = {name for name in facts["modules"] if name.split(".")[0] == "s4g_gateway"}
        child = worker.process_id
    assert ours - {"s4g_gateway"} <= {
        *(name for name in ours if name.startswith("s4g_gateway.model")),
        "s4g_gateway.errors",
        "s4g_gateway.workers",
        "s4g_gateway.workers.contract",
        "s4g_gateway.workers.frames",
    }
    assert not {"structlog", "asyncio", "cbor2", "lxml", "orjson", "multiprocessing", "pickle"} & set(
        facts["modules"]
    )
    assert (facts["nice"], facts["session"], facts["stdin"]) == (os.nice(0) + 5, child, b"")
    assert facts["argv"][0] == "odd_worker"


async def test_reports_come_on_the_connectors_own_data_set():
    reports: list[Report] = []
    worker = odd(on_report=reports.append)
    async with running(worker):
        await worker.call("reports", 3, timeout_s=60)
    assert all(report.data_set is DATA_SET for report in reports)
    assert reports == [
        Report(DATA_SET, (float(n), n), (0, 3), (n, n + 1), Reason.INTEGRITY, b"\1\0") for n in range(3)
    ]


async def test_the_child_asks_and_has_controls_carried_out():
    controls = []

    async def on_control(control):
        controls.append(control)
        return refused(AddCause.BLOCKED_BY_MODE, "night")

    async def on_call(name, body):
        match name:
            case "double":
                return body * 2
            case "later":
                raise TransientError("later")
            case "odd answer":
                return object()
        raise PermanentError("never")

    worker = odd(on_control=on_control, on_call=on_call)
    async with running(worker) as services:

        async def ask(*body):
            return await worker.call("ask", body, timeout_s=60)

        assert await ask("double", 21) == 42
        assert await ask("later", None) == ["TransientError", "later"]
        assert await ask("what", None) == ["PermanentError", "never"]
        assert (await ask("odd answer", None))[0] == "PermanentError"
        assert await worker.call("operate", None, timeout_s=60) == [False, AddCause.BLOCKED_BY_MODE, "night"]
        await worker.call("count", None, timeout_s=60)
        assert services.counters.values == {"worker_running": 1, "asked_total": 3, "depth_m": 1.5}
    assert [(c.reference, c.value, c.ctl_num, c.origin.identity) for c in controls] == [
        ("ESS1/DWGC1.WSpt", 2.0, 200, "client")
    ]


async def test_without_callbacks_the_child_is_refused():
    worker = odd()
    async with running(worker):
        answer = await worker.call("ask", ["x", None], timeout_s=60)
        assert answer == ["PermanentError", "nobody answers 'x'"]
        assert (await worker.call("operate", None, timeout_s=60))[:2] == [False, AddCause.NOT_SUPPORTED]


async def test_a_callbacks_fault_comes_out_of_run():
    def broken(report):
        raise KeyError("ours")

    worker = odd(on_report=broken)

    async def use():
        async with running(worker) as services:
            with pytest.raises(TransientError):
                await worker.call("reports", 1, timeout_s=60)
            await asyncio.wait([services.task])

    with pytest.raises(KeyError, match="ours"):
        await use()
    assert worker.process_id is None


async def test_a_start_that_cannot_be_carried_is_told_at_once():
    with pytest.raises(EncodeError):
        await odd(object()).run(SimpleNamespace(log=Log(), counters=Counters()))


# -- its end ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "body", "reason"),
    [
        ("crash", 0, "it was ended by SIGSEGV"),
        ("end", 3, "it ended with code 3"),
        ("fail", "oh", "RuntimeError: oh"),
    ],
)
async def test_what_a_dead_child_was_asked_is_answered_and_it_comes_back(action, body, reason):
    worker = odd()
    async with running(worker) as services:
        waiting = asyncio.create_task(worker.call("silent", 0, timeout_s=90))
        assert await worker.call("echo", 0, timeout_s=60) == 0
        with pytest.raises(TransientError, match=reason):
            await worker.call(action, body, timeout_s=90)
        with pytest.raises(TransientError, match=reason):
            await waiting
        assert (await worker.execute(CONTROL)).add_cause is LOST
        with pytest.raises(TransientError, match="does not run"):
            await worker.call("echo", 0, timeout_s=60)
        await until(lambda: worker.running)
        assert await worker.call("echo", 1, timeout_s=60) == 1
        assert worker.restarts == services.counters.values["worker_restarts_total"] == 1
        assert services.log.said("worker lost, starting it again", "error") == [{"error": reason}]


@pytest.mark.parametrize(
    ("action", "reason"),
    [("sleep", "its main thread has been stuck"), ("hold the interpreter", "it answers no ping within")],
)
async def test_a_child_that_hangs_is_replaced(action, reason):
    worker = odd(times=WorkerTimes(hang_s=2.0, first_backoff_s=0.02))
    async with running(worker):
        with pytest.raises(TransientError, match=r"stuck|ping"):
            await worker.call(action, 600, timeout_s=90)
        await until(lambda: worker.running)
        assert worker.restarts >= 1


async def test_a_child_that_works_long_but_shows_it_is_left_alone():
    reports = []
    worker = odd("flood", on_report=reports.append, times=WorkerTimes(hang_s=2.0))
    async with running(worker):
        child = worker.process_id
        pings = worker._link._number
        await until(lambda: worker._link._number > pings + 5)
        assert (worker.process_id, worker.restarts) == (child, 0)


async def test_a_child_that_is_never_ready_is_replaced():
    worker = odd("never ready", times=WorkerTimes(start_s=0.1, hang_s=0.4, first_backoff_s=0.02))
    async with running(worker, wait=False) as services:
        await until(lambda: worker.restarts >= 2)
        assert not worker.running
        assert {"error": "it is not ready within 0.1 s"} in services.log.said(
            "worker lost, starting it again"
        )


async def test_a_missing_module_is_named_once():
    worker = Worker("no_such_worker", start=None, times=QUICK)
    async with running(worker, wait=False) as services:
        await until(lambda: worker.restarts >= 3)
    assert services.log.said("worker lost, starting it again", "error") == [
        {"error": "ModuleNotFoundError: No module named 'no_such_worker'"}
    ]


async def test_the_end_of_the_gateway_lets_the_child_finish():
    reports, calls = [], []

    async def on_call(name, body):
        calls.append(name)

    worker = odd("farewell", on_report=reports.append, on_call=on_call)
    async with running(worker):
        pass
    assert (len(reports), calls) == (1, ["release"])


async def test_a_child_that_does_not_stop_is_killed():
    worker = odd("stubborn", times=WorkerTimes(stop_s=0.1))
    async with running(worker):
        child = worker.process_id
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize("own_session", [False, True])
async def test_what_the_child_started_does_not_hold_up_its_end(own_session):
    worker = odd()
    async with running(worker):
        grandchild = await worker.call("child", own_session, timeout_s=60)
    # A process that left the group is out of reach, but nobody waits for it.
    if own_session:
        os.kill(grandchild, signal.SIGKILL)
    await until(lambda: not alive(grandchild))


async def test_it_can_be_cancelled_at_any_moment():
    for delay_s in (0, 0.001, 0.01, 0.05, 0.1):
        worker = odd()
        async with running(worker, wait=False):
            await asyncio.sleep(delay_s)
            child = worker.process_id
        assert child is None or not Path(f"/proc/{child}").exists()


GATEWAY = """
import asyncio, sys
from types import SimpleNamespace
import structlog
from s4g_gateway.runtime.contract import Counters
from s4g_gateway.runtime.worker import Worker

async def main():
    worker = Worker("odd_worker", start=None)
    task = asyncio.create_task(worker.run(SimpleNamespace(log=structlog.get_logger(), counters=Counters())))
    while not worker.running:
        await asyncio.sleep(0.01)
    print(worker.process_id, flush=True)
    await worker.call(sys.argv[1], 600, timeout_s=600)

asyncio.run(main())
"""


@pytest.mark.parametrize("action", ["sleep", "hold the interpreter", "silent"])
async def test_a_gateway_killed_with_9_leaves_no_orphan(action):
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GATEWAY, action, stdout=subprocess.PIPE
    )
    while not (line := await gateway.stdout.readline()).strip().isdigit():
        assert line, "the gateway ended"
    child = int(line)
    assert alive(child)
    gateway.kill()
    await gateway.wait()
    await until(lambda: not alive(child))


@pytest.mark.parametrize("first", [None, frames.StartFrame("stubborn", ())])
async def test_a_child_whose_channel_ends_ends(first):
    # Without the kernel's signal: the parent, this test, lives on.
    ours, theirs = socket.socketpair()
    with theirs:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "s4g_gateway.workers", "odd_worker", str(theirs.fileno()),
            pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE,
        )  # fmt: skip
    if first is not None:
        ours.sendall(frames.encode(first))
        await asyncio.to_thread(ours.recv, 1)
    ours.close()
    async with asyncio.timeout(90):
        _, errors = await child.communicate()
    assert child.returncode == 1
    assert (b"no start from the gateway" in errors) == (first is None)


# -- bad frames -------------------------------------------------------------------------------------

WRONG_INDEX = frames.ReportFrame(7, (1.0,), 0, 1)
WRONG_SIZE = frames.ReportFrame(0, (1.0,), 0, 1)
WRONG_TIMES = frames.ReportFrame(0, (1.0, 2), 0, (1,))
NOT_A_NUMBER = frames.ReportFrame(0, (1.0, float("nan")), 0, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x01\xc1",
        b"\x00\x00\x00\x02\x91\x63",
        b"\x00\x00\x00\x00",
        *(
            bytes(frames.encode(frame))
            for frame in (WRONG_INDEX, WRONG_SIZE, WRONG_TIMES, NOT_A_NUMBER, frames.PingFrame(1))
        ),
    ],
)
async def test_a_child_that_breaks_the_contract_is_replaced(data):
    reports = []
    worker = odd(on_report=reports.append)
    async with running(worker) as services:
        with pytest.raises(TransientError, match=r"breaks the contract|nothing that a worker sends"):
            await worker.call("raw", data, timeout_s=60)
        await until(lambda: worker.running)
        assert len(services.log.said("worker lost, starting it again", "error")) == 1
    assert reports == []


async def test_the_contract_refuses_bad_reports_where_they_are_made():
    worker = odd()
    async with running(worker):
        bad = ([[1.0], [0]], [[1.0, 2], [0]], [[1.0, float("nan")], [0, 0]])
        assert all("d'" in answer or "qualities" in answer for answer in [
            await worker.call("bad report", body, timeout_s=60) for body in bad
        ])  # fmt: skip
        assert worker.restarts == 0


# -- what it prints and logs ------------------------------------------------------------------------


async def test_what_it_prints_is_logged_within_bounds_and_never_shown(capfd):
    worker = odd()
    async with running(worker) as services:
        await worker.call("print", 500, timeout_s=90)
    log = services.log
    out = [line["text"] for line in log.said("worker printed", "debug")]
    err = [line["text"] for line in log.said("worker printed", "warning")]
    assert out == [f"out {number}" for number in range(LINES_PER_WINDOW)]
    assert err == [f"err {number}" for number in range(LINES_PER_WINDOW)]
    suppressed = {line["stream"]: line["lines"] for line in log.said("worker lines suppressed")}
    assert suppressed == {"stdout": 502 - LINES_PER_WINDOW, "stderr": 500 - LINES_PER_WINDOW}
    assert capfd.readouterr() == ("", "")


async def test_long_and_binary_lines_are_cut_and_escaped():
    worker = odd()
    async with running(worker) as services:
        await worker.call("print", 0, timeout_s=90)
    assert [line["text"] for line in services.log.said("worker printed", "debug")] == [
        "x" * MAX_LINE_BYTES + " ...",
        "\\xff\x00\x1b[31m binary",
    ]


async def test_its_log_lines_are_bounded_and_cannot_forge_ours():
    worker = odd()
    async with running(worker) as services:
        await worker.call("log", 200, timeout_s=90)
    said = services.log.said("said", "warning")
    assert len(said) == LINES_PER_WINDOW
    assert said[0] == {"number": 0, "event_": "mine", "exc_info_": True}
    assert {"stream": "log", "lines": 200 - LINES_PER_WINDOW} in services.log.said("worker lines suppressed")


# -- load -------------------------------------------------------------------------------------------


def report(number, included=None):
    return Report(DATA_SET, (float(number), number), (0, 0), number, Reason.DATA_CHANGE, included)


async def test_a_child_behind_gets_the_newest_report_and_every_change():
    release, seen = asyncio.Event(), []

    async def on_call(name, body):
        if name == "hold":
            await release.wait()
        else:
            seen.append(body)

    worker = odd(on_call=on_call)
    async with running(worker):
        held = asyncio.create_task(worker.call("hold", None, timeout_s=90))
        for number in range(1, 2001):
            worker.send_report(0, report(number, b"\1\0" if number % 2 else b"\0\1"))
        release.set()
        await held
        await until(lambda: seen and seen[-1][0] == [2000.0, 2000])
    assert len(seen) < 2000
    assert {position for _, positions in seen for position in positions} == {0, 1}


async def test_a_stopped_child_costs_bounded_memory_and_a_clear_refusal():
    seen = []

    async def on_call(name, body):
        seen.append(body)

    worker = odd(on_call=on_call)
    async with running(worker) as services:
        os.kill(worker.process_id, signal.SIGSTOP)
        try:
            for number in range(1, 60_001):
                worker.send_report(0, report(number))
            unsent = worker._link._process.writer.transport.get_write_buffer_size()
            assert unsent < 1 << 20
            assert services.counters.values["worker_reports_merged_total"] > 0
            asked = [asyncio.create_task(worker.execute(CONTROL)) for _ in range(MAX_OUTSTANDING)]
            await asyncio.sleep(0)
            answer = await worker.execute(CONTROL)
            assert (answer.accepted, answer.add_cause) == (False, LOST)
            assert "busy" in answer.detail
            with pytest.raises(TransientError, match="busy"):
                await worker.call("echo", None, timeout_s=60)
        finally:
            os.kill(worker.process_id, signal.SIGCONT)
        assert all(answer.accepted for answer in await asyncio.gather(*asked))
        await until(lambda: seen and seen[-1][0] == [60_000.0, 60_000])
    assert len(seen) < 60_000


async def test_a_child_that_asks_too_much_is_refused():
    held = 0

    async def on_call(name, body):
        nonlocal held
        held += 1
        await release.wait()

    release = asyncio.Event()
    worker = odd(on_call=on_call)
    async with running(worker):
        await worker.call("ask much", MAX_OUTSTANDING, timeout_s=90)
        await until(lambda: held == MAX_OUTSTANDING)
        kind, message = await worker.call("ask", ["more", None], timeout_s=90)
        assert (kind, "busy" in message) == ("TransientError", True)
        accepted, cause, detail = await worker.call("operate", None, timeout_s=90)
        assert (accepted, cause, "busy" in detail) == (False, LOST, True)
        release.set()
        await until(lambda: not worker._link._serving)
        assert await worker.call("ask", ["one", None], timeout_s=90) is None
        assert worker.restarts == 0


async def test_killed_at_any_moment_under_load_every_control_is_answered():
    chance = random.Random(1)
    worker = odd("flood", on_report=lambda report: reports.append(report.values))
    reports, answers = [], []
    async with running(worker):

        async def control():
            while True:
                answers.append(await worker.execute(CONTROL))
                await asyncio.sleep(0)

        controlling = [asyncio.create_task(control()) for _ in range(5)]
        for kill in range(8):
            await until(lambda: worker.running)
            goal = len(reports) + chance.randrange(2000)
            await until(lambda goal=goal: len(reports) >= goal)
            os.kill(worker.process_id, signal.SIGKILL)
            await until(lambda kill=kill: worker.restarts > kill)
        await until(lambda: worker.running)
        count = sum(answer.accepted for answer in answers)
        await until(lambda: sum(answer.accepted for answer in answers) > count)
        for task in controlling:
            task.cancel()
        await asyncio.wait(controlling)
    assert worker.restarts == 8
    assert all(a == b for a, b in reports)
    assert {answer.add_cause for answer in answers} == {AddCause.NONE, LOST}


async def test_a_flood_of_reports_leaves_the_event_loop_its_turns():
    reports = []
    worker = odd("flood", on_report=reports.append)
    async with running(worker):
        turns = []
        await until(lambda: reports)
        first = len(reports)
        while len(reports) < first + 20_000:
            await asyncio.sleep(0)
            turns.append(len(reports))
    steps = [later - earlier for earlier, later in itertools.pairwise(turns)]
    # Two milliseconds hold some hundred Reports; a buffer of 256 KiB would hold 20,000.
    assert max(steps) < 15_000


# -- the site around it -----------------------------------------------------------------------------


class NoAudit:
    def record(self, event):
        pass


class NoLedger:
    async def begin(self, command_id, time_ns):
        return None

    async def finish(self, command_id, answer):
        pass


async def test_points_of_a_killed_worker_age_and_come_back_and_others_notice_nothing():
    clock, policy = ManualClock(), default_policy()
    database = RealTimeDatabase(
        clock=clock,
        policy=policy,
        arbitration=Arbitration(clock=clock, policy=policy, audit=NoAudit(), ledger=NoLedger()),
    )
    other = DataSet("other", (Member(reference=ObjectReference("PV1/MMXU1.TotW"), unit="W"),))
    supplied = SuppliedDataSet(data_set=DATA_SET, period_s=1.0)
    database.add("meter", [supplied])
    database.add("inverter", [SuppliedDataSet(data_set=other, period_s=1.0)])
    viewer = Principal(name="viewer", roles=frozenset({"VIEWER"}))

    def validity(reference="ESS1/MMXU1.TotW"):
        return q.validity(database.read(viewer, reference).quality)

    def pass_time(seconds):
        clock.advance(seconds)
        database.publish(Report(other, (1.0,), (0,), clock.wall_ns()))
        database.age()

    worker = odd(on_report=database.publish, times=WorkerTimes(first_backoff_s=0.2))
    async with running(worker):
        await worker.call("reports", 1, timeout_s=60)
        assert validity() == q.GOOD
        os.kill(worker.process_id, signal.SIGKILL)
        await until(lambda: not worker.running)
        stale_s, invalid_s = supplied.ages_s()
        pass_time(stale_s - 0.1)
        assert validity() == q.GOOD
        pass_time(0.2)
        assert validity() == q.QUESTIONABLE
        pass_time(invalid_s - stale_s)
        assert validity() == q.INVALID
        assert validity("PV1/MMXU1.TotW") == q.GOOD
        await until(lambda: worker.running)
        await worker.call("reports", 1, timeout_s=60)
        assert validity() == q.GOOD


async def test_a_new_child_is_given_the_newest_report_of_each_data_set():
    seen = []

    async def on_call(name, body):
        seen.append(body)

    worker = odd(on_call=on_call)
    worker.send_report(0, report(1, b"\1\0"))
    worker.send_report(0, report(2, b"\0\1"))
    async with running(worker):
        await until(lambda: seen)
        assert seen == [[[2.0, 2], [0, 1]]]
        os.kill(worker.process_id, signal.SIGKILL)
        await until(lambda: len(seen) == 2)
        assert seen[1] == seen[0]


def test_the_model_refuses_what_no_report_is():
    with pytest.raises(ModelError, match="there are 1"):
        frames.report(WRONG_INDEX, (DATA_SET,))


def test_control_answers_are_carried_whole():
    answer = ControlAnswer(accepted=False, add_cause=AddCause.LOCKED_BY_OTHER_CLIENT, detail="ü")
    reader = frames.FrameReader()
    reader.feed(bytes(frames.encode(frames.AnswerFrame(1, answer))))
    assert list(reader.frames()) == [frames.AnswerFrame(1, answer)]
