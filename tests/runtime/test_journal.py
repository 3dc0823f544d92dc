import asyncio
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest
import structlog.testing

from s4g_gateway.errors import LocalProtocolError, PermanentError
from s4g_gateway.runtime import journal as journal_module
from s4g_gateway.runtime.clock import ManualClock
from s4g_gateway.runtime.journal import Journal, JournalRecord
from s4g_gateway.runtime.journal_segment import RECORD, frame, scan


def payload(number: int) -> bytes:
    return b"%d:" % number + bytes([number % 251]) * (number % 900)


def fill(journal: Journal, count: int) -> list[int]:
    return [journal.append("k", payload(journal.last_sequence + 1)) for _ in range(count)]


async def kept(journal: Journal) -> list[JournalRecord]:
    records: list[JournalRecord] = []
    while batch := await journal.peek(after=records[-1].sequence if records else 0, limit=700):
        records += batch
    return records


async def everything(journal: Journal) -> list[int]:
    records = await kept(journal)
    assert all(record.payload == payload(record.sequence) for record in records)
    return [record.sequence for record in records]


async def test_records_come_back_in_order_until_acknowledged(tmp_path):
    async with Journal(tmp_path) as journal:
        assert fill(journal, 300) == list(range(1, 301))
        records = await journal.peek(limit=1000)
        assert [(r.stream, r.sequence, r.key, r.payload) for r in records] == [
            (journal.stream, n, "k", payload(n)) for n in range(1, 301)
        ]
        journal.acknowledge(100)
        assert [r.sequence for r in await journal.peek(limit=2)] == [101, 102]
        assert [r.sequence for r in await journal.peek(after=250, limit=2)] == [251, 252]
        assert [r.sequence for r in await journal.peek(after=110, limit=2)] == [111, 112]
        assert len(await journal.peek(limit=100, max_bytes=1)) == 1
        assert journal.backlog == 200


async def test_numbering_goes_on_after_a_restart_and_each_run_has_its_stream(tmp_path):
    async with Journal(tmp_path) as first:
        fill(first, 5)
        first.acknowledge(3)
    async with Journal(tmp_path) as second:
        assert second.append("k", payload(6)) == 6
        assert [(r.stream, r.sequence) for r in await kept(second)] == [
            (first.stream, 4),
            (first.stream, 5),
            (second.stream, 6),
        ]
        second.acknowledge(6)
    for expected in (7, 8):
        async with Journal(tmp_path) as again:
            assert (again.backlog, again.append("k", b"")) == (0, expected)
            again.acknowledge(expected)
    async with Journal(tmp_path):
        pass
    async with Journal(tmp_path) as again:
        assert again.append("k", b"") == 9
    assert len(list(tmp_path.glob("*.journal"))) == 1


async def test_files_of_acknowledged_records_are_deleted(tmp_path):
    async with Journal(tmp_path, max_bytes=16 * 4096) as journal:
        for _ in range(40):
            journal.append("k", bytes(1000))
        assert len(list(tmp_path.glob("*.journal"))) > 5
        journal.acknowledge(39)
        assert await journal.peek() != []
        journal.acknowledge(40)
        journal.append("k", bytes(4000))
        assert len(list(tmp_path.glob("*.journal"))) == 1
        assert journal.size_bytes < 6000


async def test_oldest_are_discarded_and_counted_beyond_the_bytes(tmp_path):
    with structlog.testing.capture_logs() as logs:
        async with Journal(tmp_path, max_bytes=100_000) as journal:
            for _ in range(2500):
                journal.append("k", bytes(1000))
                assert journal.size_bytes <= 100_000
            numbers = [record.sequence for record in await kept(journal)]
            assert numbers == list(range(numbers[0], 2501))
            assert len(numbers) >= 85
            assert journal.backlog == len(numbers)
            assert journal.discarded_total == 2500 - len(numbers)
            assert sum(path.stat().st_size for path in tmp_path.glob("*.journal")) == journal.size_bytes
    assert [entry["event"] for entry in logs] == ["oldest records are discarded"]


async def test_acknowledged_records_do_not_count_as_discarded(tmp_path):
    async with Journal(tmp_path, max_bytes=100_000) as journal:
        for _ in range(50):
            journal.append("k", bytes(1000))
        journal.acknowledge(50)
        for _ in range(60):
            journal.append("k", bytes(1000))
        assert (journal.discarded_total, journal.backlog) == (0, 60)


