import asyncio
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from s4g_gateway.errors import PermanentError
from s4g_gateway.model import DataSet, Member, ObjectReference, Report
from s4g_gateway.model import quality as q
from s4g_gateway.runtime.arbitration import Arbitration
from s4g_gateway.runtime.clock import ManualClock
from s4g_gateway.runtime.contract import SuppliedDataSet
from s4g_gateway.runtime.database import RealTimeDatabase
from s4g_gateway.runtime.listen import Listen
from s4g_gateway.runtime.metrics import MAX_CONNECTIONS, metrics_server
from s4g_gateway.security import default_policy

POWER, SOC = ObjectReference("ESS1/MMXU1.TotW"), ObjectReference("ESS1/DSTO1.SocEffWhPct")
STORAGE = DataSet("storage", (Member(reference=POWER, unit="W"), Member(reference=SOC, unit="%")))
METER = DataSet("meter", (Member(reference=ObjectReference("PCC1/MMXU1.TotW")),))
LOOPBACK = Listen(host="127.0.0.1", port=0)


@dataclass
class Connector:
    name: str
    state: str = "running"
    type: str = "modbus"
    section: str = "southbound"
    restarts: int = 0
    last_error: str = ""
    counters: dict = field(default_factory=dict)


@dataclass
class Status:
    connectors: list
    database: dict
    name: str = "house"
    uptime_s: float = 12.5
    holds: dict = field(default_factory=dict)


class FakeSite:
    def __init__(self):
        self.clock = ManualClock()
        policy = default_policy()
        arbitration = Arbitration(clock=self.clock, policy=policy, audit=None, ledger=None)
        self.database = RealTimeDatabase(clock=self.clock, policy=policy, arbitration=arbitration)
        self.database.add("inverter", [SuppliedDataSet(data_set=STORAGE, period_s=1.0)])
        self.database.add("meter", [SuppliedDataSet(data_set=METER, period_s=1.0)])
        self.connectors = [Connector("inverter", counters={"polls_total": 3, "backlog_bytes": 1.5})]

    def status(self):
        return Status(self.connectors, self.database.statistics())


@pytest.fixture
def site():
    site = FakeSite()
    site.database.publish(Report(STORAGE, (1.0, 2.0), (q.GOOD, q.QUESTIONABLE | q.OLD_DATA), 1))
    site.clock.advance(2)
    return site


@pytest.fixture
async def port(site):
    async with metrics_server(LOOPBACK, site) as port:
        yield port


async def exchange(port, request):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return status, dict(field.split(": ", 1) for field in fields), body


