"""The dynamic model: built from a plain description, the way SCL templates describe it.

The description consists of builtins only, so that it crosses the pipe as it is::

    {"types": {"MV1": [attribute, ...], ...},
     "logical_devices": [
        {"name": "ESS1", "nodes": [
            {"name": "LLN0",
             "objects": [{"name": "Beh", "type": "ENS1", "values": {"stVal": 1}}, ...],
             "data_sets": [{"name": "MX01", "members": ["ESS1/DSTO1$MX$EffWh", ...]}],
             "reports": [{"name": "MX01b01", "rpt_id": "ESS1/LLN0.MX01b01", "buffered": true,
                          "data_set": "MX01", "conf_rev": 1, "triggers": 27, "options": 127,
                          "buffer_time_ms": 0, "integrity_ms": 0}, ...]}]}]}

    attribute: {"name": "mag", "fc": "MX", "type": "Struct", "triggers": "dchg", "parts": [...]}
               {"name": "phsA", "object": "CMV1"}                              a data object within one

``type`` is a basic type of SCL. A data set's member is an MMS variable name with its logical device.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from s4g_gateway.errors import EncodeError, ModelError
from s4g_gateway.workers.libiec61850.client import FC
from s4g_gateway.workers.libiec61850.library import load
from s4g_gateway.workers.libiec61850.values import UtcTime, new_octets, owned, utc_time_octets

BASIC_TYPES: Mapping[str, int] = MappingProxyType(
    {
        "BOOLEAN": 0,
        "INT8": 1,
        "INT16": 2,
        "INT32": 3,
        "INT64": 4,
        "INT8U": 6,
        "INT16U": 7,
        "INT24U": 8,
        "INT32U": 9,
        "FLOAT32": 10,
        "FLOAT64": 11,
        "Enum": 12,
        "Octet64": 13,
        "Octet6": 14,
        "VisString32": 16,
        "VisString64": 17,
        "VisString65": 18,
        "VisString129": 19,
        "ObjRef": 19,
        "VisString255": 20,
        "Unicode255": 21,
        "Timestamp": 22,
        "Quality": 23,
        "Check": 24,
        "Dbpos": 25,
        "Tcmd": 25,
        "Struct": 27,
        "EntryTime": 28,
        "PhyComAddr": 29,
        "Currency": 30,
        "OptFlds": 31,
        "TrgOps": 32,
    }
)
"""Basic types of SCL and the library's number of each."""

_TRIGGERS: Final = {"": 0, "dchg": 1, "qchg": 2, "dupd": 4}
_SIGNED: Final = frozenset({"INT8", "INT16", "INT32", "INT64", "Enum"})
_UNSIGNED: Final = frozenset({"INT8U", "INT16U", "INT24U", "INT32U"})
_CODED: Final = frozenset({"Dbpos", "Tcmd"})


