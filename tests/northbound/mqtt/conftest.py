import asyncio
import contextlib
import json
import threading

import paho.mqtt.client as paho
import pytest
import structlog

from s4g_gateway.model import (
    ACCEPTED,
    ControlPoint,
    DataSet,
    Member,
    ObjectReference,
    Report,
    ValueType,
)
from s4g_gateway.northbound.mqtt import MQTT, MqttConfig
from s4g_gateway.northbound.mqtt import connector as connector_module
from s4g_gateway.runtime.arbitration import Arbitration
from s4g_gateway.runtime.audit import JsonLinesAuditLog
from s4g_gateway.runtime.broker import BrokerKind, EmbeddedBroker
from s4g_gateway.runtime.clock import SystemClock
from s4g_gateway.runtime.contract import Counters, Services, SiteContext, SuppliedDataSet
from s4g_gateway.runtime.database import RealTimeDatabase
from s4g_gateway.runtime.ledger import SqliteCommandLedger
from s4g_gateway.security import AccessPolicy, Action, Principal, Rule

SITE = "house"


def member(name, unit="W", value_type=ValueType.FLOAT, **more):
    return Member(reference=ObjectReference(name), unit=unit, value_type=value_type, **more)


INVERTER = DataSet(
    "inverter/103",
    (
        member("PV1/MMXU1.TotW"),
        member("ESS1/MMXU1.TotW", description="battery power"),
        member("ESS1/DSTO1.SocEffWhPct", "%"),
        member("ESS1/LPHD1.PhyHealth", "", ValueType.ENUMERATED, cdc="ENS"),
        member("ESS1/LPHD1.PhyNam.vendor", "", ValueType.TEXT, cdc="DPL"),
    ),
)
METER = DataSet("pcc meter", (member("PCC1/MMXU1.TotW"), member("PCC1/MMXU1.AvPhVPhs", "V")))
SECRET = DataSet("secret", (member("SEC1/MMXU1.TotW"),))
CONTROLS = (
    ControlPoint(reference=ObjectReference("ESS1/DWGC1.WSpt"), unit="W", minimum=-5000, maximum=5000),
    ControlPoint(reference=ObjectReference("ESS1/DVAR1.VArSpt"), unit="var"),
    ControlPoint(reference=ObjectReference("ESS1/DSTO1.SocSptPct"), unit="%"),
    ControlPoint(reference=ObjectReference("ESS1/DECP1.OpMod"), value_type=ValueType.ENUMERATED),
)
POLICY = AccessPolicy(
    (
        Rule(roles=frozenset({"EB"}), actions=frozenset({Action.READ, Action.SUBSCRIBE})),
        Rule(
            roles=frozenset({"VIEWER", "GESSCON"}),
            actions=frozenset({Action.READ, Action.SUBSCRIBE}),
            references=("PV1/*", "ESS1/*", "PCC1/*"),
        ),
        Rule(roles=frozenset({"GESSCON"}), actions=frozenset({Action.CONTROL}), references=("ESS1/*",)),
    )
)


def values(message):
    """Returns name -> value of a pack in JSON, without its quality records."""
    base, found = "", {}
    for record in json.loads(message.payload):
        base = record.get("bn", base)
        name = base + record.get("n", "")
        if not name.endswith(".q"):
            found[name] = record.get("v", record.get("vs", record.get("vb")))
    return found


def counted(messages, topic="s4g/v1/house/smx/smx-eb/pcc-meter"):
    """Returns (number, time) of each Report that ``House.count`` published, as received."""
    found = []
    for message in messages:
        if message.topic == topic:
            base, moment = "", None
            for record in json.loads(message.payload):
                base = record.get("bn", base)
                moment = record.get("bt", moment)
                if base + record["n"] == "house/PCC1/MMXU1.TotW":
                    found.append((int(record["v"]), record.get("t", moment)))
    return found


