import sqlite3
import subprocess
import sys

import pytest
import structlog.testing

from s4g_gateway.errors import PermanentError
from s4g_gateway.model import ACCEPTED, NS_PER_S, AddCause, refused
from s4g_gateway.runtime.ledger import KEEP_S, SqliteCommandLedger


async def test_the_first_time_is_new_and_a_repeat_gets_the_same_answer_after_a_restart(tmp_path):
    ledger = SqliteCommandLedger(tmp_path / "c.sqlite")
    assert await ledger.begin("eb/1", 5) is None
    await ledger.finish("eb/1", ACCEPTED)
    assert await ledger.begin("eb/2", 6) is None
    await ledger.finish("eb/2", refused(AddCause.BLOCKED_BY_PROCESS, "no"))
    await ledger.close()
    ledger = SqliteCommandLedger(tmp_path / "c.sqlite")
    assert await ledger.begin("eb/1", 7) == ACCEPTED
    assert await ledger.begin("eb/2", 7) == refused(AddCause.BLOCKED_BY_PROCESS, "no")
    await ledger.close()


CRASH = """
import asyncio, os, signal, sys
from pathlib import Path
from s4g_gateway.runtime.ledger import SqliteCommandLedger

async def main():
    ledger = SqliteCommandLedger(Path(sys.argv[1]))
    await ledger.begin("eb/1", 5)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_command_begun_before_a_kill_is_never_begun_again(tmp_path):
    died = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path / "c.sqlite")], check=False)
    assert died.returncode == -9
    ledger = SqliteCommandLedger(tmp_path / "c.sqlite")
    answer = await ledger.begin("eb/1", 7)
    assert answer is not None
    assert answer.add_cause is AddCause.COMMAND_ALREADY_IN_EXECUTION
    await ledger.close()


async def test_old_ids_are_forgotten(tmp_path):
    ledger = SqliteCommandLedger(tmp_path / "c.sqlite")
    await ledger.begin("old", 5)
    await ledger.begin("new", 6 + KEEP_S * NS_PER_S)
    assert await ledger.begin("old", 7 + KEEP_S * NS_PER_S) is None
    await ledger.close()


@pytest.mark.parametrize(
    "damage", [b"this is not a database" * 100, b"SQLite format 3\0" + bytes(range(256)) * 50]
)
async def test_a_damaged_file_is_moved_aside_with_one_line(tmp_path, damage):
    path = tmp_path / "c.sqlite"
    path.write_bytes(damage)
    with structlog.testing.capture_logs() as logs:
        ledger = SqliteCommandLedger(path)
    assert await ledger.begin("eb/1", 5) is None
    await ledger.close()
    await ledger.close()
    assert [entry["log_level"] for entry in logs] == ["error"]
    (aside,) = tmp_path.glob("*.damaged-*")
    assert aside.read_bytes() == damage


def test_a_file_that_cannot_be_opened_is_an_error_that_names_it(tmp_path):
    with pytest.raises(PermanentError, match=r"c\.sqlite"):
        SqliteCommandLedger(tmp_path / "missing" / "c.sqlite")


async def test_a_command_under_way_is_told_apart_from_one_of_an_earlier_run(tmp_path):
    ledger = SqliteCommandLedger(tmp_path / "c.sqlite")
    await ledger.begin("eb/1", 5)
    assert (await ledger.begin("eb/1", 6)).detail == "still being carried out"
    await ledger.close()
    ledger = SqliteCommandLedger(tmp_path / "c.sqlite")
    assert "never finished" in (await ledger.begin("eb/1", 7)).detail
    await ledger.close()


async def test_a_full_disk_stops_no_command_and_still_none_runs_twice(tmp_path):
    ledger = SqliteCommandLedger(tmp_path / "c.sqlite")
    await ledger.begin("eb/0", 5)
    connection = ledger._connection
    ledger._connection = sqlite3.connect(":memory:", check_same_thread=False)
    with structlog.testing.capture_logs() as logs:
        await ledger.finish("eb/0", ACCEPTED)
        assert await ledger.begin("eb/0", 6) == ACCEPTED
        assert await ledger.begin("eb/1", 6) is None
        assert (await ledger.begin("eb/1", 7)).add_cause is AddCause.COMMAND_ALREADY_IN_EXECUTION
        await ledger.finish("eb/1", refused(AddCause.STEP_LIMIT, "too much"))
        assert await ledger.begin("eb/1", 8) == refused(AddCause.STEP_LIMIT, "too much")
        ledger._connection = connection
        assert await ledger.begin("eb/2", 9) is None
        assert await ledger.begin("eb/1", 10) == refused(AddCause.STEP_LIMIT, "too much")
    assert [entry["event"] for entry in logs] == [
        "ledger cannot be written; ids are kept in memory",
        "ledger can be written again",
    ]
    await ledger.close()
