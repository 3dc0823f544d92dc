import json
import os

from s4g_gateway.runtime import audit as audit_module
from s4g_gateway.runtime.audit import JsonLinesAuditLog


def test_each_decision_is_one_line_with_a_readable_time(tmp_path):
    log = JsonLinesAuditLog(tmp_path / "audit.jsonl")
    log.record({"time_ns": 1_500_000_000_000_000_000, "accepted": True})
    log.record({"time_ns": 1_500_000_001_000_000_000, "accepted": False})
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["time"] for line in lines] == ["2017-07-14T02:40:00.000Z", "2017-07-14T02:40:01.000Z"]
    assert [line["accepted"] for line in lines] == [True, False]
    log.close()


def test_it_appends_after_a_restart_and_is_private(tmp_path):
    for number in range(2):
        log = JsonLinesAuditLog(tmp_path / "audit.jsonl")
        log.record({"number": number})
        log.close()
    assert len((tmp_path / "audit.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_it_rotates_and_keeps_a_bounded_number_of_files(tmp_path):
    log = JsonLinesAuditLog(tmp_path / "audit.jsonl", max_bytes=100)
    for number in range(100):
        log.record({"number": number})
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["audit.jsonl", *(f"audit.jsonl.{number}" for number in range(1, 6))]
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "audit.jsonl").read_text().splitlines()[-1]) == {"number": 99}


def test_a_disk_that_refuses_stops_nothing_and_recovers(tmp_path):
    missing = tmp_path / "later"
    log = JsonLinesAuditLog(missing / "audit.jsonl")
    log.record({"number": 1})
    missing.mkdir()
    log.record({"number": 2})
    log.close()
    assert json.loads((missing / "audit.jsonl").read_text()) == {"number": 2}


def test_a_line_torn_by_a_full_disk_or_a_power_cut_spoils_no_other(tmp_path, monkeypatch):
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"number":0}\n{"num')
    log = JsonLinesAuditLog(path)
    log.record({"number": 1})
    real = os.write
    with monkeypatch.context() as full:
        full.setattr(audit_module.os, "write", lambda descriptor, data: real(descriptor, data[:5]))
        log.record({"number": 2})
    log.record({"number": 3})
    log.close()
    lines = path.read_bytes().splitlines()
    assert [line for line in lines if line.endswith(b"}")] == [
        b'{"number":0}',
        b'{"number":1}',
        b'{"number":3}',
    ]


def test_what_json_libraries_disagree_on_is_written_all_the_same(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = JsonLinesAuditLog(path)
    log.record({"value": 10**30, "name": "\ud800"})
    log.close()
    assert json.loads(path.read_text()) == {"value": 10**30, "name": "\ud800"}
