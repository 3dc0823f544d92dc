"""D3.1's Table 6 on the sites that the product itself brings: every mandatory variable has its point."""

from importlib.resources import files
from pathlib import Path

import pytest

from s4g_gateway.cli import demo_site
from s4g_gateway.interfaces import bind_message, load_catalogue
from s4g_gateway.runtime.config import load_site

EXAMPLES = Path(__file__).parents[2] / "examples"
PORTS = ("metrics_port", "inverter_port", "grid_meter_port", "load_meter_port", "iec104_port")
DEMO = demo_site.site_text("house", mqtt_url="mqtt://127.0.0.1:1", **dict.fromkeys(PORTS, 1))


def missing(text, folder):
    """Returns the mandatory variables of both events for which a site has no point, by wire name."""
    path = folder / "site.toml"
    path.write_text(text)
    site = load_site(path)
    (events,) = (entry.connector.events for entry in site.northbound if entry.type == "mqtt")
    found = set()
    for name, message in (("measurement", events.measurement), ("status", events.status)):
        devices = sorted({reference.partition("/")[0] for reference in message.data_set.references})
        binding = bind_message(
            load_catalogue().message(f"lessag-eb/{name}"),
            site.site.roles,
            devices if name == "status" else (),
        )
        found |= {
            field.path
            for field in binding.fields
            if field.variable.mandatory
            and binding.data_set.members[field.position].reference not in message.data_set.index
        }
    return found


def test_the_demo_site_has_all_of_it(tmp_path):
    assert missing(DEMO, tmp_path) == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # no meter for the loads
        ((EXAMPLES / "house" / "site.toml").read_text(), {"LOAD1/MMXU1.TotW"}),
        # one inverter, no meters, and a feeder that only its owner can name
        (
            (files("s4g_gateway.cli") / "data" / "site.toml").read_text(),
            {"LOAD1/MMXU1.TotW", "PCC1/MMXU1.TotW", "PCC1/MMXU1.AvPhVPhs", "INV1/radial_id"},
        ),
    ],
    ids=["house", "init"],
)
def test_the_examples_lack_only_what_they_have_no_device_for(tmp_path, text, expected):
    assert missing(text, tmp_path) == expected


def test_without_roles_a_hybrid_inverter_leaves_its_powers_out(tmp_path):
    text = "".join(
        line for line in DEMO.splitlines(keepends=True) if "MMXU1.TotW" not in line or "ref" in line
    )
    assert missing(text, tmp_path) == {"PV1/MMXU1.TotW", "ESS1/MMXU1.TotW"}
