"""JSON Schema (draft 07) of the catalogue's SenML packs in JSON.

A schema sees a record before base names are added, so it binds each record's last name part, unit, type and
range; which logical device it stands under is for the decoder to see. Source: RFC 8428 (labels and rules).
"""

from __future__ import annotations

import re
from typing import Any

from s4g_gateway.interfaces.description import Carrier, Kind, Message, Variable
from s4g_gateway.model import AddCause, ValueType
from s4g_gateway.model.quality import ALL_BITS

Schema = dict[str, Any]

PACK = "#/components/schemas/senmlPack"
RECORD = "#/components/schemas/senmlRecord"
_QUALITY = "#/components/schemas/quality"
_VALUE_LABEL = {ValueType.BOOLEAN: "vb", ValueType.TEXT: "vs"}


def shared_schemas() -> dict[str, Schema]:
    """Returns the schemas that every message refers to, by their name in the components."""
    number: Schema = {"type": "number"}
    text: Schema = {"type": "string"}
    labels: Schema = {
        **dict.fromkeys(("bt", "bv", "bs", "v", "s", "t", "ut"), number),
        **dict.fromkeys(("bn", "bu", "n", "u", "vs", "vd"), text),
        "bver": {"type": "integer", "minimum": 1},
        "vb": {"type": "boolean"},
    }
    return {
        "senmlRecord": {
            "description": "One SenML record (RFC 8428): a value, or base fields for those that follow.",
            "type": "object",
            "properties": labels,
            "patternProperties": {"_$": False},
            "oneOf": [
                *({"required": [label]} for label in ("v", "vs", "vb", "vd")),
                {"not": {"anyOf": [{"required": [label]} for label in ("v", "vs", "vb", "vd")]}},
            ],
        },
        "senmlPack": {
            "description": "A SenML pack (RFC 8428) with any points of the site.",
            "type": "array",
            "minItems": 1,
            "items": {"$ref": RECORD},
        },
        "quality": {
            "description": "Quality of the record without .q at the same time: bit n counts 2^n.",
            "type": "object",
            "properties": {
                "n": {"type": "string", "pattern": r"\.q$"},
                "v": {"type": "integer", "minimum": 0, "maximum": ALL_BITS},
            },
            "required": ["n", "v"],
        },
    }


def message_schema(message: Message) -> Schema:
    """Returns the schema of a message's pack."""
    heads = _command_records() if message.kind is Kind.COMMAND else {}
    if message.open:
        return _pack([], heads) if heads else {"$ref": PACK}
    records = {
        variable.name: _record(variable.name, _value(variable), variable)
        for variable in message.variables
        if variable.carrier is Carrier.RECORD
    }
    required = {v.name: records[v.name] for v in message.records if v.mandatory}
    return _pack([*records.values()], {**heads, **required}, closed=True, extra=[*heads.values()])


def answer_schema() -> Schema:
    """Returns the schema of the answer to a command."""
    causes = [cause.name.lower().replace("_", "-") for cause in AddCause]
    records = {
        "cmd.id": _record("cmd.id", ("vs", {"type": "string"})),
        "cmd.accepted": _record("cmd.accepted", ("vb", {"type": "boolean"})),
        "cmd.addCause": _record("cmd.addCause", ("vs", {"enum": causes})),
    }
    return _pack([*records.values()], records, closed=True)


def request_schema() -> Schema:
    """Returns the schema of a request: names only, as in a SenML FETCH pack. Source: RFC 8790."""
    fields = {"bn": {"type": "string"}, "n": {"type": "string"}}
    record: Schema = {
        "type": "object",
        "properties": fields,
        "additionalProperties": False,
        "anyOf": [{"required": ["bn"]}, {"required": ["n"]}],
    }
    return {"type": "array", "minItems": 1, "items": record}


def _command_records() -> dict[str, Schema]:
    return {
        "cmd.id": _record("cmd.id", ("vs", {"type": "string", "minLength": 1, "maxLength": 64})),
        "cmd.ctlNum": _record("cmd.ctlNum", ("v", {"type": "integer", "minimum": 0, "maximum": 255})),
        "cmd.priority": _record("cmd.priority", ("v", {"type": "integer", "minimum": 1, "maximum": 255})),
        "cmd.notAfter": _record("cmd.notAfter", ("v", {"type": "number", "exclusiveMinimum": 0})),
    }


def _pack(
    records: list[Schema],
    required: dict[str, Schema],
    *,
    closed: bool = False,
    extra: list[Schema] | None = None,
) -> Schema:
    items: Schema = {"allOf": [{"$ref": RECORD}]}
    if closed:
        items["anyOf"] = [*records, *(extra or []), {"$ref": _QUALITY}]
    schema: Schema = {"type": "array", "minItems": 1, "items": items}
    if required:
        schema["allOf"] = [{"contains": record} for record in required.values()]
    return schema


def _value(variable: Variable) -> tuple[str, Schema]:
    """Returns the value's label and schema."""
    label = _VALUE_LABEL.get(variable.value_type, "v")
    if variable.values and variable.value_type is ValueType.ENUMERATED:
        return label, {"enum": [literal.value for literal in variable.values]}
    if variable.values:
        return label, {"type": "string", "examples": [literal.value for literal in variable.values]}
    if variable.value_type is ValueType.BOOLEAN:
        return label, {"type": "boolean"}
    if variable.value_type is ValueType.TEXT:
        return label, {"type": "string"} | ({"pattern": f"^{variable.pattern}$"} if variable.pattern else {})
    low, high = variable.wire_range()
    schema: Schema = {"type": "integer" if variable.value_type is ValueType.INTEGER else "number"}
    return label, schema | {key: v for key, v in (("minimum", low), ("maximum", high)) if v is not None}


def _record(name: str, value: tuple[str, Schema], variable: Variable | None = None) -> Schema:
    label, schema = value
    properties: Schema = {"n": {"type": "string", "pattern": f"(^|/){re.escape(name)}$"}, label: schema}
    if variable is not None and variable.wire_unit:
        properties["u"] = {"const": variable.wire_unit}
    record: Schema = {"type": "object", "properties": properties, "required": ["n", label]}
    if variable is not None:
        record["description"] = variable.d31 or variable.name
    return record
