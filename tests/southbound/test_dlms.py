"""DLMS meters through the connector and its worker process, against the simulated meter."""

import contextlib
from datetime import UTC, datetime

import pytest

pytest.importorskip("gurux_dlms")

from s4g_gateway.model import quality as q
from s4g_gateway.runtime.contract import SiteContext
from s4g_gateway.simulators.dlms_meter import DlmsMeterServer, HouseholdMeter, Keys, Mechanism, MeterSecurity
from s4g_gateway.simulators.house import House
from s4g_gateway.simulators.sunspec_meter import grid_reading
from s4g_gateway.southbound.dlms import DLMS, DlmsConfig, DlmsMeterConfig, DlmsSecurity

KEYS = Keys(encryption=bytes(range(16)), authentication=bytes(range(16, 32)))
START_S = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
SECURITY = {
    "none": MeterSecurity(),
    "lls": MeterSecurity(mechanism=Mechanism.LLS, password=b"12345678"),
    "gmac": MeterSecurity(mechanism=Mechanism.HLS_GMAC, keys=KEYS),
    "gmac-ciphered": MeterSecurity(mechanism=Mechanism.HLS_GMAC, keys=KEYS, ciphered=True),
}
POWER, ENERGY, VOLTAGE = "PCC1/MMXU1.TotW", "PCC1/MMTR1.DmdWh", "PCC1/MMXU1.PhV.phsA"
SLOW_S = 30.0
FAST = {"timeout_s": 2.0, "retry_min_s": 0.1, "retry_max_s": 0.5}


@pytest.fixture
def keys(tmp_path):
    """The secrets of the meters, as files."""
    key_file = tmp_path / "keys.toml"
    key_file.write_text(
        f'encryption_key = "{KEYS.encryption.hex()}"\nauthentication_key = "{KEYS.authentication.hex()}"\n'
    )
    password = tmp_path / "password"
    password.write_text("12345678\n")
    for path in (key_file, password):
        path.chmod(0o600)
    gmac = {"authentication": "hls-gmac", "key_file": "keys.toml", "system_title": "5334470000000001"}
    return {
        "none": DlmsSecurity(),
        "lls": DlmsSecurity(authentication="lls", password_file="password"),
        "gmac": DlmsSecurity(**gmac),
        "gmac-ciphered": DlmsSecurity(**gmac, ciphered=True),
    }


class Meter:
    """A simulated meter on a port."""

    def __init__(self, mode="none", **more):
        self.house = House(seed=4, time_s=START_S)
        self.house.step(1.0)
        link = {key: more.pop(key) for key in ("link", "server_address", "physical_address") if key in more}
        self.household = HouseholdMeter(self.house, grid_reading, security=SECURITY[mode], **more)
        self.server = DlmsMeterServer(self.household.device, **link)

    @property
    def power_w(self):
        return float(round(self.house.state.export_w))


@pytest.fixture
async def meters():
    """Starts meters; stops them at the end."""
    running = []

    async def start(mode="none", **more):
        meter = Meter(mode, **more)
        await meter.server.start()
        running.append(meter)
        return meter

    yield start
    for meter in running:
        await meter.server.stop()


@pytest.fixture
def connector(tmp_path):
    context = SiteContext(site="test", directory=tmp_path, state_directory=tmp_path)

    def make(*devices, **more):
        return DLMS.create("test", DlmsConfig(device=devices, **{**FAST, **more}), context)

    return make


def device(meter, **more):
    more = {"meter": "landis-gyr-zmg310", "period_s": 0.2} | more
    return DlmsMeterConfig(host="127.0.0.1", port=meter.server.port, **more)


def said(it):
    """What was logged of meters."""
    return [event for event in it.log.events() if event != "worker ready"]


@pytest.mark.parametrize("names", ["logical-names", "short-names"])
@pytest.mark.parametrize("link", ["wrapper", "hdlc", "mode-e"])
@pytest.mark.parametrize("mode", ["none", "lls", "gmac", "gmac-ciphered"])
async def test_a_meter_is_read_in_every_mode(run, wait_until, meters, keys, connector, mode, link, names):
    meter = await meters(mode, link=link)
    it = run(connector(device(meter, link=link, referencing=names, security=keys[mode])))
    with contextlib.suppress(TimeoutError):
        await wait_until(lambda: it.database.quality(POWER) == q.GOOD, SLOW_S)
    assert said(it) == []
    assert it.database.value(POWER) == meter.power_w
    assert it.database.value(ENERGY) == float(round(meter.house.state.imported_wh))
    assert it.database.value(VOLTAGE) == pytest.approx(meter.house.state.voltage_v - 0.4, abs=0.051)
    assert set(it.database.reports[-1].quality) == {q.GOOD}
    await wait_until(lambda: len(it.database.reports) >= 3, SLOW_S)
    assert meter.server.connections_total == 1
