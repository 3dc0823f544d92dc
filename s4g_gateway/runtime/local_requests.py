"""What each request of the local socket does with the site's database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from s4g_gateway.errors import DecodeError
from s4g_gateway.model import (
    NS_PER_S,
    Control,
    ControlPoint,
    ControlService,
    ObjectReference,
    Origin,
    OriginCategory,
)
from s4g_gateway.runtime.clock import Clock
from s4g_gateway.runtime.database import RealTimeDatabase
from s4g_gateway.runtime.local_protocol import CHUNK_POINTS, ListPoints, Operate, Read, ReadFunction
from s4g_gateway.runtime.local_watch import finite, matches
from s4g_gateway.security import Action, Principal

Fields = Mapping[str, Any]


def id_of(line: bytes) -> int | str | None:
    """Returns the ``id`` of a line that is no request, as far as it has one."""
    try:
        message = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, int | str) else None


def status(site_status: Any) -> dict[str, Any]:
    """Returns a site's status as JSON types."""
    found: dict[str, Any] = msgspec.to_builtins(site_status)
    return found


def list_points(database: RealTimeDatabase, principal: Principal, request: ListPoints) -> Iterator[Fields]:
    """Yields the answer lines of ``list``: points first, then controls that are no points."""
    controls = {
        point.reference: point
        for point in database.arbitration.points()
        if database.policy.allows(principal, Action.CONTROL, point.reference)
    }
    chunk: list[Fields] = []
    for data_set in database.data_sets():
        for member in data_set.members:
            reference = member.reference
            if not matches(request.match, reference):
                continue
            if not database.policy.allows(principal, Action.READ, reference):
                continue
            point: dict[str, Any] = {
                "reference": reference,
                "value_type": member.value_type.value,
                "unit": member.unit,
                "cdc": member.cdc,
                "description": member.description,
                "data_set": data_set.name,
                "readable": True,
            }
            control = controls.pop(reference, None)
            if control is not None:
                point["control"] = _control(control)
            chunk.append(point)
            if len(chunk) == CHUNK_POINTS:
                yield {"points": chunk, "more": True}
                chunk = []
    for control in controls.values():
        if matches(request.match, control.reference):
            chunk.append(
                {
                    "reference": control.reference,
                    "value_type": control.value_type.value,
                    "unit": control.unit,
                    "description": control.description,
                    "readable": False,
                    "control": _control(control),
                }
            )
    yield {"points": chunk}


def _control(point: ControlPoint) -> Fields:
    of_functions = {"functions": point.functions, "device": point.device} if point.functions else {}
    return {
        "value_type": point.value_type.value,
        "unit": point.unit,
        "model": point.model.name.lower().replace("_", "-"),
        "minimum": point.minimum,
        "maximum": point.maximum,
        "expires": point.expires,
    } | of_functions


def read_points(database: RealTimeDatabase, principal: Principal, request: Read) -> Fields:
    """Returns the answer of ``read``.

    Raises:
        AccessError: the principal may not read a point.
        ModelError: a point does not exist.
    """
    points = []
    for reference in request.references:
        state = database.read(principal, reference)
        points.append(
            {
                "reference": reference,
                "value": state.value,
                "unit": state.member.unit,
                "quality": state.quality,
                "time_ns": state.time_ns,
                "age_s": finite(state.age_s),
                "owner": state.owner,
            }
        )
    return {"points": points}


async def read_function(database: RealTimeDatabase, principal: Principal, request: ReadFunction) -> Fields:
    """Returns the answer of ``function``: what the device says of it now.

    Raises:
        AccessError: the principal may not read it.
        ModelError: the point takes no function requests.
        AdapterError: the device did not answer, or lacks the function.
    """
    state = await database.arbitration.read_function(principal, request.reference, request.code)
    return {
        "function": state.function,
        "enabled": state.enabled,
        "parameters": dict(state.parameters),
        "curve": state.curve,
        "points_limit": state.points_limit,
        "place": state.place,
    }


async def operate(database: RealTimeDatabase, clock: Clock, principal: Principal, request: Operate) -> Fields:
    """Sends one Control down and returns what became of it.

    Raises:
        DecodeError: value and service do not go together.
    """
    needs_value = request.service in ("select", "operate")
    if needs_value != (request.value is not None):
        expected = "a value" if needs_value else "no value"
        raise DecodeError(f"no request: {request.service} takes {expected} - at `$.value`")
    now_ns = clock.wall_ns()
    service = ControlService.OPERATE if request.service == "release" else ControlService(request.service)
    control = Control(
        reference=ObjectReference(request.reference),
        service=service,
        value=request.value,
        # Operation from a service tool at the station, not through the control centre.
        origin=Origin(category=OriginCategory.MAINTENANCE, identity=principal.name),
        ctl_num=request.ctl_num,
        time_ns=now_ns,
        test=request.test,
        priority=request.priority,
        not_after_ns=None if request.for_s is None else now_ns + round(request.for_s * NS_PER_S),
        command_id=request.command_id,
    )
    answer = await database.control(principal, control)
    return {"accepted": answer.accepted, "add_cause": answer.add_cause.name, "detail": answer.detail}
