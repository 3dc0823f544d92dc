"""Commands in, answers out: set-points by reference, each through the database's one way down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import structlog

from s4g_gateway.codecs.senml import (
    UNITS,
    Limits,
    Record,
    SenmlDecodeError,
    decode_pack,
    resolve,
)
from s4g_gateway.errors import DecodeError, ProfileError
from s4g_gateway.interfaces import Command, CommandAnswer, CommandError, command_controls
from s4g_gateway.model import (
    NS_PER_S,
    AddCause,
    Control,
    ControlPoint,
    DataSet,
    Member,
    Origin,
    OriginCategory,
    Value,
    ValueType,
)
from s4g_gateway.northbound.mqtt.packs import pairs_pack, sniff
from s4g_gateway.profiles.senml import columns_of
from s4g_gateway.runtime.contract import Services
from s4g_gateway.security import Principal

_WHOLE = (ValueType.INTEGER, ValueType.ENUMERATED)
# Beyond this a double is no exact integer any more, and no device has such a state.
_EXACT = 2.0**53
# A start further ahead than this is one that was meant; below it is the time of sending.
_AHEAD_S = 1.0
_TOLD_LIMIT = 1000


class CommandDesk:
    """Carries out commands.

    Args:
        services: database, clock, counters.
        site: name of the site.
        max_bytes: largest command taken in.
    """

    def __init__(self, services: Services, site: str, max_bytes: int) -> None:
        self._services = services
        self._site = site
        self._limits = Limits(max_bytes=max_bytes)
        self._log: structlog.stdlib.BoundLogger = services.log
        self._told: set[str] = set()

    async def handle(self, principal: Principal, payload: bytes) -> bytes | None:
        """Carries out one command.

        Set-points go down one after the other; the first refusal ends the command and is its answer.

        Returns:
            The answer in the command's representation; None where it cannot be told which command was meant.
        """
        self._services.counters.add("commands_total")
        now_ns = self._services.clock.wall_ns()
        try:
            form = sniff(payload)
            records = resolve(decode_pack(payload, form, limits=self._limits), now_ns / NS_PER_S)
        except DecodeError as error:
            self._malformed(principal, str(error))
            return None
        try:
            controls = self._controls(principal, records, now_ns)
        except (CommandError, SenmlDecodeError) as error:
            self._malformed(principal, str(error))
            try:
                answer = CommandAnswer(
                    command_id=_command_id(records, self._site),
                    accepted=False,
                    add_cause=AddCause.INCONSISTENT_PARAMETERS,
                )
            except CommandError:
                return None
        else:
            answer = await self._carry_out(principal, controls)
        self._services.counters.add(
            "commands_accepted_total" if answer.accepted else "commands_refused_total"
        )
        return pairs_pack(answer.to_pairs(site=self._site), form)

    async def _carry_out(self, principal: Principal, controls: tuple[Control, ...]) -> CommandAnswer:
        command_id = controls[0].command_id
        for number, control in enumerate(controls):
            # Each set-point of a command has an identity of its own in the ledger.
            numbered = replace(control, command_id=f"{command_id}/{number}") if number else control
            answer = await self._services.database.control(principal, numbered)
            if not answer.accepted:
                return CommandAnswer.of(command_id, answer)
        return CommandAnswer(command_id=command_id, accepted=True)

    def _controls(
        self, principal: Principal, records: tuple[Record, ...], now_ns: int
    ) -> tuple[Control, ...]:
        points = {point.reference: point for point in self._services.database.arbitration.points()}
        head = f"{self._site}/"
        pairs: list[tuple[str, Value]] = []
        for record in records:
            name = record.name or ""
            pairs.append((name, canonical_value(record, points.get(name.removeprefix(head)))))  # type: ignore[call-overload]
        starts_ns = [round((record.time_s or 0.0) * 1_000_000) * 1000 for record in records]
        ahead = any(start_ns > now_ns + _AHEAD_S * NS_PER_S for start_ns in starts_ns)
        command = Command.from_pairs(pairs, site=self._site, times_ns=starts_ns if ahead else None)
        origin = Origin(category=OriginCategory.REMOTE_CONTROL, identity=principal.name)
        return command_controls(command, origin=origin, time_ns=now_ns)

    def _malformed(self, principal: Principal, reason: str) -> None:
        self._services.counters.add("malformed_total")
        # Once per client: a broken one must not fill the log.
        if principal.name not in self._told and len(self._told) < _TOLD_LIMIT:
            self._told.add(principal.name)
            self._log.warning("malformed command", sender=principal.name, reason=reason)


def canonical_value(record: Record, point: ControlPoint | None) -> Value:
    """Returns the value of a record in the canonical unit of its point.

    A record without unit counts in the unit in which the point's values are published.

    Raises:
        CommandError: the unit does not fit the point.
    """
    if record.string_value is not None:
        return record.string_value
    if record.boolean_value is not None:
        return record.boolean_value
    value: float | None = record.value
    if value is None or point is None:
        return value
    if (point.unit or record.unit) and record.unit != point.unit:
        try:
            (column,) = columns_of(DataSet("command", (_member(point),)), site="")
        except ProfileError as error:
            raise CommandError(f"{point.reference}: {error}") from error
        # Fractions of the digits that were sent, so that 0.29 are 29 % and no neighbour of it.
        exact = Fraction(str(value))
        if record.unit is not None and record.unit != column.unit:
            unit = UNITS.get(record.unit)
            if unit is None or unit.primary != column.unit:
                raise CommandError(f"{record.name}: found unit {record.unit!r}, expected {column.unit!r}")
            exact = exact * unit.scale + unit.offset
        value = float(exact * Fraction(column.scale.divisor) / Fraction(column.scale.multiplier))
    if point.value_type in _WHOLE and float(value).is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


def _member(point: ControlPoint) -> Member:
    return Member(reference=point.reference, value_type=point.value_type, unit=point.unit)


def _command_id(records: tuple[Record, ...], site: str) -> str:
    members: Mapping[str, str | None] = {record.name or "": record.string_value for record in records}
    return members.get(f"{site}/cmd.id") or ""
