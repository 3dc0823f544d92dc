import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest
import structlog.testing

from s4g_gateway.errors import LocalProtocolError, PermanentError
from s4g_gateway.runtime.clock import ManualClock
from s4g_gateway.runtime.journal import Journal
from s4g_gateway.runtime.journal_file import ROW_OVERHEAD_BYTES, JournalFile, JournalRecord


def payload(number: int) -> bytes:
    return b"%d:" % number + bytes([number % 251]) * (number % 900)


async def fill(journal: Journal, count: int) -> list[int]:
    numbers = [journal.append("k", payload(n)) for n in range(1, count + 1)]
    await journal.committed(numbers[-1])
    return numbers


async def test_records_come_back_in_order_until_acknowledged(tmp_path):
    async with Journal(tmp_path / "j.db") as journal:
        assert await fill(journal, 300) == list(range(1, 301))
        records = await journal.peek(limit=1000)
        assert [(r.sequence, r.key, r.payload) for r in records] == [
            (n, "k", payload(n)) for n in range(1, 301)
        ]
        journal.acknowledge(100)
        assert [r.sequence for r in await journal.peek(limit=2)] == [101, 102]
        assert [r.sequence for r in await journal.peek(after=250, limit=2)] == [251, 252]
        assert len(await journal.peek(limit=100, max_bytes=1)) == 1


async def test_numbering_goes_on_after_a_restart_even_when_empty(tmp_path):
    async with Journal(tmp_path / "j.db") as journal:
        await fill(journal, 5)
        journal.acknowledge(3)
        stream = journal.stream
    async with Journal(tmp_path / "j.db") as journal:
        assert journal.stream == stream
        assert [r.sequence for r in await journal.peek()] == [4, 5]
        assert journal.append("k", b"") == 6
        journal.acknowledge(6)
    async with Journal(tmp_path / "j.db") as journal:
        assert journal.backlog == 0
        assert journal.append("k", b"") == 7


async def test_acknowledged_before_it_was_written_is_never_seen_again(tmp_path):
    async with Journal(tmp_path / "j.db") as journal:
        journal.append("k", b"one")
        journal.append("k", b"two")
        journal.acknowledge(1)
        await journal.committed(2)
        assert [r.sequence for r in await journal.peek()] == [2]
    async with Journal(tmp_path / "j.db") as journal:
        assert [r.sequence for r in await journal.peek()] == [2]


async def test_acknowledged_records_leave_the_file_without_further_appends(tmp_path):
    async with Journal(tmp_path / "j.db") as journal:
        await fill(journal, 50)
        journal.acknowledge(50)
        async with asyncio.timeout(20):
            while journal.backlog:
                await asyncio.sleep(0.02)
        assert (journal.backlog_bytes, journal.first_unacknowledged) == (0, 51)


async def test_oldest_are_discarded_and_counted_beyond_the_bytes(tmp_path):
    each = 1000 + 1 + ROW_OVERHEAD_BYTES
    async with Journal(tmp_path / "j.db", max_bytes=10 * each) as journal:
        for _ in range(2500):
            last = journal.append("k", bytes(1000))
        await journal.committed(last)
        assert [r.sequence for r in await journal.peek(limit=100)] == list(range(2491, 2501))
        assert (journal.discarded_total, journal.backlog, journal.backlog_bytes) == (2490, 10, 10 * each)


async def test_oldest_are_discarded_beyond_the_age(tmp_path):
    clock = ManualClock()
    async with Journal(tmp_path / "j.db", max_age_s=60, clock=clock) as journal:
        await fill(journal, 3)
        clock.advance(50)
        journal.append("k", b"late")
    clock.advance(20)
    async with Journal(tmp_path / "j.db", max_age_s=60, clock=clock) as journal:
        last = journal.append("k", b"later")
        await journal.committed(last)
        assert [r.payload for r in await journal.peek()] == [b"late", b"later"]
        assert journal.discarded_total == 3