class Model:
    """A model in the library's memory.

    Args:
        description: see the module.

    Raises:
        ModelError: an unknown basic type, functional constraint, trigger or type; the message names the place.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        self._lib: Any = load()
        self._types: Mapping[str, Sequence[Mapping[str, Any]]] = description["types"]
        # Without a name of its own the model's domains are called exactly as the description calls them.
        self.handle: int = self._lib.IedModel_create(b"")
        self.objects: dict[str, int] = {}
        """Handle of every data object by its reference, such as ``ESS1/DSTO1.EffWh``."""
        self.attributes: dict[str, tuple[int, str]] = {}
        """Handle and basic type of every attribute of a value by its reference; descriptions are left out."""
        self.names: dict[int, str] = {}
        """Names of logical devices and nodes by handle."""
        for device in description["logical_devices"]:
            self._build_device(device)

    def close(self) -> None:
        """Frees the model; idempotent. Servers of it must be gone."""
        if self.handle:
            self._lib.IedModel_destroy(self.handle)
            self.handle = 0

    def _build_device(self, device: Mapping[str, Any]) -> None:
        handle = self._lib.LogicalDevice_create(device["name"].encode("ascii"), self.handle)
        self.names[handle] = device["name"]
        nodes = [(node, self._build_node(device["name"], node, handle)) for node in device["nodes"]]
        for node, parent in nodes:
            for entry in node.get("data_sets", ()):
                data_set = self._lib.DataSet_create(entry["name"].encode("ascii"), parent)
                for member in entry["members"]:
                    if not self._lib.DataSetEntry_create(data_set, member.encode("ascii"), -1, None):
                        raise ModelError(
                            f"data set {device['name']}/{node['name']}.{entry['name']}: {member}"
                        )
            for report in node.get("reports", ()):
                self._lib.ReportControlBlock_create(
                    report["name"].encode("ascii"),
                    parent,
                    report["rpt_id"].encode("ascii"),
                    report["buffered"],
                    report["data_set"].encode("ascii"),
                    report["conf_rev"],
                    report["triggers"],
                    report["options"],
                    report["buffer_time_ms"],
                    report["integrity_ms"],
                )

    def _build_node(self, device: str, node: Mapping[str, Any], parent: int) -> int:
        handle = int(self._lib.LogicalNode_create(node["name"].encode("ascii"), parent))
        self.names[handle] = node["name"]
        for entry in node["objects"]:
            path = f"{device}/{node['name']}.{entry['name']}"
            self._build_object(path, entry["name"], entry["type"], handle, entry.get("values", {}), prefix="")
        return handle

    def _build_object(
        self, path: str, name: str, type_name: str, parent: int, values: Mapping[str, Any], *, prefix: str
    ) -> None:
        handle = self._lib.DataObject_create(name.encode("ascii"), parent, 0)
        self.objects[path] = handle
        if type_name not in self._types:
            raise ModelError(f"{path}: no type {type_name!r}")
        for part in self._types[type_name]:
            below, place = f"{path}.{part['name']}", f"{prefix}{part['name']}"
            if "object" in part:
                self._build_object(below, part["name"], part["object"], handle, values, prefix=f"{place}.")
            else:
                self._build_attribute(below, part, part["fc"], handle, values, place=place)

    def _build_attribute(
        self,
        path: str,
        part: Mapping[str, Any],
        fc: str,
        parent: int,
        values: Mapping[str, Any],
        *,
        place: str,
    ) -> None:
        kind = part["type"]
        triggers = 0
        for word in part.get("triggers", "").split():
            if word not in _TRIGGERS:
                raise ModelError(f"{path}: unknown trigger {word!r}")
            triggers |= _TRIGGERS[word]
        if kind not in BASIC_TYPES or fc not in FC.__members__:
            raise ModelError(f"{path}: no basic type {kind!r} or no functional constraint {fc!r}")
        handle = self._lib.DataAttribute_create(
            part["name"].encode("ascii"),
            parent,
            BASIC_TYPES[kind],
            int(FC[fc]),
            triggers,
            part.get("count", 0),
            0,
        )
        if kind == "Struct":
            for inner in part["parts"]:
                self._build_attribute(
                    f"{path}.{inner['name']}", inner, fc, handle, values, place=f"{place}.{inner['name']}"
                )
            return
        if fc in ("ST", "MX", "SP") or (fc == "DC" and part["name"] != "d"):
            self.attributes[path] = (handle, kind)
        if place in values:
            with owned(self._initial(path, kind, values[place])) as value:
                self._lib.DataAttribute_setValue(handle, value)

    def _initial(self, path: str, kind: str, value: Any) -> int:
        """Makes the MmsValue of an attribute's first value."""
        lib = self._lib
        try:
            if kind == "BOOLEAN":
                made = lib.MmsValue_newBoolean(value)
            elif kind in _SIGNED:
                made = lib.MmsValue_newIntegerFromInt64(value)
            elif kind in _UNSIGNED:
                made = lib.MmsValue_newUnsignedFromUint32(value)
            elif kind == "FLOAT32":
                made = lib.MmsValue_newFloat(value)
            elif kind == "Unicode255":
                made = lib.MmsValue_newMmsString(value.encode())
            elif kind == "Quality":
                made = lib.MmsValue_newBitString(-13)
                lib.MmsValue_setBitStringFromInteger(made, value)
            elif kind == "Timestamp":
                made = lib.MmsValue_newUtcTime(0)
                lib.MmsValue_setUtcTimeByBuffer(made, utc_time_octets(*UtcTime(value)))
            elif kind in _CODED:
                made = lib.MmsValue_newBitString(2)
                lib.MmsValue_setBitStringFromInteger(made, (value >> 1 & 1) | (value & 1) << 1)
            elif kind.startswith("Octet"):
                made = new_octets(value)
            else:
                made = lib.MmsValue_newVisibleString(value.encode("ascii", "replace"))
        except (ctypes.ArgumentError, AttributeError, TypeError) as error:
            raise EncodeError(f"{path}: {value!r} is no {kind}") from error
        return int(made)
