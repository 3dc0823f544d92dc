"""What a site file holds once it is read: its tables, its compiled connectors, its JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from s4g_gateway.errors import ModelError
from s4g_gateway.model import ControlPoint
from s4g_gateway.runtime.contract import NORTHBOUND_GROUP, SOUTHBOUND_GROUP, ConnectorType, SuppliedDataSet
from s4g_gateway.runtime.listen import Listen, parse_listen
from s4g_gateway.runtime.tables import Schema, table_schema
from s4g_gateway.security import AccessPolicy

NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9-]{0,62}$"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteTable:
    """The ``[site]`` table.

    Attributes:
        name: the site's name in topics and SenML.
        description: one line for people.
        latitude: degrees north, WGS 84.
        longitude: degrees east, WGS 84.
        radial_id: the DSO's name of the feeder the site hangs on; told in status messages.
        setpoint_validity_s: how long a set-point without its own end holds.
        policy: file of access rules; empty for the default policy.
        state_directory: folder for journal, ledger, audit log; relative to site.toml.
        socket: Unix socket for ``s4g watch``, ``read`` and ``operate``; empty for one in the state folder.
        metrics_listen: host:port of metrics and health page; empty for none.
        insecure: true allows the metrics page on an address that is not loopback.
        roles: D3.1's conventional references -> references of this site.
    """

    name: Annotated[str, Meta(pattern=NAME_PATTERN, description="name of the site in topics and SenML")]
    description: str = ""
    latitude: Annotated[float, Meta(ge=-90, le=90, description="degrees north")] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180, description="degrees east")] | None = None
    radial_id: Annotated[str, Meta(max_length=255, description="the DSO's name of the feeder")] = ""
    setpoint_validity_s: Annotated[
        float, Meta(gt=0, description="validity of a set-point without an end")
    ] = 900.0
    policy: Annotated[str, Meta(description="file of access rules")] = ""
    state_directory: Annotated[
        str, Meta(min_length=1, description="folder for what outlives the process")
    ] = "state"
    socket: Annotated[str, Meta(description="path of the local Unix socket")] = ""
    metrics_listen: Annotated[str, Meta(description="host:port of metrics and health page")] = ""
    insecure: bool = False
    roles: dict[str, str] = field(default_factory=dict)

    @property
    def position(self) -> str:
        """Where the site is, as a geo URI; empty where a coordinate is missing.

        Source: RFC 5870 §3 (clause unverified).
        """
        if self.latitude is None or self.longitude is None:
            return ""
        north, east = (f"{angle:.7f}".rstrip("0").rstrip(".") for angle in (self.latitude, self.longitude))
        return f"geo:{north},{east}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConnectorEntry:
    """One connector of a site, compiled and not yet running.

    Attributes:
        name: unique in the site.
        type: name of its entry point.
        key: path of its table, such as ``southbound[0]``.
        config: its configuration object.
        connector: what ``create`` made.
        fingerprint: changes whenever its table or a file it names changes.
        surroundings: changes whenever what it can see of the rest of the site changes.
        create_again: makes another connector of the same configuration; raises what ``create`` raises.
    """

    name: str
    type: str
    key: str
    config: Any
    connector: Any
    fingerprint: str
    surroundings: str
    create_again: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteConfig:
    """A site that has passed every check.

    Attributes:
        path: the site file.
        site: its ``[site]`` table.
        southbound: connectors to devices.
        northbound: connectors to consumers.
        supplied: every DataSet, in the order of the file.
        controls: every controllable point.
        policy: who may do what.
    """

    path: Path
    site: SiteTable
    southbound: tuple[ConnectorEntry, ...]
    northbound: tuple[ConnectorEntry, ...]
    supplied: tuple[SuppliedDataSet, ...]
    controls: tuple[ControlPoint, ...]
    policy: AccessPolicy

    @property
    def directory(self) -> Path:
        """Folder of the site file."""
        return self.path.parent

    @property
    def state_directory(self) -> Path:
        """Folder for what outlives the process."""
        return self.directory / self.site.state_directory

    @property
    def metrics_listen(self) -> Listen | None:
        """Where the metrics page is; None for nowhere."""
        text = self.site.metrics_listen
        return parse_listen(text, insecure=self.site.insecure) if text else None

    @property
    def socket_path(self) -> Path:
        """The local Unix socket."""
        return self.directory / self.site.socket if self.site.socket else self.state_directory / "s4g.sock"


@cache
def connector_types(group: str) -> Mapping[str, Any]:
    """Returns the entry points of a group by name; nothing is imported.

    Raises:
        ModelError: two packages offer the same name.
    """
    found: dict[str, Any] = {}
    for point in entry_points(group=group):
        if point.name in found and found[point.name].value != point.value:
            raise ModelError(
                f"{group}: {point.value} and {found[point.name].value} both offer {point.name!r}"
            )
        found[point.name] = point
    return found


COMMON_KEYS: dict[str, Schema] = {
    "name": {
        "type": "string",
        "pattern": NAME_PATTERN,
        "description": "name of the connector, unique in the site",
    },
    "type": {"type": "string", "description": "kind of connector"},
}


def site_json_schema() -> Schema:
    """Returns the JSON Schema of site.toml for editors, over every connector type that can be loaded here."""
    schema: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "S4G Gateway site",
        "type": "object",
        "properties": {},
        "required": ["site", "southbound"],
        "additionalProperties": False,
        "$defs": {},
    }

    def take(prefix: str, part: Schema) -> Schema:
        """Moves a part's definitions up, under names that no other connector's class of that name can take."""
        text = msgspec.json.encode(part).replace(b'"#/$defs/', f'"#/$defs/{prefix}.'.encode())
        moved: Schema = msgspec.json.decode(text)
        for name, definition in moved.pop("$defs", {}).items():
            schema["$defs"][f"{prefix}.{name}"] = definition
        return moved

    schema["properties"]["site"] = take("site", table_schema(SiteTable))
    for group, key in ((SOUTHBOUND_GROUP, "southbound"), (NORTHBOUND_GROUP, "northbound")):
        kinds = []
        for name in sorted(connector_types(group)):
            try:
                kind: ConnectorType[Any] = connector_types(group)[name].load()
            except ImportError:
                continue
            common = {**COMMON_KEYS, "type": {"const": name, "description": kind.summary}}
            kinds.append(take(name, table_schema(kind.config, common)))
        schema["properties"][key] = {"type": "array", "items": {"oneOf": kinds}}
    return schema