async def test_space_of_a_backlog_is_given_back(tmp_path):
    path = tmp_path / "j.db"
    async with Journal(path) as journal:
        for _ in range(3000):
            journal.append("k", bytes(8000))
        await journal.committed(journal.last_sequence)
    assert path.stat().st_size > 20_000_000
    async with Journal(path, commit_interval_s=0) as journal:
        journal.acknowledge(journal.last_sequence)
        async with asyncio.timeout(30):
            while path.stat().st_size > 12_000_000:
                await journal.committed(journal.append("k", b""))
                journal.acknowledge(journal.last_sequence)


async def test_many_appends_share_a_commit(tmp_path):
    async with Journal(tmp_path / "j.db", commit_interval_s=1.0) as journal:
        await journal.committed(journal.append("k", b"first"))
        for _ in range(500):
            journal.append("k", b"x")
        await journal.committed(journal.last_sequence)
        assert journal.commits_total == 2


@pytest.mark.parametrize(
    "damage", [b"no database at all" * 100, b"SQLite format 3\0" + bytes(range(256)) * 50]
)
async def test_damaged_file_is_moved_aside_with_one_line(tmp_path, damage):
    path = tmp_path / "j.db"
    path.write_bytes(damage)
    with structlog.testing.capture_logs() as logs:
        async with Journal(path) as journal:
            await journal.committed(journal.append("k", b"v"))
            assert [r.payload for r in await journal.peek()] == [b"v"]
    assert [(e["event"], e["log_level"]) for e in logs] == [
        ("damaged journal moved aside, a new one begins", "error")
    ]
    (aside,) = tmp_path.glob("*damaged*")
    assert aside.read_bytes() == damage


async def test_database_of_another_program_is_moved_aside(tmp_path):
    path = tmp_path / "j.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE record (a, b)")
    other.close()
    async with Journal(path) as journal:
        await journal.committed(journal.append("k", b"v"))
    assert len(list(tmp_path.glob("*damaged*"))) == 1


async def test_file_damaged_while_running_is_moved_aside_and_numbering_goes_on(tmp_path):
    path = tmp_path / "j.db"
    async with Journal(path) as journal:
        await fill(journal, 2000)
    with path.open("r+b") as file:
        for offset in range(4096, path.stat().st_size - 4096, 4096):
            file.seek(offset)
            file.write(os.urandom(4096))
    async with Journal(path) as journal:
        await journal.committed(journal.append("k", b"v"))
        records = await journal.peek()
        assert records[-1].payload == b"v"
        assert records[-1].sequence == journal.last_sequence
    assert len(list(tmp_path.glob("*damaged*"))) == 1


async def test_second_process_is_refused(tmp_path):
    async with Journal(tmp_path / "j.db"):
        with pytest.raises(PermanentError, match="locked"):
            await Journal(tmp_path / "j.db").__aenter__()


async def test_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PermanentError, match="cannot be opened"):
        await Journal(tmp_path / "file" / "j.db").__aenter__()


async def test_append_to_a_closed_journal_is_an_error(tmp_path):
    with pytest.raises(LocalProtocolError):
        Journal(tmp_path / "j.db").append("k", b"")


async def test_full_disk_keeps_records_in_memory_and_writes_them_later(tmp_path, monkeypatch):
    real = JournalFile.commit
    full = True

    def commit(self, records, acknowledged, oldest_ns):
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        return real(self, records, acknowledged, oldest_ns)

    monkeypatch.setattr(JournalFile, "commit", commit)
    progress = asyncio.Event()
    with structlog.testing.capture_logs() as logs:
        async with Journal(tmp_path / "j.db", on_progress=progress.set) as journal:
            journal.append("k", b"one")
            await progress.wait()
            assert (journal.failing, journal.committed_sequence, journal.backlog) == (True, 0, 1)
            journal.append("k", b"two")
            full = False
            await journal.committed(2)
            assert [r.payload for r in await journal.peek()] == [b"one", b"two"]
    assert [e["event"] for e in logs] == [
        "journal cannot be written; kept in memory and tried again",
        "journal writes again",
    ]


