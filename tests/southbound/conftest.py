import asyncio
import contextlib
import ssl
from dataclasses import replace

import pytest
import structlog

from s4g_gateway.model import Control, Origin, OriginCategory
from s4g_gateway.runtime.clock import SystemClock
from s4g_gateway.runtime.contract import Counters, Services, SiteContext
from s4g_gateway.security import Principal
from s4g_gateway.simulators.house import House
from s4g_gateway.simulators.hybrid_inverter import HybridInverter
from s4g_gateway.simulators.modbus_server import ModbusTcpServer
from s4g_gateway.simulators.modbus_slave import Slave
from s4g_gateway.southbound.modbus_config import SunspecConfig, SunspecDeviceConfig
from s4g_gateway.southbound.sunspec import SUNSPEC


class Database:
    """Takes Reports; lets a test wait for what it wants to see."""

    def __init__(self):
        self.reports = []
        self._news = asyncio.Condition()

    def publish(self, report):
        self.reports.append(report)

    def value(self, reference):
        for report in reversed(self.reports):
            if reference in report.data_set.index:
                return report.values[report.data_set.index[reference]]
        return None

    def quality(self, reference):
        for report in reversed(self.reports):
            if reference in report.data_set.index:
                return report.quality[report.data_set.index[reference]]
        return None


class Log:
    """Keeps what is logged."""

    def __init__(self):
        self.lines = []

    def _keep(self, level):
        return lambda event, **facts: self.lines.append((level, event, facts))

    def bind(self, **facts):
        return self

    def __getattr__(self, level):
        return self._keep(level)

    def events(self):
        return [event for _, event, _ in self.lines]


async def until(condition, timeout_s=10.0):
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def wait_until():
    return until


class Running:
    """A connector that runs, with everything around it in sight."""

    def __init__(self, connector, directory):
        self.connector = connector
        self.database, self.log, self.counters = Database(), Log(), Counters()
        self.services = Services(
            name="test",
            database=self.database,
            clock=SystemClock(),
            log=self.log,
            counters=self.counters,
            state_directory=directory,
            principal=Principal(name="test", roles=frozenset()),
        )
        self.task = asyncio.create_task(connector.run(self.services))

    async def stop(self):
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def operate(self, reference, value, **more):
        origin = Origin(category=OriginCategory.MAINTENANCE, identity="test")
        control = Control(
            reference=reference, value=value, origin=origin, time_ns=self.services.clock.wall_ns()
        )
        return await self.connector.execute(replace(control, **more))


@pytest.fixture
async def run(tmp_path):
    """Runs connectors; stops them at the end."""
    running = []

    def start(connector):
        running.append(Running(connector, tmp_path))
        return running[-1]

    yield start
    for each in running:
        await each.stop()


@pytest.fixture
def context(tmp_path):
    return SiteContext(site="test", directory=tmp_path, state_directory=tmp_path)


@pytest.fixture
def inverter():
    return HybridInverter(House(seed=3))


@pytest.fixture
async def serve():
    """Serves units over TCP; stops them at the end."""
    servers = []

    async def start(units, **more):
        server = ModbusTcpServer(Slave(units), **more)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()


FAST = {"timeout_s": 0.3, "retry_min_s": 0.05, "retry_max_s": 0.2, "connect_timeout_s": 1.0}


@pytest.fixture
def sunspec(context):
    """Makes a sunspec connector for devices at a port, with short times."""

    def make(port, *devices, **more):
        devices = devices or (SunspecDeviceConfig(template="fronius-symo-hybrid", period_s=0.05),)
        return SUNSPEC.create(
            "test", SunspecConfig(host="127.0.0.1", port=port, device=devices, **{**FAST, **more}), context
        )

    return make


@pytest.fixture(autouse=True)
def _quiet():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.fixture
def certificates(tmp_path):
    """A throw-away authority with a certificate for 127.0.0.1 and one for a client."""
    import datetime as dt
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = dt.datetime.now(dt.UTC)

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def key_usage(is_ca):
        names = (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        )
        allowed = {"key_cert_sign", "crl_sign"} if is_ca else {"digital_signature"}
        return x509.KeyUsage(**{name: name in allowed for name in names})

    def certificate(subject, key, issuer, issuer_key, *, is_ca):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
            )
            .add_extension(key_usage(is_ca), critical=True)
        )
        if not is_ca:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    def save(file, *parts):
        (tmp_path / file).write_bytes(b"".join(parts))

    def pem(thing):
        if isinstance(thing, x509.Certificate):
            return thing.public_bytes(serialization.Encoding.PEM)
        return thing.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    ca_key = ec.generate_private_key(ec.SECP256R1())
    save("ca.pem", pem(certificate("ca", ca_key, "ca", ca_key, is_ca=True)))
    for who in ("device", "gateway"):
        key = ec.generate_private_key(ec.SECP256R1())
        save(f"{who}.pem", pem(certificate(who, key, "ca", ca_key, is_ca=False)))
        save(f"{who}.key", pem(key))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.pem"))
    server.load_cert_chain(tmp_path / "device.pem", tmp_path / "device.key")
    server.verify_mode = ssl.CERT_REQUIRED
    return server
