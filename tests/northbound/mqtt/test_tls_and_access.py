"""Mutual TLS and access lists of a real Mosquitto, with certificates made on the spot."""

import asyncio
import datetime as dt
import socket
import ssl

import aiomqtt
import pytest
import structlog.testing
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from s4g_gateway.northbound.mqtt import MqttTls
from s4g_gateway.runtime.broker import BrokerKind, find_broker

ACCESS_LIST = """
pattern write s4g/v1/+/%u/+/+
pattern write s4g/v1/+/+/+/+/%u
pattern read s4g/v1/+/%u/+/+/+
user auditor
topic read s4g/#
user narrow
topic deny s4g/v1/house/narrow/smx-eb/pcc-meter
"""


def name_of(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def key_usage(*, authority):
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    allowed = {"key_cert_sign", "crl_sign"} if authority else {"digital_signature"}
    return x509.KeyUsage(**{name: name in allowed for name in names})


class Authority:
    """A small certificate authority in a folder."""

    def __init__(self, folder, name="ca"):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name
        self.certificate = self.sign(name_of(name), self.key.public_key(), authority=True)
        (folder / f"{name}.pem").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, subject, public_key, *, authority=False, host=None):
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name_of(self.name))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .add_extension(key_usage(authority=authority), critical=True)
        )
        if host:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name, host=None):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.sign(name_of(name), key.public_key(), host=host)
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


@pytest.fixture
async def secure(tmp_path):
    """A Mosquitto that wants certificates and lets clients publish under their own name only."""
    folder = tmp_path / "pki"
    authority = Authority(folder)
    authority.issue("broker", host="localhost")
    for name in ("smx", "auditor", "grid", "narrow"):
        authority.issue(name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "acl").write_text(ACCESS_LIST)
    (folder / "mosquitto.conf").write_text(
        f"listener {port} 127.0.0.1\ncafile {folder}/ca.pem\ncertfile {folder}/broker.pem\n"
        f"keyfile {folder}/broker.key\nrequire_certificate true\nuse_identity_as_username true\n"
        f"acl_file {folder}/acl\nuser root\nset_tcp_nodelay true\n"
    )
    _, program = find_broker(BrokerKind.MOSQUITTO)
    process = await asyncio.create_subprocess_exec(
        str(program), "-c", str(folder / "mosquitto.conf"), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        yield folder, port
    finally:
        process.terminate()
        await process.wait()


def context(folder, name):
    made = ssl.create_default_context(cafile=folder / "ca.pem")
    made.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return made


def keys(folder, name, **more):
    tls = MqttTls(
        ca=str(folder / "ca.pem"), certificate=str(folder / f"{name}.pem"), key=str(folder / f"{name}.key")
    )
    return {"tls": tls, "node": name, **more}


async def test_gateway_and_client_with_certificates(house, secure):
    folder, port = secure
    house.publish_all()
    async with (
        aiomqtt.Client(
            "localhost", port, identifier="auditor", tls_context=context(folder, "auditor")
        ) as auditor,
        aiomqtt.Client("localhost", port, identifier="grid", tls_context=context(folder, "grid")) as grid,
    ):
        await auditor.subscribe("s4g/#", qos=1)
        await grid.subscribe("s4g/v1/house/grid/+/+/+", qos=1)
        async with house.running(f"mqtts://localhost:{port}", **keys(folder, "smx")), asyncio.timeout(20):
            async for message in auditor.messages:
                if message.topic.value == "s4g/v1/house/smx/smx-eb/pcc-meter":
                    break
            await grid.publish("s4g/v1/house/smx/smx-eb/read/grid", b'[{"n":"house/PCC1/MMXU1.TotW"}]', qos=1)
            answer = await anext(grid.messages)
            assert house.values(answer)["house/PCC1/MMXU1.TotW"] == 250
            # Under another's name the broker lets nothing through.
            await grid.publish("s4g/v1/house/smx/smx-eb/read/other", b"", qos=1)
            await grid.publish("s4g/v1/house/smx/smx-eb/read/grid", b"", qos=1)
            await anext(grid.messages)
            assert house.counters.values["requests_total"] == 2


async def test_nobody_is_talked_to_without_the_right_certificates(house, secure, tmp_path):
    folder, port = secure
    Authority(tmp_path / "other", "ca")
    mine = keys(folder, "smx")
    foreign = MqttTls(
        ca=str(tmp_path / "other" / "ca.pem"), certificate=mine["tls"].certificate, key=mine["tls"].key
    )
    cases = (
        (f"mqtts://localhost:{port}", {"tls": foreign}, "certificate verify failed"),
        (f"mqtts://127.0.0.1:{port}", mine, "certificate is not valid for '127.0.0.1'"),
        # The broker's refusal comes after the handshake, as TLS 1.3 has it.
        (f"mqtts://localhost:{port}", {"tls": MqttTls(ca=mine["tls"].ca)}, "closed before it was accepted"),
    )
    for url, more, reason in cases:
        with structlog.testing.capture_logs() as logs:
            async with house.running(url, connected=False, **more) as task:
                await house.until(lambda: logs, task)
        assert [entry["event"] for entry in logs] == ["broker lost"]
        assert reason in logs[0]["reason"]
        assert not house.counters.values.get("connections_total")


async def test_topic_that_the_broker_refuses_is_counted_and_holds_up_nothing(house, secure):
    folder, port = secure
    url = f"mqtts://localhost:{port}"
    async with (
        aiomqtt.Client(
            "localhost", port, identifier="auditor", tls_context=context(folder, "auditor")
        ) as auditor,
        house.running(url, **keys(folder, "narrow", integrity_period_s=1000)),
        asyncio.timeout(20),
    ):
        await auditor.subscribe("s4g/#", qos=1)
        house.publish_all()
        house.publish(house.meter, 1.0, 2.0)
        async for message in auditor.messages:
            assert message.topic.value != "s4g/v1/house/narrow/smx-eb/pcc-meter"
            if message.topic.value == "s4g/v1/house/narrow/smx-eb/secret" and not message.retain:
                break
        await house.until(lambda: house.counters.values.get("refused_total", 0) >= 2)
        await house.until(lambda: house.counters.values.get("backlog") == 0)
