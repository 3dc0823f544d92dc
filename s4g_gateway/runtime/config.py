"""Reads ``site.toml``: one site, its devices and its consumers.

``load_site`` checks every table against its connector's configuration class, lets every connector compile
itself offline, checks the site as a whole, and raises one ConfigError with everything it found.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from s4g_gateway.errors import ConfigError, ModelError, Problem
from s4g_gateway.model import ControlPoint, parse_reference
from s4g_gateway.runtime.contract import (
    NORTHBOUND_GROUP,
    SOUTHBOUND_GROUP,
    ConnectorType,
    SiteContext,
    SuppliedDataSet,
)
from s4g_gateway.runtime.listen import parse_listen
from s4g_gateway.runtime.site_config import (
    COMMON_KEYS,
    ConnectorEntry,
    SiteConfig,
    SiteTable,
    connector_types,
    site_json_schema,
)
from s4g_gateway.runtime.tables import Schema, build_table, check_table, table_schema
from s4g_gateway.security import AccessPolicy, default_policy, load_policy

__all__ = ["ConnectorEntry", "SiteConfig", "SiteTable", "connector_types", "load_site", "site_json_schema"]

# Which pip extra brings the library of a built-in connector.
_EXTRAS = {"pymodbus": "modbus", "serial": "modbus", "aiomqtt": "mqtt", "paho": "mqtt"}
_ROOT: Schema = {
    "type": "object",
    "properties": {
        "site": {"type": "object", "description": "the site"},
        "southbound": {"type": "array", "items": {"type": "object"}},
        "northbound": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["site", "southbound"],
    "additionalProperties": False,
}


def load_site(path: Path, running: SiteConfig | None = None) -> SiteConfig:
    """Reads and checks a site file; opens no connection.

    Args:
        path: the site file.
        running: the configuration in force; connectors whose table and files are unchanged are taken over
            from it, so that a reload leaves them alone.

    Raises:
        ConfigError: everything that is wrong, each with file, key, found and expected.
    """
    return _Loader(path, running).load()


class _Loader:
    def __init__(self, path: Path, running: SiteConfig | None) -> None:
        self.path = path
        self.running = running
        self.problems: list[Problem] = []
        self.schemas: dict[type, Schema] = {}

    def problem(self, key: str, found: str, expected: str) -> None:
        self.problems.append(Problem(file=str(self.path), key=key, found=found, expected=expected))

    def load(self) -> SiteConfig:
        document = self.read()
        self.problems += check_table(document, _ROOT, file=str(self.path), key="")
        table = document.get("site")
        site = None
        if isinstance(table, dict):
            found = check_table(table, table_schema(SiteTable), file=str(self.path), key="site")
            self.problems += found
            site = None if found else build_table(table, SiteTable)
        if site and site.metrics_listen:
            try:
                parse_listen(site.metrics_listen, insecure=site.insecure, file=str(self.path))
            except ConfigError as error:
                self.problems += error.problems
        # Connectors are checked even under a broken [site] table, so that one run finds everything.
        name = site.name if site else "site"
        context = SiteContext(
            site=name,
            directory=self.path.parent,
            state_directory=self.path.parent / (site.state_directory if site else "state"),
            roles=site.roles if site else {},
            radial_id=site.radial_id if site else "",
            position=site.position if site else "",
        )
        names: dict[str, str] = {}
        before = len(self.problems)
        southbound = self.connectors(document, "southbound", SOUTHBOUND_GROUP, context, names)
        supplied, controls = self.points(southbound)
        if site:
            self.roles(site, supplied)
        complete = len(self.problems) == before
        policy = self.policy(site)
        northbound = self.connectors(
            document,
            "northbound",
            NORTHBOUND_GROUP,
            replace(context, supplied=supplied, controls=controls),
            names,
            create=complete,
            policy=policy,
        )
        if self.problems or site is None:
            raise ConfigError(self.problems)
        return SiteConfig(
            path=self.path,
            site=site,
            southbound=southbound,
            northbound=northbound,
            supplied=supplied,
            controls=controls,
            policy=policy,
        )

    def read(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            self.problem("", str(error), "a TOML file that can be read")
            raise ConfigError(self.problems) from error

    def policy(self, site: SiteTable | None) -> AccessPolicy:
        if site is None or not site.policy:
            return default_policy()
        try:
            return load_policy(self.path.parent / site.policy)
        except ConfigError as error:
            self.problems += error.problems
            return default_policy()

    def connectors(
        self,
        document: Mapping[str, Any],
        section: str,
        group: str,
        context: SiteContext,
        names: dict[str, str],
        *,
        create: bool = True,
        policy: AccessPolicy | None = None,
    ) -> tuple[ConnectorEntry, ...]:
        tables = document.get(section, [])
        entries = []
        # A device knows nothing of the rest of its site.
        surroundings = "" if policy is None else _surroundings(context, policy)
        for position, table in enumerate(tables if isinstance(tables, list) else []):
            if isinstance(table, dict):
                key = f"{section}[{position}]"
                entry = self.connector(
                    key, table, group, context, names, surroundings=surroundings, create=create
                )
                if entry is not None:
                    entries.append(entry)
        return tuple(entries)

    def connector(
        self,
        key: str,
        table: dict[str, Any],
        group: str,
        context: SiteContext,
        names: dict[str, str],
        *,
        surroundings: str,
        create: bool,
    ) -> ConnectorEntry | None:
        kind = self.kind(key, table.get("type"), group)
        if kind is None:
            return None
        schema = self.schemas.get(kind.config)
        if schema is None:  # a thousand devices of one kind share it
            schema = self.schemas[kind.config] = table_schema(kind.config, COMMON_KEYS)
        problems = check_table(table, schema, file=str(self.path), key=key)
        self.problems += problems
        name = table.get("name")
        if isinstance(name, str) and names.setdefault(name, key) != key:
            self.problem(f"{key}.name", repr(name), f"a name that {names[name]} does not have")
        if problems or not create or not isinstance(name, str):
            return None
        fingerprint = _fingerprint(table, context)
        if self.running is not None:
            for old in (*self.running.southbound, *self.running.northbound):
                known = (old.name, old.fingerprint, old.surroundings)
                if known == (name, fingerprint, surroundings):
                    return old
        config = build_table({k: v for k, v in table.items() if k not in COMMON_KEYS}, kind.config)
        make = partial(kind.create, name, config, context)
        try:
            connector = make()
        except ConfigError as error:
            for problem in error.problems:
                self.problems.append(_placed(problem, str(self.path), key))
            return None
        return ConnectorEntry(
            name=name,
            type=table["type"],
            key=key,
            config=config,
            connector=connector,
            fingerprint=fingerprint,
            surroundings=surroundings,
            create_again=make,
        )

    def kind(self, key: str, name: object, group: str) -> ConnectorType[Any] | None:
        known = connector_types(group)
        if not isinstance(name, str) or name not in known:
            self.problem(f"{key}.type", repr(name), "one of " + ", ".join(sorted(known)))
            return None
        try:
            kind: ConnectorType[Any] = known[name].load()
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            extra = _EXTRAS.get(package)
            if extra is None:
                raise
            self.problem(
                f"{key}.type",
                f"{name!r}, whose library {package} is not installed",
                f"pip install s4g-gateway[{extra}]",
            )
            return None
        return kind

    def points(
        self, southbound: tuple[ConnectorEntry, ...]
    ) -> tuple[tuple[SuppliedDataSet, ...], tuple[ControlPoint, ...]]:
        supplied: list[SuppliedDataSet] = []
        controls: list[ControlPoint] = []
        owners: dict[str, str] = {}
        for entry in southbound:
            names = [reference for part in entry.connector.supplied for reference in part.data_set.references]
            commands = [point.reference for point in entry.connector.controls]
            for reference in names:
                if owners.setdefault(reference, entry.key) != entry.key:
                    self.problem(
                        entry.key,
                        f"{reference} again",
                        f"a reference that {owners[reference]} does not supply",
                    )
            for reference in commands:
                if owners.setdefault(f"control {reference}", entry.key) != entry.key:
                    self.problem(
                        entry.key, f"{reference} again", "a control point that no other connector has"
                    )
            supplied += entry.connector.supplied
            controls += entry.connector.controls
        return tuple(supplied), tuple(controls)

    def roles(self, site: SiteTable, supplied: tuple[SuppliedDataSet, ...]) -> None:
        known = {reference for part in supplied for reference in part.data_set.references}
        for role, reference in site.roles.items():
            try:
                parse_reference(role)
            except ModelError as error:
                self.problem(f"site.roles.{role}", repr(role), str(error))
            if reference not in known:
                self.problem(
                    f'site.roles."{role}"', repr(reference), "a reference that a device of this site supplies"
                )


def _placed(problem: Problem, file: str, key: str) -> Problem:
    """Puts file and table path before a problem that a connector found, unless it names another file."""
    if problem.file:
        return problem
    return Problem(
        file=file,
        key=f"{key}.{problem.key}" if problem.key else key,
        found=problem.found,
        expected=problem.expected,
    )


def _surroundings(context: SiteContext, policy: AccessPolicy) -> str:
    rules = [(sorted(rule.roles), sorted(rule.actions), rule.references) for rule in policy.rules]
    told = (sorted(context.roles.items()), context.radial_id, context.position, context.controls, rules)
    digest = hashlib.sha256(repr(told).encode())
    for part in context.supplied:
        # A north-bound connector is compiled over the DataSets themselves: other objects, other connector.
        digest.update(str(id(part.data_set)).encode())
    return digest.hexdigest()


def _fingerprint(table: Mapping[str, Any], context: SiteContext) -> str:
    digest = hashlib.sha256(repr((table, context.site)).encode())
    for text in _texts(table):
        file = context.directory / text
        if len(text) < 1024 and "\0" not in text and file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]