def test_commit_that_reached_the_disk_although_it_failed_is_repeated_without_harm(tmp_path):
    file = JournalFile(tmp_path / "j.db", 10**6)
    record = JournalRecord(1, 5, "k", b"v")
    file.open()
    file.commit([record], 0, None)
    file.last, file.records, file.size_bytes = 0, 0, 0
    file.commit([record], 0, None)
    assert file.peek(0, 10, 10**6) == [record]
    file.close()


WRITER = textwrap.dedent(
    """
    import asyncio, pathlib, sys
    from s4g_gateway.runtime.journal import Journal

    async def main():
        async with Journal(pathlib.Path(sys.argv[1]), commit_interval_s=0.002) as journal:
            told = journal.committed_sequence
            def progress():
                nonlocal told
                if journal.committed_sequence > told:
                    told = journal.committed_sequence
                    sys.stdout.write(f"{told}\\n")
                    sys.stdout.flush()
            journal.on_progress = progress
            while True:
                for _ in range(50):
                    n = journal.last_sequence + 1
                    journal.append("k", b"%d:" % n + bytes([n % 251]) * (n % 900))
                if len(sys.argv) > 2:
                    journal.acknowledge(journal.committed_sequence - 1000)
                await journal.committed(journal.last_sequence - 200)
                await asyncio.sleep(0.001)

    asyncio.run(main())
    """
)


@pytest.mark.parametrize("mode", ["append only", "with acknowledgements"])
async def test_confirmed_records_survive_kill_9_at_any_moment(tmp_path, mode):
    path = tmp_path / "j.db"
    chance = random.Random(mode)
    confirmed = 0
    for _ in range(4):
        arguments = [sys.executable, "-c", WRITER, str(path), *(["ack"] if mode != "append only" else [])]
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        try:
            for _ in range(chance.randint(3, 60)):
                confirmed = int(child.stdout.readline())
        finally:
            child.send_signal(signal.SIGKILL)
            confirmed = max([confirmed, *(int(line) for line in child.stdout.read().split("\n")[:-1])])
            child.wait()
            child.stdout.close()
        async with Journal(path) as journal:
            assert not journal.failing
            records, after = [], 0
            while batch := await journal.peek(after=after, limit=5000, max_bytes=10**9):
                records += batch
                after = batch[-1].sequence
            numbers = [record.sequence for record in records]
            assert numbers == list(range(numbers[0], numbers[-1] + 1))
            assert numbers[-1] >= confirmed
            assert numbers[0] == 1 if mode == "append only" else numbers[0] <= max(1, confirmed - 999)
            assert all(record.payload == payload(record.sequence) for record in records)
    assert list(tmp_path.glob("*damaged*")) == []


async def test_power_cut_leaves_a_whole_prefix(tmp_path):
    """A power cut may tear the tail of the WAL: what is left opens and has no hole."""
    source = tmp_path / "live.db"
    chance = random.Random(7)
    async with Journal(source) as journal:
        for _ in range(20):
            await fill(journal, 10)
        database, wal = source.read_bytes(), (tmp_path / "live.db-wal").read_bytes()
    for number in range(15):
        path = tmp_path / f"cut{number}.db"
        path.write_bytes(database)
        torn = wal[: chance.randrange(32, len(wal))]
        if number % 3 == 0:
            torn += os.urandom(chance.randrange(1, 5000))
        (tmp_path / f"cut{number}.db-wal").write_bytes(torn)
        async with Journal(path) as journal:
            numbers = [record.sequence for record in await journal.peek(limit=1000, max_bytes=10**9)]
            assert numbers == list(range(1, len(numbers) + 1))
            assert journal.append("k", b"") == len(numbers) + 1
    shutil.rmtree(tmp_path)
