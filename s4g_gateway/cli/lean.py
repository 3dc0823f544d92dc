"""Keeps out of a running gateway what it never uses."""

from __future__ import annotations

import sys


def load_structlog() -> None:
    """Loads structlog without rich, which it would load for tracebacks that our logs do not print.

    That is 6 MB of a gateway's memory. Does nothing where one of the two is loaded; rich can be loaded afterwards.
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    # None makes an import fail as if rich were not installed, for which structlog is prepared.
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog  # noqa: F401 - loaded for those who import it later
    finally:
        del sys.modules["rich"]
