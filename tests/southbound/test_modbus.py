import struct
from pathlib import Path

import pytest

from s4g_gateway.errors import ConfigError
from s4g_gateway.model import AddCause
from s4g_gateway.simulators.modbus_server import ModbusRtuServer
from s4g_gateway.simulators.modbus_slave import RegisterBlock, Slave, Unit
from s4g_gateway.southbound.modbus import MODBUS
from s4g_gateway.southbound.modbus_config import (
    ModbusConfig,
    SerialConfig,
    SunspecDeviceConfig,
    TableDeviceConfig,
    TlsConfig,
)

TABLE = (Path(__file__).parent.parent / "profiles" / "modbus" / "energy_meter.toml").read_text()
FAST = {"timeout_s": 0.3, "retry_min_s": 0.05, "retry_max_s": 0.2}


@pytest.fixture
def meter():
    registers = bytearray(2 * 40)
    struct.pack_into(">f", registers, 0, 1500.0)
    return Unit(
        (RegisterBlock(0, bytes(registers), b"\1" * 40),),
        input_registers=(RegisterBlock(100, struct.pack(">h", -950)),),
        coils=bytearray(16),
        discrete_inputs=bytearray(16),
    )


@pytest.fixture
def modbus(context):
    (context.directory / "meter.toml").write_text(TABLE)

    def make(**keys):
        device = TableDeviceConfig(registers="meter.toml", period_s=0.05)
        return MODBUS.create("test", ModbusConfig(**{"device": (device,), **FAST, **keys}), context)

    return make


async def test_a_device_by_its_table(run, serve, modbus, meter, wait_until):
    server = await serve({1: meter})
    it = run(modbus(host="127.0.0.1", port=server.port))
    await wait_until(lambda: len(it.database.reports) >= 4)
    assert it.database.value("PCC1/MMXU1.TotW") == -1500.0
    assert it.database.value("PCC1/MMXU1.TotPF") == -0.95
    assert it.database.value("PCC1/GGIO1.SPCSO1") is False
    assert it.database.value("PCC1/LPHD1.PhyNam.serNum") == ""


async def test_its_set_points_states_and_coils(run, serve, modbus, meter, wait_until):
    server = await serve({1: meter})
    it = run(modbus(host="127.0.0.1", port=server.port))
    await wait_until(lambda: it.database.reports)
    assert (await it.operate("PCC1/DWGC1.WSpt", -1200.0)).accepted
    assert it.database.value("PCC1/DWGC1.WSpt") == -1200.0
    assert (await it.operate("PCC1/GGIO1.ISCSO1", 2)).accepted
    assert meter.holding[0].read(32, 1) == b"\0\x14"
    assert (await it.operate("PCC1/GGIO1.SPCSO1", True)).accepted
    assert meter.coils[7] == 1
    await it.stop()
    # The set-point has a release value and is given back; the others stay.
    assert meter.holding[0].read(30, 2) == bytes(4)
    assert meter.coils[7] == 1


class Forgetful(RegisterBlock):
    def put(self, address, data):
        pass


async def test_a_register_that_does_not_keep_what_is_written(run, serve, modbus, meter, wait_until):
    server = await serve({1: meter})
    it = run(modbus(host="127.0.0.1", port=server.port))
    await wait_until(lambda: it.database.reports)
    meter.holding = (Forgetful(0, meter.holding[0].read(0, 40), b"\1" * 40),)
    answer = await it.operate("PCC1/GGIO1.ISCSO1", 2)
    assert answer.add_cause is AddCause.ABORTION_DUE_TO_DEVIATION


async def test_table_and_sunspec_devices_on_one_connection(run, serve, modbus, meter, inverter, wait_until):
    server = await serve({1: meter, 2: inverter.image.unit})
    sunspec = SunspecDeviceConfig(unit_id=2, template="fronius-symo-hybrid", period_s=0.05)
    it = run(modbus(host="127.0.0.1", port=server.port, sunspec=(sunspec,)))
    await wait_until(lambda: it.database.value("INV1/MMXU1.TotW") is not None)
    await wait_until(lambda: it.database.value("PCC1/MMXU1.TotW") is not None)
    assert server.connections_total == 1


@pytest.fixture
async def line():
    """A serial line with a slave at the far end: path for the master, and the slave."""
    servers = []

    def make(units):
        server = ModbusRtuServer(Slave(units, answers_unknown=False))
        servers.append(server)
        return server.start_on_pty(), server

    yield make
    for server in servers:
        server.stop()


async def test_rtu_over_a_serial_line(run, line, modbus, meter, inverter, wait_until):
    path, _ = line({1: meter, 2: inverter.image.unit})
    sunspec = SunspecDeviceConfig(unit_id=2, template="fronius-symo-hybrid", period_s=0.1)
    it = run(modbus(serial=SerialConfig(path=path, baud_rate=1_000_000), sunspec=(sunspec,)))
    await wait_until(lambda: it.database.value("INV1/MMXU1.TotW") is not None)
    await wait_until(lambda: it.database.value("PCC1/MMXU1.TotW") == -1500.0)
    assert (await it.operate("ESS1/DWGC1.WSpt", 300.0)).accepted
    assert (await it.operate("PCC1/GGIO1.SPCSO1", True)).accepted
    assert it.log.events() == []


