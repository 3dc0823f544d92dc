"""The front: silent, hostile and too many clients; certificates; a worker that dies."""

import asyncio
import datetime as dt
import os
import random
import signal
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from s4g_gateway.errors import ConfigError
from s4g_gateway.northbound.iec104 import TlsConfig
from s4g_gateway.northbound.iec61850 import ClientTable, Iec61850Config, Iec61850Server
from s4g_gateway.runtime.contract import SiteContext
from s4g_gateway.workers.libiec61850.client import FC
from s4g_gateway.workers.libiec61850.control import ControlObject

CONNECTION_REQUEST = bytes.fromhex("0300001611e00000000100c1020000c2020001c0010a")
CONNECTION_CONFIRM = b"\xd0"


async def closed_by_peer(reader):
    async with asyncio.timeout(60):
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass


async def test_silent_connections_are_cut_off_and_block_nobody(bench_tools, tmp_path):
    serving, client, _ = bench_tools
    table = ClientTable(name="all", max_connections=20)
    async with serving(tmp_path, association_timeout_s=1.0, client=(table,), max_connections=20) as bench:
        silent = [await asyncio.open_connection("127.0.0.1", bench.port) for _ in range(10)]
        async with client(bench.port) as peer:
            assert await asyncio.to_thread(peer.read, "ESS1/LLN0.Beh.stVal", FC.ST) == 1
            for reader, _ in silent:
                await closed_by_peer(reader)
            assert await asyncio.to_thread(peer.read, "ESS1/LLN0.Beh.stVal", FC.ST) == 1
        for _, writer in silent:
            writer.close()


async def test_half_an_association_is_cut_off(bench_tools, tmp_path):
    serving, _, _ = bench_tools
    async with serving(tmp_path, association_timeout_s=1.0) as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(CONNECTION_REQUEST)
        assert (await reader.readexactly(6))[5:6] == CONNECTION_CONFIRM
        await closed_by_peer(reader)
        writer.close()


async def test_an_idle_association_is_closed(bench_tools, tmp_path):
    serving, client, until = bench_tools
    async with serving(tmp_path, idle_timeout_s=0.5) as bench, client(bench.port) as peer:
        await until(lambda: not peer.is_connected)


async def test_one_client_cannot_take_every_connection(bench_tools, tmp_path):
    serving, client, _ = bench_tools
    table = ClientTable(name="all", max_connections=2)
    async with serving(tmp_path, client=(table,)) as bench, client(bench.port), client(bench.port):
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        await closed_by_peer(reader)
        writer.close()
        assert bench.counters.values["connections_rejected_total"] == 1


async def test_what_is_no_tpkt_never_reaches_the_worker(bench_tools, tmp_path):
    serving, _, _ = bench_tools
    async with serving(tmp_path) as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await closed_by_peer(reader)
        writer.close()
        assert "associations" not in bench.counters.values or not bench.counters.values["associations"]


