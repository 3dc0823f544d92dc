"""The catalogue as an AsyncAPI 3.0 document.

Channels are the topics, operations what each component sends and receives, messages SenML packs with a JSON
Schema. Interfaces without messages stand in ``x-s4g-elsewhere`` with the standard that fills them.
Source: AsyncAPI Specification 3.0.0 (Document, Channel, Operation, Reply and Message Objects).
"""

from __future__ import annotations

import json
from typing import Any

from s4g_gateway.interfaces.catalogue import Catalogue
from s4g_gateway.interfaces.description import ANSWER_SUFFIX, Interface, Kind, Message
from s4g_gateway.interfaces.render._schema import (
    answer_schema,
    message_schema,
    request_schema,
    shared_schemas,
)
from s4g_gateway.interfaces.topics import NAME_PATTERN, ROOT

_SENML = "application/senml+json"
_FETCH = "application/senml-etch+json"
_SCHEMA_FORMAT = "application/schema+json;version=draft-07"
_PARAMETERS = {
    "site": "Name of the site.",
    "node": "The sender; for commands and requests the addressee.",
    "sender": "Who commands or asks.",
}


def asyncapi_document(catalogue: Catalogue) -> dict[str, Any]:
    """Returns the AsyncAPI 3.0 document as plain dicts, lists, texts and numbers."""
    document = _Document()
    for interface in catalogue:
        for message in interface.messages:
            document.add(interface, message)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Storage4Grid interfaces",
            "version": "1.0.0",
            "description": "Messages between Storage4Grid components (D3.1 §4.1) as SenML over MQTT.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": _SENML,
        "channels": document.channels,
        "operations": document.operations,
        "components": {
            "messages": document.messages,
            "schemas": shared_schemas(),
            "parameters": {
                name: {"description": f"{text} Matches {NAME_PATTERN}"} for name, text in _PARAMETERS.items()
            },
        },
        "x-s4g-elsewhere": [
            {
                "interface": interface.id,
                "standard": interface.filled_by.standard,
                "decision": interface.filled_by.decision,
            }
            for interface in catalogue
            if not interface.messages and interface.filled_by is not None
        ],
    }


def render_asyncapi(catalogue: Catalogue) -> str:
    """Returns ``asyncapi_document`` as JSON text, indented by two."""
    return json.dumps(asyncapi_document(catalogue), indent=2, ensure_ascii=False) + "\n"


class _Document:
    """Collects channels, operations and messages; an id is the same in all three."""

    def __init__(self) -> None:
        self.channels: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.messages: dict[str, Any] = {}

    def add(self, interface: Interface, message: Message) -> None:
        """Adds a message with its answer or its request."""
        name = f"{interface.slug}.{message.slug}"
        payload = message_schema(message)
        if message.kind is Kind.COMMAND:
            answer = f"{name}{ANSWER_SUFFIX}"
            self._channel(interface, message.slug, name, payload, _summary(message), sender=True)
            self._channel(
                interface,
                f"{message.slug}{ANSWER_SUFFIX}",
                answer,
                answer_schema(),
                f"What became of: {message.title}",
            )
            self._exchange(message.initiator, message.partner, name, answer)
        elif message.kind is Kind.REQUEST:
            request = f"{name}-request"
            self._channel(interface, message.slug, name, payload, _summary(message))
            self._channel(
                interface,
                message.slug,
                request,
                request_schema(),
                f"Asks for: {message.title}. Without payload it asks for everything.",
                sender=True,
                content_type=_FETCH,
            )
            self._exchange(message.initiator, message.publisher, request, name)
        else:
            self._channel(interface, message.slug, name, payload, _summary(message))
            self._operation("send", message.initiator, name, retain=message.retained)
            self._operation("receive", message.partner, name)
        self.messages[name]["x-s4g"] = {
            "interface": interface.id,
            "d31": interface.table or f"§{interface.section}",
            "period": message.period.text,
            "variables": [f"{v.device}/{v.name}" for v in message.records],
        }

    def _channel(
        self,
        interface: Interface,
        slug: str,
        name: str,
        payload: dict[str, Any],
        summary: str,
        *,
        sender: bool = False,
        content_type: str = _SENML,
    ) -> None:
        used = ["site", "node", *(["sender"] if sender else [])]
        address = f"{ROOT}/{{site}}/{{node}}/{interface.slug}/{slug}" + ("/{sender}" if sender else "")
        self.channels[name] = {
            "address": address,
            "title": name,
            "parameters": {part: {"$ref": f"#/components/parameters/{part}"} for part in used},
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        }
        self.messages[name] = {
            "name": name,
            "summary": summary,
            "contentType": content_type,
            "payload": {"schemaFormat": _SCHEMA_FORMAT, "schema": payload},
        }

    def _operation(
        self, action: str, component: str, name: str, *, reply: str = "", retain: bool = False
    ) -> None:
        operation: dict[str, Any] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
            "tags": [{"name": component}],
            "bindings": {"mqtt": {"qos": 1, "bindingVersion": "0.2.0"}},
        }
        if action == "send":
            operation["bindings"]["mqtt"]["retain"] = retain
        if reply:
            operation["reply"] = {
                "channel": {"$ref": f"#/channels/{reply}"},
                "messages": [{"$ref": f"#/channels/{reply}/messages/{reply}"}],
            }
        self.operations[f"{name}.{action}"] = operation

    def _exchange(self, asker: str, answerer: str, name: str, reply: str) -> None:
        self._operation("send", asker, name, reply=reply)
        self._operation("receive", answerer, name, reply=reply)


def _summary(message: Message) -> str:
    return f"{message.title}: {message.description}"
