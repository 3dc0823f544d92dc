import asyncio
import getpass
import json
import os
import socket
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from s4g_gateway.errors import ConfigError, PermanentError, Problem
from s4g_gateway.model import (
    ACCEPTED,
    AddCause,
    ControlPoint,
    DataSet,
    Member,
    ObjectReference,
    OriginCategory,
    Report,
    refused,
)
from s4g_gateway.runtime.arbitration import Arbitration
from s4g_gateway.runtime.clock import ManualClock
from s4g_gateway.runtime.contract import SuppliedDataSet
from s4g_gateway.runtime.database import NO_VALUE_YET, RealTimeDatabase
from s4g_gateway.runtime.local_protocol import MAX_REQUEST_BYTES
from s4g_gateway.runtime.local_socket import local_socket
from s4g_gateway.security import AccessPolicy, Action, Rule, default_policy

POWER, SOC = ObjectReference("ESS1/MMXU1.TotW"), ObjectReference("ESS1/DSTO1.SocEffWhPct")
GRID, SETPOINT = ObjectReference("PCC1/MMXU1.TotW"), ObjectReference("ESS1/DWGC1.WSpt")
STORAGE = DataSet("storage", (Member(reference=POWER, unit="W"), Member(reference=SOC, unit="%")))
METER = DataSet("meter", (Member(reference=GRID, unit="W"),))


class NoLedger:
    async def begin(self, command_id, time_ns):
        return None

    async def finish(self, command_id, answer):
        pass


class Audit(list):
    record = list.append


@dataclass
class Status:
    name: str = "house"
    counters: dict = field(default_factory=lambda: {"polls_total": 3})


class FakeSite:
    """A real database and arbitration; only the supervisor is left out."""

    def __init__(self, policy=None):
        self.clock = ManualClock()
        self.audit = Audit()
        self.sent = []
        policy = policy or default_policy()
        arbitration = Arbitration(clock=self.clock, policy=policy, audit=self.audit, ledger=NoLedger())
        self.database = RealTimeDatabase(clock=self.clock, policy=policy, arbitration=arbitration)
        self.database.add("inverter", [SuppliedDataSet(data_set=STORAGE, period_s=1.0)])
        self.database.add("meter", [SuppliedDataSet(data_set=METER, period_s=1.0)])
        control = ControlPoint(reference=SETPOINT, unit="W", minimum=-5000, maximum=5000)
        arbitration.add("inverter", [control], self.execute)
        self.reload_error = None

    async def execute(self, control):
        self.sent.append(control)
        return refused(AddCause.BLOCKED_BY_PROCESS, "busy") if control.value == 13.0 else ACCEPTED

    def status(self):
        return Status()

    async def reload(self):
        if self.reload_error:
            raise self.reload_error


class Client:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def send(self, request):
        line = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.writer.write(line + b"\n")

    async def receive(self):
        async with asyncio.timeout(20):
            return json.loads(await self.reader.readline())

    async def ask(self, request):
        self.send(request)
        return await self.receive()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "s4g.sock"


@pytest.fixture
async def site(path):
    site = FakeSite()
    async with local_socket(path, site):
        yield site


@pytest.fixture
async def client(path, site):
    reader, writer = await asyncio.open_unix_connection(path)
    yield Client(reader, writer)
    writer.close()


def publish(site, data_set, values, time_ns=100):
    site.database.publish(Report(data_set, values, (0,) * len(values), time_ns))


