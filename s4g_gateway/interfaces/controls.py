"""A command's set-points as Controls of the model."""

from __future__ import annotations

from dataclasses import dataclass

from s4g_gateway.errors import ModelError
from s4g_gateway.interfaces.commands import Command
from s4g_gateway.interfaces.description import Kind
from s4g_gateway.interfaces.errors import CommandError, MessageError
from s4g_gateway.interfaces.messages import MessageBinding, WireField, is_setpoint
from s4g_gateway.model import Control, ObjectReference, Origin, Value, parse_reference
from s4g_gateway.model.quality import GOOD


@dataclass(frozen=True, slots=True)
class _SetPoint:
    reference: ObjectReference
    value: Value
    start_ns: int
    end_ns: int
    field: WireField | None


def command_controls(
    command: Command, *, origin: Origin, time_ns: int, binding: MessageBinding | None = None
) -> tuple[Control, ...]:
    """Returns the Controls that a command asks for.

    A set-point of an array holds from its slot's start to the start of the next slot, the last one to the
    command's end; with the priority of its slot where the message has one, else with the command's. What only
    describes the command (a radial's name, a time span) makes no Control.

    Args:
        command: as it arrived.
        origin: who asks, as authenticated.
        time_ns: when, ns since 1970 UTC.
        binding: the command's message; None for an open message, whose set-points are references of the site
            with canonical values.

    Raises:
        CommandError: a set-point is unknown, repeated, of the wrong type, outside its limits, or begins at or
            after the command's end; a mandatory one is missing; or nothing in the command sets anything.
    """
    points = _open_points(command) if binding is None else _bound_points(command, binding)
    priorities = {
        point.start_ns: int(point.value)
        for point in points
        if point.field is not None and point.field.variable.slot_priority and isinstance(point.value, int)
    }
    controls = tuple(
        Control(
            reference=point.reference,
            value=point.value,
            origin=origin,
            ctl_num=command.ctl_num,
            time_ns=time_ns,
            priority=priorities.get(point.start_ns, command.priority),
            not_before_ns=point.start_ns,
            not_after_ns=point.end_ns,
            command_id=command.command_id,
        )
        for point in points
        if point.field is None or is_setpoint(point.field.variable)
    )
    if not controls:
        raise CommandError(f"command {command.command_id} sets nothing")
    return controls


def _times_ns(command: Command) -> tuple[int, ...]:
    times = (0,) * len(command.set_points) if command.times_ns is None else command.times_ns
    for (path, _), start_ns in zip(command.set_points, times, strict=True):
        if start_ns >= command.not_after_ns:
            raise CommandError(f"{path} begins at {start_ns} ns, not before cmd.notAfter")
    return times


def _open_points(command: Command) -> list[_SetPoint]:
    points = []
    for (path, value), start_ns in zip(command.set_points, _times_ns(command), strict=True):
        try:
            parse_reference(path)
        except ModelError as error:
            raise CommandError(str(error)) from error
        points.append(_SetPoint(ObjectReference(path), value, start_ns, command.not_after_ns, None))
    return points


def _bound_points(command: Command, binding: MessageBinding) -> list[_SetPoint]:
    message = binding.message
    if message.kind is not Kind.COMMAND:
        raise CommandError(f"{message.name} is no command")
    starts: dict[int, list[tuple[int, Value]]] = {}
    for (path, value), start_ns in zip(command.set_points, _times_ns(command), strict=True):
        at = binding.by_path.get(path)
        if at is None:
            raise CommandError(f"{path} is unknown to {message.name}; expected {', '.join(binding.by_path)}")
        starts.setdefault(at, []).append((start_ns, value))
    points = []
    for at, entry in enumerate(binding.fields):
        slots = sorted(starts.get(at, ()), key=lambda slot: slot[0])
        if not slots and entry.variable.mandatory:
            raise CommandError(f"{message.name}: {entry.path} is missing")
        if len(slots) > 1 and not entry.variable.array:
            raise CommandError(f"{entry.path} has {len(slots)} times, expected one, as it is no array")
        ends = [start_ns for start_ns, _ in slots[1:]] + [command.not_after_ns]
        for (start_ns, value), end_ns in zip(slots, ends, strict=False):
            reference = binding.data_set.members[entry.position].reference
            points.append(_SetPoint(reference, _canonical(entry, value), start_ns, end_ns, entry))
    return points


def _canonical(entry: WireField, value: Value) -> Value:
    try:
        canonical, quality = entry.from_wire(value)
    except MessageError as error:
        raise CommandError(str(error)) from error
    if quality != GOOD:
        raise CommandError(f"{entry.path}: {value!r} is outside its limits")
    return canonical
