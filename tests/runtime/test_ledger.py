import subprocess
import sys

import pytest

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


def test_a_file_that_is_no_ledger_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(PermanentError, match=r"c\.sqlite"):
        SqliteCommandLedger(path)
