"""Simulated DLMS meters and the connector before them."""

from datetime import UTC, datetime

import pytest

pytest.importorskip("gurux_dlms")

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


@pytest.fixture
def device():
    """Makes the table of a meter."""

    def make(meter, **more):
        more = {"meter": "landis-gyr-zmg310", "period_s": 0.2} | more
        return DlmsMeterConfig(host="127.0.0.1", port=meter.server.port, **more)

    return make


@pytest.fixture
def said():
    """What was logged of meters."""
    return lambda it: [event for event in it.log.events() if event != "worker ready"]
