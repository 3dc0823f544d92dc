"""``s4g simulate``: each simulator alone, for trying out and for tests of other products."""

from __future__ import annotations

from typing import Final

import click

from s4g_gateway.cli.lazy import LazyGroup

_HERE: Final = "s4g_gateway.cli.simulate"
SIMULATORS: Final = {
    "hybrid-inverter": (
        f"{_HERE}.hybrid_inverter:hybrid_inverter",
        "Run a hybrid inverter with battery (SunSpec, Modbus TCP).",
    ),
    "meter": (f"{_HERE}.meter:meter", "Run a grid or load meter (SunSpec, Modbus TCP)."),
    "dlms-meter": (f"{_HERE}.dlms_meter:dlms_meter", "Run a grid or load meter (DLMS/COSEM)."),
    "site": (f"{_HERE}.whole_site:site", "Run a whole house: inverter, grid meter, load meter."),
    "energy-router": (
        f"{_HERE}.energy_router:energy_router",
        "Run the energy router of D3.1 (IEC 61850, MMS).",
    ),
    "fleet": (f"{_HERE}.fleet:fleet", "Run many plain Modbus devices, for load."),
    "iec104-master": (
        f"{_HERE}.iec104_master:iec104_master",
        "Run a control centre (IEC 60870-5-104 master).",
    ),
}


@click.group(cls=LazyGroup, lazy=SIMULATORS)
def simulate() -> None:
    """Run simulated devices and peers that really speak their protocol.

    They listen on loopback and run until Ctrl-C, SIGTERM or --duration.

    \b
    Examples:
      s4g simulate site --port 1502
      s4g simulate iec104-master --port 2404 --duration 10
    """


__all__ = ["simulate"]
