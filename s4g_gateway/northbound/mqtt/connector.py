"""The connector: one connection to the broker, what goes out, what comes in, and starting over."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from types import MappingProxyType

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from s4g_gateway.codecs.senml import Format, encode_pack
from s4g_gateway.errors import ConfigError, GatewayError, Problem, ProfileError, TransientError
from s4g_gateway.interfaces.topics import NAME_PATTERN, ROOT
from s4g_gateway.northbound.mqtt.client import BrokerClient, Endpoint, refuses_version
from s4g_gateway.northbound.mqtt.commands import CommandDesk
from s4g_gateway.northbound.mqtt.config import MqttConfig, check_config, tls_context
from s4g_gateway.northbound.mqtt.data_sets import INTERFACE, ONLINE, DataSetPublisher
from s4g_gateway.northbound.mqtt.events import LessagEvents
from s4g_gateway.northbound.mqtt.outbox import DirectOutbox, JournalledOutbox, Outbox
from s4g_gateway.northbound.mqtt.packs import named
from s4g_gateway.northbound.mqtt.requests import RequestDesk
from s4g_gateway.northbound.mqtt.retained import RetainedTopics
from s4g_gateway.northbound.mqtt.together import reasons, run_together
from s4g_gateway.profiles.senml.fast_encoders import time_to_wire_s
from s4g_gateway.runtime.contract import ConnectorType, Services, SiteContext
from s4g_gateway.runtime.journal import Journal
from s4g_gateway.security import Principal

FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
# A connection that lasted this long was a good one: the next back-off starts anew.
GOOD_CONNECTION_S = 30.0
TICK_S = 1.0
MAX_INCOMING = 1000
MAX_COMMANDS = 64
"""Commands and requests under way at one time; further ones wait."""
_NAME = re.compile(NAME_PATTERN + r"\Z")
_COMMAND = "command"
_REQUESTS = frozenset({"points", "read", "subscribe"})
_NO_ROLES: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Session:
    outbox: Outbox
    requests: RequestDesk
    retained: RetainedTopics


class MqttConnector:
    """A connection to an event broker, compiled from the site and not yet open.

    Args:
        name: name of the connector.
        config: its keys.
        context: the site.

    Raises:
        ConfigError: every contradiction, with keys relative to the connector's table.
    """

    def __init__(self, name: str, config: MqttConfig, context: SiteContext) -> None:
        problems = check_config(config, context.directory)
        if problems:
            raise ConfigError(problems)
        self.name = name
        self.config = config
        self._site = context.site
        self._directory = context.directory
        self._form = Format(config.format)
        self._head = f"{ROOT}/{context.site}"
        self._online = f"{self._head}/{config.node}/{INTERFACE}/{ONLINE}"
        self._roles = MappingProxyType({name: frozenset(roles) for name, roles in config.clients.items()})
        try:
            self.events = LessagEvents(context, config.node, self._form, config.measurement_period_s)
            self.data_sets = DataSetPublisher(
                [
                    entry.data_set
                    for entry in context.supplied
                    if config.publish != "none"
                    and any(fnmatchcase(entry.data_set.name, pattern) for pattern in config.include)
                ],
                site=context.site,
                node=config.node,
                form=self._form,
                mode="whole" if config.publish == "whole" else "changes",
                integrity_period_s=config.integrity_period_s,
            )
        except ProfileError as error:
            problem = Problem(file="", key="format", found=str(error), expected="points that SenML can carry")
            raise ConfigError([problem]) from error
        self._is_version_5 = config.protocol != "3.1.1"
        self._client: BrokerClient | None = None
        self._session: _Session | None = None
        self._under_way: set[asyncio.Task[bytes | None]] = set()

    async def run(self, services: Services) -> None:
        """Serves the broker until cancelled; see ``NorthboundConnector``."""
        async with contextlib.AsyncExitStack() as stack:
            outbox, journal = await self._outbox(services, stack)
            requests = RequestDesk(
                services,
                self._site,
                self._form,
                max_lease_s=self.config.max_lease_s,
                max_lease_points=self.config.max_lease_points,
            )
            commands = CommandDesk(services, self._site, self.config.max_message_bytes)
            retained = RetainedTopics(
                services.state_directory / "topics", f"{self._head}/{self.config.node}/", services.log
            )
            for part in (self.data_sets, self.events):
                stack.callback(part.stop)
                part.start(services, outbox)
            stack.callback(requests.stop)
            self._session = _Session(outbox, requests, retained)
            stack.callback(self._forget_session)
            retained.serve(self._state_topics())
            await run_together(
                self.events.run(),
                self._tick(services, requests, journal),
                self._connections(services, outbox, requests, commands),
            )

    def _forget_session(self) -> None:
        self._session = None

    def adopt(self, successor: MqttConnector) -> None:
        """Goes on with other points behind the same connection; see ``AdoptingConnector``."""
        self.data_sets.adopt(successor.data_sets)
        self.events.adopt(successor.events)
        session = self._session
        if session is None:
            return  # its journal is being opened
        session.requests.adopt()
        for topic in session.retained.serve(self._state_topics()):
            # Behind everything that has been said under it, so that it is the last word.
            session.outbox.put(topic, b"", retain=True)

    def _state_topics(self) -> tuple[str, ...]:
        return (*self.data_sets.topics, *self.events.topics)

    async def _outbox(
        self, services: Services, stack: contextlib.AsyncExitStack
    ) -> tuple[Outbox, Journal | None]:
        if self.config.qos == 0:
            return DirectOutbox(services.counters), None
        journal = await stack.enter_async_context(
            Journal(
                services.state_directory / "journal",
                max_bytes=self.config.journal_max_bytes,
                max_age_s=self.config.journal_max_age_s,
                sync_interval_s=self.config.journal_sync_s,
                clock=services.clock,
            )
        )
        outbox = JournalledOutbox(
            journal,
            services.counters,
            window=self.config.inflight,
            max_bytes=self.config.max_message_bytes,
            content_type=self._form.media_type,
            log=services.log,
        )
        return outbox, journal

    async def _tick(self, services: Services, requests: RequestDesk, journal: Journal | None) -> None:
        counters = services.counters
        while True:
            self.data_sets.publish_due()
            requests.expire()
            if journal is not None:
                counters.set("journalled_total", journal.appended_total)
                counters.set("discarded_total", journal.discarded_total)
                counters.set("backlog", journal.backlog)
                counters.set("journal_bytes", journal.size_bytes)
                counters.set("journal_failing", journal.failing)
            await asyncio.sleep(TICK_S)

    # -- connections -----------------------------------------------------------------------------

    async def _connections(
        self, services: Services, outbox: Outbox, requests: RequestDesk, commands: CommandDesk
    ) -> None:
        loop = asyncio.get_running_loop()
        backoff_s = FIRST_BACKOFF_S
        told = False
        while True:
            since = loop.time()
            try:
                async with self._connected() as client:
                    services.log.info("broker connected", url=self.config.url, mqtt_5=client.is_version_5)
                    services.counters.add("connections_total")
                    told = False
                    since = loop.time()
                    await self._serve(client, services, outbox, requests, commands)
            except* (aiomqtt.MqttError, OSError, TransientError) as group:
                if loop.time() - since >= GOOD_CONNECTION_S:
                    backoff_s = FIRST_BACKOFF_S
                if not told:
                    told = True
                    services.log.warning("broker lost", url=self.config.url, reason=reasons(group))
            finally:
                services.counters.set("connected", 0)
            # Full jitter: a broker that comes back is not met by all its gateways at once.
            await asyncio.sleep(random.uniform(0.1, 1.0) * backoff_s)  # noqa: S311 - no secret
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[BrokerClient]:
        client = await self._open()
        self._client = client
        try:
            yield client
        finally:
            self._client = None
            await client.close()

    async def _open(self) -> BrokerClient:
        config = self.config
        endpoint = Endpoint(
            host=config.host,
            port=config.port,
            client_id=config.client_id or f"{self._site}-{config.node}",
            keepalive_s=config.keepalive_s,
            # Without a time, which is "now" for whoever reads it: the broker sends it at a time unknown here.
            will=aiomqtt.Will(self._online, self._online_pack(None, online=False), qos=1, retain=True),
            context=partial(tls_context, config, self._directory),
        )
        while True:
            version = aiomqtt.ProtocolVersion.V5 if self._is_version_5 else aiomqtt.ProtocolVersion.V311
            client = BrokerClient(endpoint, version, MAX_INCOMING)
            try:
                return await client.__aenter__()
            except aiomqtt.MqttError as error:
                await client.close()
                if config.protocol != "auto" or not self._is_version_5 or not refuses_version(error):
                    raise
                self._is_version_5 = False
            except BaseException:
                await client.close()
                raise

    def _online_pack(self, time_ns: int | None, *, online: bool) -> bytes:
        at_s = None if time_ns is None else time_to_wire_s(time_ns)
        return encode_pack(
            [named(f"{self._site}/{self.config.node}/{ONLINE}", online, at_s=at_s)], self._form
        )

    async def _serve(
        self,
        client: BrokerClient,
        services: Services,
        outbox: Outbox,
        requests: RequestDesk,
        commands: CommandDesk,
    ) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(client.lost())
                await client.subscribe(f"{self._head}/{self.config.node}/{INTERFACE}/+/+", qos=1)
                # Only now can a command reach it.
                services.counters.set("connected", 1)
                sending = tasks.create_task(outbox.run(client))
                # The outbox must know what is backlog before fresh states are put behind it.
                await asyncio.sleep(0)
                if not sending.done():
                    client.post(
                        self._online, self._online_pack(services.clock.wall_ns(), online=True), retain=True
                    )
                    self.data_sets.publish_due(everything=True)
                    self.events.publish_status()
                    requests.renew()
                    self._empty_ended(client)
                await self._receive(client, services, requests, commands, tasks)
        except asyncio.CancelledError:
            # A clean end sends no will.
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                pack = self._online_pack(services.clock.wall_ns(), online=False)
                await client.publish(self._online, pack, qos=1, retain=True, timeout=1.0)
            raise

    def _empty_ended(self, client: BrokerClient) -> None:
        if self._session is not None:
            retained = self._session.retained
            for topic in sorted(retained.ended):
                client.post(topic, b"", retain=True, done=partial(retained.emptied, topic))

    # -- what comes in ---------------------------------------------------------------------------

    async def _receive(
        self,
        client: BrokerClient,
        services: Services,
        requests: RequestDesk,
        commands: CommandDesk,
        tasks: asyncio.TaskGroup,
    ) -> None:
        free = asyncio.Semaphore(MAX_COMMANDS)
        async for message in client.messages:
            levels = message.topic.value.split("/")
            slug, sender = levels[-2], levels[-1]
            payload = message.payload if isinstance(message.payload, bytes) else b""
            if message.retain or len(payload) > self.config.max_message_bytes or not _NAME.match(sender):
                # A retained command is one from the past.
                services.counters.add("ignored_total")
                continue
            if slug != _COMMAND and slug not in _REQUESTS:
                services.counters.add("ignored_total")
                continue
            principal = Principal(name=sender, roles=self._roles.get(sender, _NO_ROLES))
            await free.acquire()
            if slug == _COMMAND:
                work = self._command(principal, payload, message, commands)
            else:
                work = self._request(slug, principal, payload, message, requests)
            task = tasks.create_task(self._contained(work, services))
            task.add_done_callback(lambda _: free.release())

    @staticmethod
    async def _contained(work: Coroutine[None, None, None], services: Services) -> None:
        try:
            await work
        except GatewayError as error:
            # Such as a point that a reload took away while it was being read.
            services.counters.add("failed_total")
            services.log.error("request failed", reason=str(error))  # noqa: TRY400

    async def _command(
        self, principal: Principal, payload: bytes, message: aiomqtt.Message, commands: CommandDesk
    ) -> None:
        # Shielded: what has gone to a device is finished and noted, whether or not the broker is still there.
        task = asyncio.create_task(commands.handle(principal, payload))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        answer = await asyncio.shield(task)
        if answer is not None:
            topic = f"{self._head}/{self.config.node}/{INTERFACE}/{_COMMAND}-answer"
            self._respond(principal, message, topic, answer)

    async def _request(
        self,
        slug: str,
        principal: Principal,
        payload: bytes,
        message: aiomqtt.Message,
        requests: RequestDesk,
    ) -> None:
        head = f"{self._head}/{principal.name}/{INTERFACE}"
        answer = partial(self._respond, principal, message, f"{head}/{slug}-answer/{self.config.node}")
        report = partial(self._post, f"{head}/report/{self.config.node}")
        await requests.handle(slug, principal, payload, answer, report)

    def _respond(self, principal: Principal, message: aiomqtt.Message, topic: str, payload: bytes) -> None:
        properties = None
        asked = message.properties
        if self._client is not None and self._client.is_version_5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho has no types there
            properties.ContentType = self._form.media_type
            correlation = getattr(asked, "CorrelationData", None)
            if correlation is not None:
                properties.CorrelationData = correlation
            wanted = getattr(asked, "ResponseTopic", None)
            # Only to the asker itself: a gateway must not publish wherever a client points it to.
            if isinstance(wanted, str) and self._belongs_to(wanted, principal.name):
                topic = wanted
        if self._client is not None:
            self._client.post(topic, payload, properties=properties)

    def _belongs_to(self, topic: str, client: str) -> bool:
        levels = topic.split("/")
        return (
            topic.startswith(f"{ROOT}/")
            and len(levels) == ROOT.count("/") + 6
            and levels[3] == client
            and levels[-1] == self.config.node
            and not set(topic) & set("+#\0")
        )

    def _post(self, topic: str, payload: bytes) -> None:
        if self._client is not None:
            self._client.post(topic, payload)


def _create(name: str, config: MqttConfig, context: SiteContext) -> MqttConnector:
    return MqttConnector(name, config, context)


MQTT: ConnectorType[MqttConfig] = ConnectorType(
    config=MqttConfig,
    create=_create,
    summary="SenML over MQTT: measurements and status to an event broker, set-points and requests back",
)