async def test_socket_is_for_its_user_only_and_goes_away(path):
    async with local_socket(path, FakeSite()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


async def test_a_stale_socket_is_replaced_and_a_living_one_is_not(path):
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with local_socket(path, FakeSite()):
        with pytest.raises(PermanentError, match="another gateway"):
            async with local_socket(path, FakeSite()):
                pass
        reader, writer = await asyncio.open_unix_connection(path)
        writer.close()
        await reader.read()


async def test_a_file_in_the_way_is_left_alone(path):
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(PermanentError, match="left alone"):
        async with local_socket(path, FakeSite()):
            pass
    assert path.read_text() == "precious"


async def test_a_path_too_long_for_a_unix_socket_is_named(tmp_path):
    with pytest.raises(PermanentError, match="at most 107 bytes"):
        async with local_socket(tmp_path / ("x" * 120), FakeSite()):
            pass


async def test_list_names_points_and_controls(client):
    answer = await client.ask({"do": "list", "id": 7})
    assert answer["id"] == 7
    assert [point["reference"] for point in answer["points"]] == [POWER, SOC, GRID, SETPOINT]
    assert answer["points"][3] == {
        "reference": SETPOINT,
        "value_type": "float",
        "unit": "W",
        "description": "",
        "readable": False,
        "control": {
            "value_type": "float",
            "unit": "W",
            "model": "direct-enhanced",
            "minimum": -5000,
            "maximum": 5000,
            "expires": True,
        },
    }
    answer = await client.ask({"do": "list", "match": ["PCC1/*"]})
    assert [point["reference"] for point in answer["points"]] == [GRID]


async def test_a_long_list_comes_in_chunks(path):
    site = FakeSite()
    many = DataSet("many", tuple(Member(reference=ObjectReference(f"LD{n}/GGIO1.AnIn")) for n in range(1200)))
    site.database.add("many", [SuppliedDataSet(data_set=many, period_s=1.0)])
    async with local_socket(path, site):
        client = Client(*await asyncio.open_unix_connection(path))
        client.send({"do": "list", "match": ["LD*"]})
        chunks = [await client.receive() for _ in range(3)]
        assert [(len(chunk["points"]), chunk.get("more", False)) for chunk in chunks] == [
            (500, True),
            (500, True),
            (200, False),
        ]
        client.writer.close()


async def test_read_says_value_quality_time_and_age(client, site):
    publish(site, STORAGE, (1500.0, 63.5))
    site.clock.advance(0.5)
    answer = await client.ask({"do": "read", "references": [SOC, GRID]})
    assert answer["ok"] is True
    assert answer["points"] == [
        {
            "reference": SOC,
            "value": 63.5,
            "unit": "%",
            "quality": 0,
            "time_ns": 100,
            "age_s": 0.5,
            "owner": "inverter",
        },
        {
            "reference": GRID,
            "value": None,
            "unit": "W",
            "quality": NO_VALUE_YET,
            "time_ns": 1_700_000_000_000_000_000,
            "age_s": None,
            "owner": "meter",
        },
    ]


async def test_reading_a_point_that_is_not_there_is_an_answer(client):
    answer = await client.ask({"do": "read", "id": "a", "references": ["ESS9/DSTO1.SocEffWhPct"]})
    assert (answer["id"], answer["ok"], answer["kind"]) == ("a", False, "unknown-point")


@pytest.mark.parametrize(
    ("line", "kind", "words", "request_id"),
    [
        (b"{", "malformed", "truncated", None),
        (b"\xff\xfe", "malformed", "no request", None),
        (b"[" * 5000, "malformed", "no request", None),
        (b"[]", "malformed", "Expected `object`", None),
        (b'{"do":"explode","id":3}', "malformed", "explode", 3),
        (b'{"do":"read","id":4}', "malformed", "references", 4),
        (b'{"do":"read","references":[]}', "malformed", "references", None),
        (b'{"do":"status","extra":1}', "malformed", "extra", None),
        (b'{"do":"operate","reference":"x","value":1,"priority":0}', "malformed", "priority", None),
        (b'{"do":"operate","id":5,"reference":"x"}', "malformed", "operate takes a value", 5),
        (b'{"do":"operate","service":"release","reference":"x","value":1}', "malformed", "no value", None),
        (b'{"do":"status","id":"' + b"x" * MAX_REQUEST_BYTES + b'"}', "malformed", "at most 65536", None),
        (b"x" * (5 * MAX_REQUEST_BYTES + 3), "malformed", "at most 65536", None),
    ],
)
async def test_a_malformed_request_gets_one_error_and_the_connection_stays(
    client, line, kind, words, request_id
):
    answer = await client.ask(line)
    assert (answer["ok"], answer["kind"], answer.get("id")) == (False, kind, request_id)
    assert words in answer["error"]
    assert (await client.ask({"do": "status", "id": 99}))["id"] == 99


async def test_operate_reaches_the_device_as_the_unix_user(client, site):
    request = {"do": "operate", "reference": SETPOINT, "value": -2500.0, "for_s": 60, "priority": 3}
    answer = await client.ask(request)
    assert (answer["ok"], answer["accepted"], answer["add_cause"]) == (True, True, "NONE")
    (control,) = site.sent
    assert control.value == -2500.0
    assert control.not_after_ns - control.time_ns == 60_000_000_000
    assert (control.origin.category, control.origin.identity) == (
        OriginCategory.MAINTENANCE,
        getpass.getuser(),
    )
    assert site.audit[0]["principal"] == getpass.getuser()


async def test_release_select_and_cancel(client, site):
    assert (await client.ask({"do": "operate", "reference": SETPOINT, "service": "release"}))["accepted"]
    assert [control.value for control in site.sent] == [None]
    select = {"do": "operate", "reference": SETPOINT, "service": "select", "value": 1}
    assert (await client.ask(select))["detail"] == "selected"
    assert (await client.ask({"do": "operate", "reference": SETPOINT, "service": "cancel"}))["accepted"]
    again = await client.ask({"do": "operate", "reference": SETPOINT, "service": "cancel"})
    assert (again["accepted"], again["add_cause"]) == (False, "OBJECT_NOT_SELECTED")


@pytest.mark.parametrize(
    ("reference", "value", "cause"),
    [
        (SETPOINT, 9000, "INCONSISTENT_PARAMETERS"),
        (SETPOINT, 13.0, "BLOCKED_BY_PROCESS"),
        (POWER, 1, "NOT_SUPPORTED"),
    ],
)
async def test_a_refusal_names_its_cause(client, reference, value, cause):
    answer = await client.ask({"do": "operate", "reference": reference, "value": value})
    assert (answer["ok"], answer["accepted"], answer["add_cause"]) == (True, False, cause)


async def test_status_and_reload(client, site):
    answer = await client.ask({"do": "status"})
    assert answer["status"] == {"name": "house", "counters": {"polls_total": 3}}
    assert (await client.ask({"do": "reload"}))["ok"] is True
    site.reload_error = ConfigError([Problem(file="site.toml", key="site.name", found="1", expected="text")])
    answer = await client.ask({"do": "reload"})
    assert (answer["ok"], answer["kind"]) == (False, "configuration")
    assert answer["problems"][0]["key"] == "site.name"


async def until_complete(client):
    lines = [await client.receive()]
    while not lines[-1].get("complete"):
        lines.append(await client.receive())
    return lines


async def test_watch_sends_a_snapshot_then_joined_changes(client, site):
    publish(site, METER, (10.0,))
    client.send({"do": "watch", "interval_s": 0.05, "status": True})
    lines = await until_complete(client)
    assert lines[0]["sets"] == [
        {"name": "storage", "owner": "inverter"},
        {"name": "meter", "owner": "meter"},
    ]
    assert lines[0]["ages_s"] == [None, 0.0]
    points = [point for line in lines for point in line["points"]]
    assert [point["reference"] for point in points] == [POWER, SOC, GRID]
    assert points[2] == {
        "reference": GRID, "value": 10.0, "quality": 0, "time_ns": 100, "unit": "W", "set": 1,
    }  # fmt: skip
    assert lines[-1]["status"]["name"] == "house"
    for value in (1.0, 2.0, 3.0):
        publish(site, STORAGE, (value, 50.0), time_ns=int(value))
    site.clock.advance(2)
    changes = [await until_complete(client) for _ in range(2)]
    points = [point for lines in changes for line in lines for point in line["points"]]
    assert points == [
        {"reference": POWER, "value": 3.0, "quality": 0, "time_ns": 3},
        {"reference": SOC, "value": 50.0, "quality": 0, "time_ns": 1},
    ]
    assert changes[1][-1]["ages_s"] == [2.0, 2.0]


async def test_watch_of_part_of_a_data_set_and_unwatch(client, site):
    publish(site, STORAGE, (1.0, 50.0))
    client.send({"do": "watch", "id": 1, "match": ["*.SocEffWhPct"], "interval_s": 0.05})
    lines = await until_complete(client)
    assert [point["reference"] for line in lines for point in line["points"]] == [SOC]
    publish(site, STORAGE, (2.0, 51.0), time_ns=200)
    lines = await until_complete(client)
    assert [(point["reference"], point["value"]) for line in lines for point in line["points"]] == [
        (SOC, 51.0)
    ]
    client.send({"do": "unwatch", "id": 2})
    while (await client.receive())["id"] != 2:
        pass
    publish(site, STORAGE, (2.0, 52.0))
    assert (await client.ask({"do": "status", "id": 3}))["id"] == 3


async def test_watch_starts_anew_when_the_site_changes(client, site):
    client.send({"do": "watch", "interval_s": 0.05})
    await until_complete(client)
    site.database.remove("inverter")
    while (lines := await until_complete(client))[0]["event"] != "snapshot":
        pass
    assert [point["reference"] for line in lines for point in line["points"]] == [GRID]


async def test_the_policy_decides_what_is_seen(path):
    policy = AccessPolicy(
        (
            Rule(
                roles=frozenset({"ENGINEER"}),
                actions=frozenset({Action.READ, Action.SUBSCRIBE}),
                references=("ESS1/DSTO1.*",),
            ),
        )
    )
    async with local_socket(path, FakeSite(policy)):
        client = Client(*await asyncio.open_unix_connection(path))
        assert [p["reference"] for p in (await client.ask({"do": "list"}))["points"]] == [SOC]
        assert (await client.ask({"do": "read", "references": [POWER]}))["kind"] == "denied"
        client.send({"do": "watch"})
        lines = await until_complete(client)
        assert [point["reference"] for line in lines for point in line["points"]] == [SOC]
        answer = await Client(*await asyncio.open_unix_connection(path)).ask(
            {"do": "operate", "reference": SETPOINT, "value": 1.0}
        )
        assert answer["add_cause"] == "NO_ACCESS_AUTHORITY"


async def test_connections_are_bounded_and_places_come_free(path):
    async with local_socket(path, FakeSite(), connections=2):
        clients = [Client(*await asyncio.open_unix_connection(path)) for _ in range(2)]
        for client in clients:
            assert (await client.ask({"do": "status"}))["ok"]
        third = Client(*await asyncio.open_unix_connection(path))
        assert (await third.receive())["kind"] == "busy"
        assert await third.reader.read() == b""
        clients[0].writer.close()
        while True:
            fourth = Client(*await asyncio.open_unix_connection(path))
            fourth.send({"do": "status"})
            if (await fourth.receive())["ok"]:
                break


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
async def test_another_user_is_turned_away_even_where_modes_let_him_in():
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(999))"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s4g.sock"
        path.parent.chmod(0o755)
        async with local_socket(path, FakeSite()):
            path.chmod(0o666)
            child = await asyncio.create_subprocess_exec(
                "/usr/bin/env", "python3", "-c", script, str(path), user=65534, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await child.communicate()
    assert b'"kind":"denied"' in output
