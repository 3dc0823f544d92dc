"""What a controller refuses."""

from __future__ import annotations

from s4g_gateway.errors import GatewayError


class ControllerError(GatewayError):
    """A controller was given what it cannot work with: a plan, a series, a configuration, a saved state."""