async def recorded(port, peer_work):
    """Lets a client work through a relay and returns what it sent, frame by frame."""
    frames = []

    async def relay(reader, writer):
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)

        async def down():
            while data := await up_reader.read(65536):
                writer.write(data)

        task = asyncio.create_task(down())
        try:
            while True:
                head = await reader.readexactly(4)
                frame = head + await reader.readexactly(int.from_bytes(head[2:4], "big") - 4)
                frames.append(frame)
                up_writer.write(frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            task.cancel()
            up_writer.close()
            writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        await peer_work(server.sockets[0].getsockname()[1])
    finally:
        server.close()
    return frames


def mutated(rng, frames):
    """Returns the frames with something wrong in one of them, its TPKT length mostly right."""
    at = rng.randrange(len(frames))
    frame = bytearray(frames[at])
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(4)
        place = rng.randrange(4, len(frame)) if len(frame) > 5 else 4
        if kind == 0:
            frame[place % len(frame)] = rng.randrange(256)
        elif kind == 1:
            del frame[place : place + rng.randint(1, 8)]
        elif kind == 2:
            frame[place:place] = rng.randbytes(rng.randint(1, 8))
        else:
            frame[place % len(frame)] ^= 1 << rng.randrange(8)
    if rng.random() < 0.9:
        frame[0:4] = bytes((3, 0)) + len(frame).to_bytes(2, "big")
    return [*frames[:at], bytes(frame), *frames[at + 1 :]]


async def test_mutated_frames_crash_nothing_and_change_nothing(bench_tools, tmp_path):
    serving, client, _ = bench_tools
    table = ClientTable(name="all", max_connections=50)
    rng = random.Random(61850)
    async with serving(tmp_path, client=(table,), max_connections=50) as bench:

        async def work(port):
            async with client(port) as peer:

                def ask():
                    peer.read("ESS1/DSTO1.EffWh", FC.MX)
                    peer.variables("PCC1")
                    peer.read_data_set("PCC1/LLN0.MX01")
                    peer.specification("PCC1/MMXU1.TotW", FC.MX)
                    peer.directory("PCC1/LLN0")

                await asyncio.to_thread(ask)

        frames = await recorded(bench.port, work)
        assert len(frames) > 6
        bench.publish([4200.0, -1500.0])
        process = bench.counters.values["worker_running"]
        for _ in range(200):
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.port)
            for frame in mutated(rng, frames):
                writer.write(frame)
            writer.write_eof()
            await closed_by_peer(reader)
            writer.close()
        async with client(bench.port) as peer:
            values = await asyncio.to_thread(
                lambda: (
                    peer.read("ESS1/DSTO1.EffWh.mag.f", FC.MX),
                    peer.read("PCC1/MMXU1.TotW.mag.f", FC.MX),
                )
            )
        assert values == (4200.0, -1500.0)
        assert bench.device.seen == []
        assert bench.counters.values.get("worker_restarts_total", 0) == 0
        assert process == bench.counters.values["worker_running"] == 1


async def test_a_killed_worker_comes_back_with_the_present_values(bench_tools, tmp_path):
    serving, client, until = bench_tools
    async with serving(tmp_path) as bench:
        bench.publish([4200.0, -1500.0])
        async with client(bench.port) as peer:
            children = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _is_worker(path)]
            (worker,) = children
            os.kill(worker, signal.SIGKILL)
            await until(lambda: not peer.is_connected)
        await until(
            lambda: (
                bench.counters.values.get("worker_restarts_total") == 1
                and bench.counters.values["worker_running"]
            )
        )
        async with client(bench.port) as peer:
            await until(lambda: peer.read("ESS1/DSTO1.EffWh.mag.f", FC.MX) == 4200.0)