async def test_oldest_are_discarded_beyond_the_age(tmp_path):
    clock = ManualClock()
    async with Journal(tmp_path, max_age_s=160, clock=clock) as journal:
        fill(journal, 3)
        clock.advance(150)
        fill(journal, 2)
    clock.advance(20)
    async with Journal(tmp_path, max_age_s=160, clock=clock) as journal:
        fill(journal, 1)
        assert await everything(journal) == [4, 5, 6]
        assert journal.discarded_total == 3


async def test_one_sync_covers_many_records_and_none_what_is_acknowledged(tmp_path):
    async with Journal(tmp_path, sync_interval_s=1000) as journal:
        fill(journal, 500)
        assert (journal.syncs_total, journal.synced_sequence) == (0, 0)
        await journal.sync()
        assert (journal.syncs_total, journal.synced_sequence) == (1, 500)
        fill(journal, 100)
        journal.acknowledge(600)
        await journal.sync()
        assert (journal.syncs_total, journal.synced_sequence) == (1, 600)


async def test_upkeep_syncs_by_itself(tmp_path):
    async with Journal(tmp_path, sync_interval_s=0.01) as journal:
        fill(journal, 3)
        async with asyncio.timeout(10):
            while journal.synced_sequence < 3:
                await asyncio.sleep(0.01)


async def test_acknowledgement_is_on_disk_after_a_sync(tmp_path):
    async with Journal(tmp_path / "a") as journal:
        fill(journal, 10)
        journal.acknowledge(7)
        await journal.sync()
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    async with Journal(tmp_path / "b") as journal:
        assert await everything(journal) == [8, 9, 10]


@pytest.mark.parametrize("damage", [b"", b"no journal at all" * 10, b"S4GJRNL1"])
async def test_file_that_is_no_journal_is_moved_aside_with_one_line(tmp_path, damage):
    (tmp_path / f"{1:020d}.journal").write_bytes(damage)
    with structlog.testing.capture_logs() as logs:
        async with Journal(tmp_path) as journal:
            fill(journal, 1)
            assert await everything(journal) == [1]
    assert [(e["event"], e["log_level"]) for e in logs] == [("damaged journal file moved aside", "error")]
    (aside,) = tmp_path.glob("*damaged*")
    assert aside.read_bytes() == damage


async def test_every_flipped_byte_costs_no_more_than_what_follows_it(tmp_path):
    async with Journal(tmp_path / "live") as journal:
        fill(journal, 5)
    (path,) = (tmp_path / "live").glob("*.journal")
    whole = path.read_bytes()
    for position in range(32, len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x41
        path.write_bytes(damaged)
        found = scan(path)
        assert found.damage is not None
        assert found.segment.size_bytes <= position
        assert [found.segment.first, found.segment.last] == [1, found.segment.records]


async def test_second_process_is_refused(tmp_path):
    async with Journal(tmp_path):
        with pytest.raises(PermanentError, match="another process uses it"):
            await Journal(tmp_path).__aenter__()


async def test_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PermanentError, match="cannot be used"):
        await Journal(tmp_path / "file" / "journal").__aenter__()


async def test_append_to_a_closed_journal_is_an_error(tmp_path):
    with pytest.raises(LocalProtocolError):
        Journal(tmp_path).append("k", b"")


async def test_full_disk_keeps_records_in_memory_and_writes_them_later(tmp_path, monkeypatch):
    real = os.write
    room = 1000

    def write(descriptor, data):
        nonlocal room
        if room < len(data):
            if room == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            data, room = data[:room], 0
        else:
            room -= len(data)
        return real(descriptor, data)

    with structlog.testing.capture_logs() as logs:
        async with Journal(tmp_path, sync_interval_s=1000) as journal:
            monkeypatch.setattr(journal_module.os, "write", write)
            fill(journal, 100)
            assert journal.failing
            assert journal.backlog == 100
            on_disk = await everything(journal)
            assert on_disk == list(range(1, len(on_disk) + 1))
            assert 0 < len(on_disk) < 100
            await journal.sync()
            assert journal.synced_sequence == len(on_disk)
            assert len(list(tmp_path.glob("*.journal"))) == 1
            room = 10**9
            await journal.sync()
            assert not journal.failing
            fill(journal, 1)
            assert await everything(journal) == list(range(1, 102))
    assert [e["event"] for e in logs] == [
        "journal cannot be written; records are kept in memory",
        "journal writes again",
    ]
    async with Journal(tmp_path) as journal:
        assert await everything(journal) == list(range(1, 102))