async def get(port, path):
    return await exchange(port, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


async def samples(port):
    status, fields, body = await get(port, "/metrics")
    assert status == "HTTP/1.1 200 OK"
    assert fields["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(body.decode()):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in found, "every series stands once"
            found[key] = sample.value
    return found


async def test_prometheus_reads_points_freshness_connectors_and_process(port):
    found = await samples(port)
    inverter = (("connector", "inverter"), ("section", "southbound"), ("type", "modbus"))
    expected = {
        ("s4g_points",): 3,
        ("s4g_data_sets_fresh",): 1,
        ("s4g_updates_total",): 2,
        ("s4g_uptime_seconds",): 12.5,
        ("s4g_points_validity", ("connector", "inverter"), ("validity", "good")): 1,
        ("s4g_points_validity", ("connector", "inverter"), ("validity", "questionable")): 1,
        ("s4g_points_validity", ("connector", "inverter"), ("validity", "invalid")): 0,
        ("s4g_points_validity", ("connector", "meter"), ("validity", "invalid")): 1,
        ("s4g_points_stale", ("connector", "inverter")): 1,
        ("s4g_data_set_age_seconds", ("connector", "inverter"), ("data_set", "storage")): 2.0,
        ("s4g_data_set_age_seconds", ("connector", "meter"), ("data_set", "meter")): float("inf"),
        ("s4g_supervisor_running", *inverter): 1,
        ("s4g_supervisor_restarts_total", *inverter): 0,
        ("s4g_connector_polls_total", *inverter): 3,
        ("s4g_connector_backlog_bytes", *inverter): 1.5,
        ("s4g_setpoints_held",): 0,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found["process_resident_memory_bytes",] > 1e6
    assert found["process_open_fds",] > 3
    assert found["process_cpu_seconds_total",] > 0


async def test_odd_names_make_no_broken_exposition(port, site):
    site.connectors = [
        Connector('a"b\\c\nd', counters={"weird name-total": 1}),
        Connector("b", counters={"x": 2}),
    ]
    found = await samples(port)
    assert found[
        "s4g_connector_weird_name_total",
        ("connector", 'a"b\\c\nd'),
        ("section", "southbound"),
        ("type", "modbus"),
    ] == 1  # fmt: skip


@pytest.mark.parametrize(
    ("states", "qualities", "verdict", "code"),
    [
        (["running"], (0, 0), "ok", 200),
        (["running"], (0, q.INVALID), "ok", 200),
        (["running"], (0, q.QUESTIONABLE | q.OLD_DATA), "degraded", 200),
        (["running", "backing-off"], (0, 0), "degraded", 200),
        (["backing-off", "backing-off"], (0, 0), "failed", 503),
    ],
)
async def test_health_sums_up(port, site, states, qualities, verdict, code):
    site.connectors = [Connector(f"c{number}", state=state) for number, state in enumerate(states)]
    site.database.publish(Report(STORAGE, (1.0, 2.0), qualities, 1))
    site.database.publish(Report(METER, (1.0,), (0,), 1))
    status, fields, body = await get(port, "/health")
    assert status.split()[1] == str(code)
    assert fields["Content-Type"] == "application/json"
    found = json.loads(body)
    assert (found["status"], found["points"], found["points_not_good"]) == (
        verdict,
        3,
        sum(map(bool, qualities)),
    )
    assert [entry["state"] for entry in found["connectors"]] == states


async def test_page_names_stale_points_and_escapes_everything(port, site):
    site.connectors = [Connector("evil", last_error="<script>alert('x')</script> mqtt://u:hunter2@b")]
    status, fields, body = await get(port, "/")
    text = body.decode()
    assert status == "HTTP/1.1 200 OK"
    assert "<script" not in text
    assert "hunter2" not in text
    assert "&lt;script&gt;" in text
    assert "default-src 'none'" in fields["Content-Security-Policy"]
    assert f"<td>{SOC}</td>" in text
    assert f"<td>{POWER}</td>" not in text
    assert "<td>never</td>" in text


async def test_a_reload_between_two_scrapes_is_seen(port, site):
    await samples(port)
    site.database.remove("inverter")
    assert not [
        key for key in await samples(port) if ("connector", "inverter") in key and "validity" in key[0]
    ]


@pytest.mark.parametrize(
    ("request_bytes", "code"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"GET /health?x=1 HTTP/1.0\r\n\r\n", 200),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/9\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:9464\r\n\r\n", 200),
        (b"GET /health HTTP/1.1\r\nHost: [::1]:9464\r\n\r\n", 200),
    ],
)
async def test_bad_http_gets_its_answer(port, request_bytes, code):
    status, fields, body = await exchange(port, request_bytes)
    assert status.split()[1] == str(code)
    assert int(fields["Content-Length"]) == len(body)


async def test_head_has_the_headers_and_no_body(port):
    status, fields, body = await exchange(port, b"HEAD /health HTTP/1.1\r\n\r\n")
    assert (status, body) == ("HTTP/1.1 200 OK", b"")
    assert int(fields["Content-Length"]) > 0


async def received(reader):
    try:
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionResetError:
        return b""


async def test_a_slow_client_is_cut_off(site):
    async with metrics_server(LOOPBACK, site, exchange_timeout_s=0.05) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /")
        assert await received(reader) == b""


async def test_connections_are_bounded(port):
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health HTTP/1.1\r\n\r\n")
    assert await received(reader) == b""
    idle[0][1].write(b"GET /health HTTP/1.1\r\n\r\n")
    assert (await idle[0][0].readline()).startswith(b"HTTP/1.1 ")


async def test_an_address_in_use_is_named(port, site):
    with pytest.raises(PermanentError, match=f"port {port}"):
        async with metrics_server(Listen(host="127.0.0.1", port=port), site):
            pass


async def test_every_metric_stands_in_the_documentation(port):
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    documented = set(re.findall(r"`(s4g_[a-z_]+)`", page))
    found = {key[0] for key in await samples(port) if key[0].startswith("s4g_")}
    assert {name for name in found if not name.startswith("s4g_connector_")} == documented