async def test_who_goes_round_the_front_is_cut_off(bench_tools, tmp_path):
    serving, client, _ = bench_tools
    async with serving(tmp_path) as bench:
        (worker,) = [path for path in Path("/proc").glob("[0-9]*") if _is_worker(path)]
        # the one port on which the worker listens
        sockets = {path.readlink().name for path in (worker / "fd").iterdir()}
        rows = [line.split() for line in (worker / "net/tcp").read_text().splitlines()[1:]]
        (port,) = [
            int(row[1].split(":")[1], 16)
            for row in rows
            if row[3] == "0A" and f"socket:[{row[9]}]" in sockets
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(CONNECTION_REQUEST)
        await closed_by_peer(reader)
        writer.close()
        async with client(bench.port) as peer:
            assert await asyncio.to_thread(peer.read, "ESS1/LLN0.Beh.stVal", FC.ST) == 1


def _is_worker(process):
    try:
        command = (process / "cmdline").read_bytes()
        parent = int((process / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return False
    return b"iec61850_server" in command and parent == os.getpid()


# -- certificates --------------------------------------------------------------------------------------


class Authority:
    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(name, self.key.public_key(), authority=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, name, public_key, *, authority=False):
        now = dt.datetime.now(dt.UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=authority,
                    crl_sign=authority,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, name):
        key = ec.generate_private_key(ec.SECP256R1())
        chain, secret = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        chain.write_bytes(self._sign(name, key.public_key()).public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(chain), str(secret)


async def through_tls(port, context):
    """Returns the port of a relay that speaks TLS to the server and plain TCP to a client."""

    async def relay(reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        except OSError:
            writer.close()
            return

        async def pump(source, sink):
            try:
                while data := await source.read(65536):
                    sink.write(data)
            except OSError:
                pass
            sink.close()

        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


def context_for(authority, chain=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(authority.path)
    if chain is not None:
        context.load_cert_chain(*chain)
    return context


async def test_the_certificates_name_is_the_originator(bench_tools, tmp_path):
    serving, client, _ = bench_tools
    authority = Authority(tmp_path, "ca")
    chain, key = authority.issue("gateway")
    tls = TlsConfig(certificate=chain, key=key, ca=str(authority.path))
    tables = (
        ClientTable(name="dso", identities=("scada-?",), roles=("SCADA",)),
        ClientTable(name="viewers", identities=("viewer",), roles=("VIEWER",)),
    )

    def operate(peer):
        return ControlObject(peer, "DE1/DWGC1.WSpt").operate(7.0)

    async with serving(tmp_path, tls=tls, client=tables) as bench:
        answers = {}
        for name in ("scada-1", "viewer"):
            relay, port = await through_tls(bench.port, context_for(authority, authority.issue(name)))
            async with client(port) as peer:
                assert await asyncio.to_thread(peer.read, "ESS1/LLN0.Beh.stVal", FC.ST) == 1
                answers[name] = await asyncio.to_thread(operate, peer)
            relay.close()
        assert answers["scada-1"].accepted
        assert answers["viewer"].add_cause.name == "NO_ACCESS_AUTHORITY"
        assert [origin.identity for _, _, origin in bench.device.seen] == ["scada-1"]


async def confirmed(port, context):
    """Returns once the server has confirmed a transport connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(CONNECTION_REQUEST)
        return await reader.readexactly(4)
    finally:
        writer.close()


@pytest.mark.parametrize("who", ["nobody", "stranger", "unlisted"])
async def test_without_a_known_certificate_nobody_gets_in(bench_tools, tmp_path, who):
    serving, _, _ = bench_tools
    authority = Authority(tmp_path, "ca")
    chain, key = authority.issue("gateway")
    tls = TlsConfig(certificate=chain, key=key, ca=str(authority.path))
    own = {
        "nobody": None,
        "stranger": Authority(tmp_path, "rogue").issue("scada-1"),
        "unlisted": authority.issue("somebody"),
    }[who]
    table = ClientTable(name="dso", identities=("scada-1",))
    async with serving(tmp_path, tls=tls, client=(table,)) as bench:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await confirmed(bench.port, context_for(authority, own))


async def test_silent_tcp_connections_on_the_tls_port_block_nobody(bench_tools, tmp_path):
    serving, client, _ = bench_tools
    authority = Authority(tmp_path, "ca")
    chain, key = authority.issue("gateway")
    tls = TlsConfig(certificate=chain, key=key, ca=str(authority.path))
    async with serving(tmp_path, tls=tls) as bench:
        silent = [await asyncio.open_connection("127.0.0.1", bench.port) for _ in range(10)]
        relay, port = await through_tls(bench.port, context_for(authority, authority.issue("scada-1")))
        async with client(port) as peer:
            assert await asyncio.to_thread(peer.read, "ESS1/LLN0.Beh.stVal", FC.ST) == 1
        relay.close()
        for _, writer in silent:
            writer.close()


def test_a_wide_listener_needs_tls_or_insecure(tmp_path):
    context = SiteContext(site="bench", directory=tmp_path, state_directory=tmp_path)
    with pytest.raises(ConfigError) as caught:
        Iec61850Server("scada", Iec61850Config(listen="0.0.0.0:10102"), context)
    (problem,) = caught.value.problems
    assert (problem.key, problem.found) == ("listen", "0.0.0.0:10102")
    Iec61850Server("scada", Iec61850Config(listen="0.0.0.0:10102", insecure=True), context)