class House:
    """A site without devices: Reports are put in by hand, Controls are noted."""

    inverter, meter = INVERTER, METER
    values = staticmethod(values)
    counted = staticmethod(counted)

    def __init__(self, state, *, data_sets=(INVERTER, METER, SECRET), **told):
        self.told = told
        self.clock = SystemClock()
        self.state = state
        state.mkdir(parents=True, exist_ok=True)
        self.ledger = SqliteCommandLedger(state / "commands.sqlite")
        self.executed = []
        self.answer = ACCEPTED
        arbitration = Arbitration(
            clock=self.clock,
            policy=POLICY,
            audit=JsonLinesAuditLog(state / "audit.jsonl"),
            ledger=self.ledger,
        )
        self.database = RealTimeDatabase(clock=self.clock, policy=POLICY, arbitration=arbitration)
        self.supplied = tuple(SuppliedDataSet(data_set=d, period_s=1000.0) for d in data_sets)
        self.database.add("devices", self.supplied)
        self.counters = Counters()
        self.connect(self.execute)

    def connect(self, execute):
        self.database.arbitration.add("devices", CONTROLS, execute)

    async def execute(self, control):
        self.executed.append((control.reference, control.value))
        return self.answer

    def publish(self, data_set, *values, time_ns=None):
        moment = self.clock.wall_ns() if time_ns is None else time_ns
        self.database.publish(Report(data_set, tuple(values), (0,) * len(values), moment))

    def count(self, number):
        """Publishes a Report of the meter that carries a number."""
        self.publish(METER, float(number), 230.5, time_ns=1_800_000_000_000_000_000 + number * 1_000_000)

    def publish_all(self):
        self.publish(INVERTER, 3000.0, -1500.0, 55.5, 1, "Fronius")
        self.publish(METER, 250.0, 230.5)
        self.publish(SECRET, 1.0)

    def connector(self, url, **keys):
        context = SiteContext(
            site=SITE,
            directory=self.state,
            state_directory=self.state,
            supplied=self.supplied,
            controls=CONTROLS,
            **self.told,
        )
        keys.setdefault("clients", {"grid": ("GESSCON",), "screen": ("VIEWER",)})
        return MQTT.create("broker", MqttConfig(url=url, **keys), context)

    def services(self):
        folder = self.state / "broker"
        folder.mkdir(exist_ok=True)
        return Services(
            name="broker",
            database=self.database,
            clock=self.clock,
            log=structlog.get_logger("mqtt"),
            counters=self.counters,
            state_directory=folder,
            principal=Principal(name="broker", roles=frozenset({"EB"})),
        )

    @contextlib.asynccontextmanager
    async def running(self, url, *, connected=True, **keys):
        task = asyncio.create_task(self.connector(url, **keys).run(self.services()))
        try:
            if connected:
                await self.until(lambda: self.counters.values.get("connected"), task)
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, condition, task=None, timeout_s=30):
        async with asyncio.timeout(timeout_s):
            while not condition():
                if task is not None and task.done():
                    await task
                await asyncio.sleep(0.01)


class Consumer:
    """An independent MQTT client: plain paho in a thread of its own."""

    def __init__(self, port, topics, *, name="consumer", version=paho.MQTTv311, persistent=True):
        self.received = []
        self.subscribed = threading.Event()
        self.topics = topics
        if version == paho.MQTTv5:
            self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=version)
        else:
            self.client = paho.Client(
                paho.CallbackAPIVersion.VERSION2,
                client_id=name,
                protocol=version,
                clean_session=not persistent,
            )
        self.client.on_connect = self._connected
        self.client.on_message = lambda client, data, message: self.received.append(message)
        self.client.on_subscribe = lambda *arguments: self.subscribed.set()
        self.client.on_disconnect = lambda *arguments: self.subscribed.clear()
        self.client.reconnect_delay_set(0.05, 0.2)
        self.client.connect("127.0.0.1", port, keepalive=30)
        self.client.loop_start()

    def _connected(self, client, data, flags, code, properties):
        client.subscribe([(topic, 1) for topic in self.topics])

    async def ready(self):
        while not self.subscribed.is_set():
            await asyncio.sleep(0.01)

    async def message(self, topic, *, after=0, timeout_s=20):
        """Returns the first message on a topic, counted from the ``after``th received."""
        async with asyncio.timeout(timeout_s):
            while True:
                for message in self.received[after:]:
                    if message.topic == topic:
                        return message
                await asyncio.sleep(0.01)

    def ask(self, topic, pack, **more):
        payload = pack if isinstance(pack, bytes) else json.dumps(pack).encode()
        self.client.publish(topic, payload, qos=1, **more).wait_for_publish(10)

    async def close(self):
        await asyncio.to_thread(self.client.disconnect)
        await asyncio.to_thread(self.client.loop_stop)


@pytest.fixture
async def consume(broker):
    """Makes independent consumers of the broker."""
    made = []

    async def make(*topics, **more):
        consumer = await asyncio.to_thread(Consumer, broker.port, topics or ("s4g/#",), **more)
        made.append(consumer)
        await consumer.ready()
        return consumer

    yield make
    for consumer in made:
        await consumer.close()


class Wire:
    """A TCP proxy in front of the broker.

    It can be cut, left open without passing anything on (``silent``), or keep back what the broker says (``deaf``).
    """

    def __init__(self, port):
        self.target = port
        self.open = True
        self.silent = self.deaf = False
        self.pairs = []
        self.connections = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"mqtt://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *arguments):
        self.cut()
        self.server.close()

    def cut(self):
        self.open = False
        for writer in self.pairs:
            writer.transport.abort()
        self.pairs.clear()

    def mend(self):
        self.open, self.silent, self.deaf = True, False, False

    async def _serve(self, reader, writer):
        if not self.open:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        self.pairs += [writer, back]
        await asyncio.gather(
            self._pass(reader, back, lambda: self.silent),
            self._pass(there, writer, lambda: self.silent or self.deaf),
        )

    async def _pass(self, reader, writer, kept_back):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if not kept_back():
                    writer.write(data)
        writer.close()


@pytest.fixture
async def wire(broker):
    async with Wire(broker.port) as made:
        yield made


@pytest.fixture
async def house(tmp_path):
    site = House(tmp_path / "state")
    yield site
    await site.ledger.close()


@pytest.fixture(params=list(BrokerKind))
def kind(request):
    return request.param


@pytest.fixture
async def broker(kind, tmp_path):
    async with EmbeddedBroker(tmp_path / "eb", kind=kind) as running:
        yield running


@pytest.fixture(autouse=True)
def quick_reconnect(monkeypatch):
    monkeypatch.setattr(connector_module, "FIRST_BACKOFF_S", 0.05)
    monkeypatch.setattr(connector_module, "MAX_BACKOFF_S", 0.2)
