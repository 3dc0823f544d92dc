"""The worker that reads DLMS/COSEM meters with Gurux DLMS."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s4g_gateway.workers.contract import Channel


def main(channel: Channel) -> None:
    """Reads meters until told to stop; Gurux is loaded here and nowhere else."""
    from s4g_gateway.workers.dlms.worker import main as run

    run(channel)
