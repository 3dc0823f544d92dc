"""The catalogue as one JSON document."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from s4g_gateway.interfaces.catalogue import Catalogue
from s4g_gateway.interfaces.description import Interface, Message, Variable


def json_document(catalogue: Catalogue) -> dict[str, Any]:
    """Returns the whole catalogue as plain dicts, lists, texts and numbers.

    Every attribute of the descriptions is there; ``bver`` and ``retained`` of a message and ``wire_range``
    of a variable are added.
    """
    return {
        "source": "Storage4Grid D3.1, version 1.0, 2017-09-15",
        "interfaces": [_interface(interface) for interface in catalogue],
    }


def render_json(catalogue: Catalogue) -> str:
    """Returns ``json_document`` as text, indented by two."""
    return json.dumps(json_document(catalogue), indent=2, ensure_ascii=False) + "\n"


def _interface(interface: Interface) -> dict[str, Any]:
    entry = asdict(interface)
    entry["messages"] = [_message(message) for message in interface.messages]
    return entry


def _message(message: Message) -> dict[str, Any]:
    entry = asdict(message)
    entry["bver"] = message.senml_version
    entry["retained"] = message.retained
    entry["variables"] = [_variable(variable) for variable in message.variables]
    return entry


def _variable(variable: Variable) -> dict[str, Any]:
    return {**asdict(variable), "wire_range": list(variable.wire_range())}
