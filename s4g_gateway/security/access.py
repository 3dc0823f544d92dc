"""Principals and the access policy: roles x actions x object references.

Source: the role names follow IEC 62351-8 (clause unverified); one role per S4G component is ours.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from s4g_gateway.errors import ConfigError, Problem


class _Wrong(Protocol):
    def __call__(self, key: str, found: object, expected: str) -> None: ...


class Action(StrEnum):
    """What a principal asks for."""

    READ = "read"
    SUBSCRIBE = "subscribe"
    CONTROL = "control"


ROLES = frozenset({"VIEWER", "OPERATOR", "ENGINEER", "INSTALLER", "SECADM"})
COMPONENT_ROLES = frozenset(
    {
        "SCADA",
        "EB",
        "LESSAG",
        "LEVCHAG",
        "GESSCON",
        "GEVCHCON",
        "DSF-DWH",
        "DSF-SE",
        "DSF-ADAPTER",
        "GUI",
        "USM",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """An authenticated party.

    Attributes:
        name: its name as authenticated: certificate subject, Unix user, or the connector it came through.
        roles: its roles.
    """

    name: str
    roles: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Grants actions on references to roles.

    Attributes:
        roles: the roles that get the right.
        actions: what they may do.
        references: shell-style patterns over ObjectReferences, such as ``ESS1/*`` or ``*/MMXU1.*``.
    """

    roles: frozenset[str]
    actions: frozenset[Action]
    references: tuple[str, ...] = ("*",)


@dataclass(slots=True)
class AccessPolicy:
    """Grants by rule; what no rule grants is denied.

    Attributes:
        rules: every grant.
    """

    rules: tuple[Rule, ...]
    _patterns: dict[tuple[frozenset[str], Action], tuple[str, ...]] = field(default_factory=dict, repr=False)

    def allows(self, principal: Principal, action: Action, reference: str) -> bool:
        """True where some rule grants the action on the reference to one of the principal's roles."""
        key = (principal.roles, action)
        patterns = self._patterns.get(key)
        if patterns is None:
            patterns = self._patterns[key] = self._granted(principal.roles, action)
        return "*" in patterns or any(fnmatchcase(reference, pattern) for pattern in patterns)

    def _granted(self, roles: frozenset[str], action: Action) -> tuple[str, ...]:
        """Returns the patterns of every rule that grants an action to one of these roles."""
        found = (
            rule.references
            for rule in self.rules
            if action in rule.actions and not rule.roles.isdisjoint(roles)
        )
        return tuple(dict.fromkeys(pattern for references in found for pattern in references))


def default_policy() -> AccessPolicy:
    """Returns the policy of a site without a policy file: everybody known reads, operators also control."""
    everyone = ROLES | COMPONENT_ROLES
    operators = frozenset(
        {
            "OPERATOR",
            "ENGINEER",
            "INSTALLER",
            "SCADA",
            "EB",
            "LESSAG",
            "LEVCHAG",
            "GESSCON",
            "GEVCHCON",
            "GUI",
        }
    )
    return AccessPolicy(
        (
            Rule(roles=everyone, actions=frozenset({Action.READ, Action.SUBSCRIBE})),
            Rule(roles=operators, actions=frozenset({Action.CONTROL})),
        )
    )


def load_policy(path: Path) -> AccessPolicy:
    """Reads a policy file: a TOML array of tables ``[[rule]]`` with roles, actions, references.

    Raises:
        ConfigError: names every wrong key at once.
    """
    problems: list[Problem] = []

    def wrong(key: str, found: object, expected: str) -> None:
        problems.append(Problem(file=str(path), key=key, found=repr(found), expected=expected))

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            [Problem(file=str(path), key="", found=str(error), expected="a TOML file")]
        ) from error
    for key in document.keys() - {"rule"}:
        wrong(key, document[key], "only [[rule]] tables")
    entries = document.get("rule", [])
    if not isinstance(entries, list) or not entries:
        wrong("rule", entries, "at least one [[rule]] table")
        raise ConfigError(problems)
    rules = []
    for position, entry in enumerate(entries):
        rule = _rule(f"rule[{position}]", entry, wrong)
        if rule is not None:
            rules.append(rule)
    if problems:
        raise ConfigError(problems)
    return AccessPolicy(tuple(rules))


def _rule(path: str, entry: object, wrong: _Wrong) -> Rule | None:
    if not isinstance(entry, Mapping):
        wrong(path, entry, "a table")
        return None
    for key in entry.keys() - {"roles", "actions", "references"}:
        wrong(f"{path}.{key}", entry[key], "one of roles, actions, references")
    lists: dict[str, list[str]] = {}
    for key, default in (("roles", None), ("actions", None), ("references", ["*"])):
        value = entry.get(key, default)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            wrong(f"{path}.{key}", value, "a list of strings, not empty")
            return None
        lists[key] = value
    for role in lists["roles"]:
        if role not in ROLES | COMPONENT_ROLES:
            wrong(f"{path}.roles", role, "one of " + ", ".join(sorted(ROLES | COMPONENT_ROLES)))
    for action in lists["actions"]:
        if action not in set(Action):
            wrong(f"{path}.actions", action, "one of " + ", ".join(Action))
    actions = frozenset(Action(action) for action in lists["actions"] if action in set(Action))
    return Rule(roles=frozenset(lists["roles"]), actions=actions, references=tuple(lists["references"]))