async def test_rtu_a_dead_unit_does_not_silence_the_line(run, line, modbus, meter, wait_until):
    path, server = line({1: meter})
    ghost = SunspecDeviceConfig(unit_id=9, template="generic-meter", name="ghost", period_s=0.1)
    serial = SerialConfig(path=path, baud_rate=1_000_000)
    table = TableDeviceConfig(registers="meter.toml", period_s=0.1, logical_devices={"meter": "LOAD1"})
    it = run(modbus(serial=serial, device=(table,), sunspec=(ghost,), timeout_s=0.1))
    await wait_until(lambda: it.counters.values.get("timeouts_total", 0) >= 3)
    count = len(it.database.reports)
    assert count >= 3
    await wait_until(lambda: len(it.database.reports) > count + 2)
    assert it.log.events() == ["device lost"]
    assert server.slave.units[1].requests_total > 0


async def test_rtu_garbage_and_noise_are_survived(run, line, modbus, meter, wait_until):
    path, server = line({1: meter})
    it = run(modbus(serial=SerialConfig(path=path, baud_rate=1_000_000), timeout_s=0.1))
    await wait_until(lambda: it.database.reports)
    server.faults.garbage = b"\xff\x01\x83\x00\x55\xaa"
    await wait_until(lambda: it.counters.values.get("timeouts_total", 0) >= 2)
    server.faults.garbage = None
    count = len(it.database.reports)
    await wait_until(lambda: len(it.database.reports) > count + 2)


async def test_a_serial_line_that_is_not_there_is_waited_for(run, modbus, wait_until):
    it = run(modbus(serial=SerialConfig(path="/dev/none-such", baud_rate=1_000_000)))
    await wait_until(it.log.events)
    assert it.log.events() == ["connection lost"]
    assert "none-such" in it.log.lines[0][2]["reason"]
    assert not it.task.done()


async def test_tls_with_certificates_on_both_sides(run, serve, modbus, meter, certificates, wait_until):
    server = await serve({1: meter}, tls=certificates)
    tls = TlsConfig(ca="ca.pem", certificate="gateway.pem", key="gateway.key")
    it = run(modbus(host="127.0.0.1", port=server.port, tls=tls))
    await wait_until(lambda: len(it.database.reports) >= 4)
    assert it.database.value("PCC1/MMXU1.TotW") == -1500.0
    assert (await it.operate("PCC1/DWGC1.WSpt", 100.0)).accepted


async def test_tls_without_a_certificate_of_the_gateway_gets_nothing(
    run, serve, modbus, meter, certificates, wait_until
):
    server = await serve({1: meter}, tls=certificates)
    it = run(modbus(host="127.0.0.1", port=server.port, tls=TlsConfig(ca="ca.pem")))
    await wait_until(lambda: "connection lost" in it.log.events())
    assert it.database.reports == []


async def test_tls_a_device_with_another_name_is_not_believed(
    run, serve, modbus, meter, certificates, wait_until
):
    server = await serve({1: meter}, tls=certificates)
    tls = TlsConfig(ca="ca.pem", certificate="gateway.pem", key="gateway.key")
    it = run(modbus(host="localhost", port=server.port, tls=tls))
    await wait_until(lambda: "connection lost" in it.log.events())
    assert it.database.reports == []
    assert "certificate" in it.log.lines[0][2]["reason"].lower()


def problems_of(modbus, **keys):
    with pytest.raises(ConfigError) as caught:
        modbus(**keys)
    return [
        (problem.key, problem.file.rpartition("/")[2], problem.found) for problem in caught.value.problems
    ]


def test_mistakes_are_found_offline(modbus, context):
    assert problems_of(modbus, host="a", device=()) == [("device", "", "none")]
    missing = TableDeviceConfig(registers="none.toml")
    ((key, file, _),) = problems_of(modbus, host="a", device=(missing,))
    assert (key, file) == ("", "none.toml")
    odd = TableDeviceConfig(registers="meter.toml", logical_devices={"gauge": "X1"})
    ((key, _, found),) = problems_of(modbus, host="a", device=(odd,))
    assert (key, found) == ("device[0].registers", "logical_devices: the table has no gauge")
    (context.directory / "bad.toml").write_text(TABLE.replace('"float64"', '"float63"'))
    bad = TableDeviceConfig(registers="bad.toml")
    ((key, file, _),) = problems_of(modbus, host="a", device=(bad,))
    assert (key, file) == ("register[5].type", "bad.toml")
    unknown = SunspecDeviceConfig(unit_id=2, template="nothing")
    assert problems_of(modbus, host="a", sunspec=(unknown,))[0][0] == "sunspec[0].template"