async def test_what_waits_in_memory_is_bounded(tmp_path, monkeypatch):
    def write(descriptor, data):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(journal_module, "_PENDING_LIMIT_BYTES", 10_000)
    async with Journal(tmp_path) as journal:
        with monkeypatch.context() as broken:
            broken.setattr(journal_module.os, "write", write)
            for _ in range(30):
                journal.append("k", bytes(1000))
            assert (journal.backlog, journal.discarded_total) == (10, 20)
            journal.acknowledge(25)
            assert journal.backlog == 5
            journal.acknowledge(30)
            assert journal.backlog == 0


WRITER = textwrap.dedent(
    """
    import asyncio, pathlib, sys
    from s4g_gateway.runtime.journal import Journal

    async def main():
        async with Journal(pathlib.Path(sys.argv[1]), sync_interval_s=0.01) as journal:
            while True:
                for _ in range(50):
                    n = journal.last_sequence + 1
                    journal.append("k", b"%d:" % n + bytes([n % 251]) * (n % 900))
                    sys.stdout.write(f"{n}\\n")
                sys.stdout.flush()
                if len(sys.argv) > 2:
                    journal.acknowledge(journal.last_sequence - 1000)
                await asyncio.sleep(0.0005)

    asyncio.run(main())
    """
)


@pytest.mark.parametrize("mode", ["append only", "with acknowledgements"])
async def test_confirmed_records_survive_kill_9_at_any_moment(tmp_path, mode):
    chance = random.Random(mode)
    confirmed = 0
    for _ in range(5):
        arguments = [sys.executable, "-c", WRITER, str(tmp_path), *(["ack"] if mode != "append only" else [])]
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        try:
            for _ in range(chance.randint(200, 9000)):
                confirmed = int(child.stdout.readline())
        finally:
            child.send_signal(signal.SIGKILL)
            confirmed = max([confirmed, *(int(line) for line in child.stdout.read().split("\n")[:-1])])
            child.wait()
            child.stdout.close()
        async with Journal(tmp_path) as journal:
            numbers = await everything(journal)
            assert numbers == list(range(numbers[0], numbers[-1] + 1))
            assert numbers[-1] >= confirmed
            assert numbers[0] == 1 if mode == "append only" else numbers[0] <= max(1, confirmed - 998)
    assert list(tmp_path.glob("*damaged*")) == []


async def test_power_cut_leaves_a_whole_prefix_and_later_runs_reuse_no_identity(tmp_path):
    chance = random.Random(7)
    live = tmp_path / "live"
    async with Journal(live) as journal:
        fill(journal, 200)
        (path,) = live.glob("*.journal")
        data = path.read_bytes()
        stream = journal.stream
    for number in range(20):
        folder = tmp_path / f"cut{number}"
        folder.mkdir()
        # A power cut may lose the tail, tear it, or leave blocks of zeros where data never arrived.
        cut = data[: chance.randrange(40, len(data))]
        tail = (b"", bytes(4096), os.urandom(500), frame(RECORD, 7, 7, b"k", b"x")[:-1])[number % 4]
        (folder / path.name).write_bytes(cut + tail)
        async with Journal(folder) as journal:
            numbers = await everything(journal)
            assert numbers == list(range(1, len(numbers) + 1))
            assert journal.append("k", payload(len(numbers) + 1)) == len(numbers) + 1
            assert [r.stream for r in await journal.peek(after=len(numbers))] == [journal.stream]
            assert journal.stream != stream
        async with Journal(folder) as journal:
            assert await everything(journal) == [*numbers, len(numbers) + 1]


async def test_reading_goes_on_while_old_files_are_discarded(tmp_path):
    async with Journal(tmp_path, max_bytes=100_000) as journal:
        for _ in range(80):
            journal.append("k", bytes(1000))
        seen = [record.sequence for record in await journal.peek(limit=1)]
        sorted(tmp_path.glob("*.journal"))[2].unlink()
        for _ in range(200):
            journal.append("k", bytes(1000))
            for record in await journal.peek(after=seen[-1], limit=1):
                assert record.sequence > seen[-1]
                seen.append(record.sequence)
        assert len(seen) == 201
