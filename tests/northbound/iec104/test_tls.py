"""TLS with client certificates, proven with plain OpenSSL clients."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess

import pytest

from s4g_gateway.codecs.iec104 import Cause, TypeId
from s4g_gateway.errors import ConfigError
from s4g_gateway.model import ValueType
from s4g_gateway.northbound.iec104 import GroupTable, TlsConfig

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


def openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True, timeout=30)


def authority(folder, name):
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
        *("-subj", f"/O=Test/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        cwd=folder,
    )


def issue(folder, name, ca, subject=None):
    openssl(
        *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
        *("-subj", subject or f"/O=Test/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"),
        cwd=folder,
    )
    (folder / f"{name}.ext").write_text(
        "subjectAltName=IP:127.0.0.1\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    openssl(
        *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-days", "2"),
        *("-extfile", f"{name}.ext", "-out", f"{name}.pem", "-CAcreateserial"),
        cwd=folder,
    )


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    authority(folder, "dso-ca")
    authority(folder, "rogue-ca")
    issue(folder, "outstation", "dso-ca")
    issue(folder, "scada-1", "dso-ca")
    issue(folder, "guest", "dso-ca")
    issue(folder, "nameless", "dso-ca", subject="/O=Test")
    issue(folder, "rogue", "rogue-ca", subject="/O=Test/CN=scada-1")
    return folder


def client(pki, name):
    context = ssl.create_default_context(cafile=pki / "dso-ca.pem")
    if name:
        context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    return context


def tls(pki):
    return {
        "tls": TlsConfig(
            certificate=str(pki / "outstation.pem"),
            key=str(pki / "outstation.key"),
            ca=str(pki / "dso-ca.pem"),
        ),
        "group": [GroupTable(name="dso", masters=("scada-*",))],
    }


async def test_a_master_with_a_certificate_is_served_under_its_name(kit, tmp_path, pki):
    controls = [kit.point("ESS1/DWGC1.WGcEna", value_type=ValueType.BOOLEAN)]
    async with kit.serving(tmp_path, [kit.floats(3)], controls, **tls(pki)) as bench:
        bench.publish([1.0, 2.0, 3.0])
        master = await kit.RawMaster.connect(bench.port, ssl=client(pki, "scada-1"))
        assert master.writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        await master.interrogate()
        assert len(master.points(20)) == 3
        master.send(TypeId.C_SC_NA_1, Cause.ACTIVATION, 40001, 1)
        await master.until(lambda: any(a[0] == 45 and a[2] == 10 for a in master.asdus))
        assert bench.audit.events[-1]["principal"] == "scada-1"
        await master.close()


@pytest.mark.parametrize("name", ["", "rogue", "guest", "nameless"])
async def test_everybody_else_is_turned_away(kit, tmp_path, pki, name):
    async with kit.serving(tmp_path, [kit.floats(1)], **tls(pki)) as bench:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            master = await kit.RawMaster.connect(bench.port, ssl=client(pki, name), start=False)
            master.link.start(master.loop.time())
            master.flush()
            await master.until(lambda: master.closed is not None)
            assert not master.started
        assert bench.counters.values.get("links_active", 0) == 0
        # and the next one is served
        good = await kit.RawMaster.connect(bench.port, ssl=client(pki, "scada-1"))
        await good.interrogate()
        await good.close()


async def test_silent_tcp_connections_and_plain_masters_keep_nobody_out(kit, tmp_path, pki):
    async with kit.serving(tmp_path, [kit.floats(1)], **tls(pki)) as bench:
        silent = [await asyncio.open_connection("127.0.0.1", bench.port) for _ in range(20)]
        silent[0][1].write(bytes.fromhex("680407000000"))  # STARTDT in the clear
        master = await kit.RawMaster.connect(bench.port, ssl=client(pki, "scada-1"))
        await master.interrogate()
        await master.close()
        for _, writer in silent:
            writer.close()


async def test_openssl_s_client_starts_the_transfer(kit, tmp_path, pki):
    async with kit.serving(tmp_path, [kit.floats(1)], **tls(pki)) as bench:
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-quiet", "-verify_return_error", "-connect", f"127.0.0.1:{bench.port}"),
            *("-CAfile", "dso-ca.pem", "-cert", "scada-1.pem", "-key", "scada-1.key"),
            cwd=pki,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        process.stdin.write(bytes.fromhex("680407000000"))
        async with asyncio.timeout(10):
            answer = await process.stdout.readexactly(6)
        assert answer == bytes.fromhex("68040b000000")
        process.stdin.close()
        process.terminate()
        await process.wait()


async def test_old_tls_is_refused(kit, tmp_path, pki):
    old = client(pki, "scada-1")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with kit.serving(tmp_path, [kit.floats(1)], **tls(pki)) as bench:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await kit.RawMaster.connect(bench.port, ssl=old)


async def test_wrong_files_are_named(kit, tmp_path, pki):
    wrong = TlsConfig(
        certificate=str(pki / "outstation.pem"), key=str(pki / "guest.key"), ca=str(tmp_path / "none.pem")
    )
    with pytest.raises(ConfigError) as caught:
        async with kit.serving(tmp_path, [kit.floats(1)], tls=wrong):
            pass
    assert [problem.key for problem in caught.value.problems] == ["tls.ca", "tls.certificate"]
