"""xDLMS requests and answers as bytes: GET and Read, of one attribute or a list, with blocks and selection.

Gurux builds and reads these too, but drops the refused members of a Read answer (so that the values behind them
slip to other objects) and keeps one error for a whole list; here every member keeps its own result.

Source: IEC 62056-5-3 GET, ACTION and Read services (clauses unverified, via the Gurux and dlms-cosem sources).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from s4g_gateway.workers.dlms.faults import FaultKind, MeterFaultError, bad_answer

INVOCATION: Final = 0x40  # confirmed, normal priority; the lower four bits count
MAX_RESULT_BYTES: Final = 8 << 20
_STATE_ERRORS: Final = {1: "service not allowed", 2: "service unknown"}
_SERVICE_ERRORS: Final = {
    1: "operation not possible",
    2: "service not supported",
    3: "other reason",
    4: "PDU too long",
    5: "deciphering error",
    6: "invocation counter error",
}

Exchange = Callable[[bytes], bytes]
SkipValue = Callable[[bytes, int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An attribute of an object.

    Attributes:
        class_id: interface class.
        logical_name: OBIS code, 6 bytes.
        attribute: its number, from 1.
        base_name: short name of the object; 0 where it has none.
        selection: selector byte and parameters of selective access; empty for the whole attribute.
    """

    class_id: int
    logical_name: bytes
    attribute: int = 2
    base_name: int = 0
    selection: bytes = b""


@dataclass(frozen=True, slots=True)
class Result:
    """What an access came to.

    Attributes:
        data: A-XDR bytes of the value; empty with an error.
        error: data access result, 0 for success.
    """

    data: bytes = b""
    error: int = 0


def check_refusal(apdu: bytes) -> None:
    """Looks for an answer that refuses a request as a whole.

    Raises:
        MeterFaultError: it is an exception response or a confirmed service error.
    """
    if apdu[:1] == b"\xd8":
        state, service = (*apdu[1:3], 0, 0)[:2]
        what = f"{_STATE_ERRORS.get(state, state)}, {_SERVICE_ERRORS.get(service, service)}"
        if service == 6 and len(apdu) >= 7:
            what += f" (the meter expects {int.from_bytes(apdu[3:7], 'big')})"
        raise MeterFaultError(FaultKind.REFUSED, what)
    if apdu[:1] == b"\x0e":
        raise MeterFaultError(FaultKind.REFUSED, f"confirmed service error {apdu[1:4].hex()}")


def get(targets: Sequence[Target], invocation: int, exchange: Exchange, skip: SkipValue) -> list[Result]:
    """Reads attributes by logical names.

    Args:
        targets: one, or several where the meter has GET-with-list.
        invocation: 0 to 15, another than the last one.
        exchange: sends a request and returns the answer.
        skip: returns the offset behind the value at an offset.

    Raises:
        MeterFaultError: refused as a whole, or no answer to this request.
    """
    mark = bytes((INVOCATION | invocation,))
    kind = 1 if len(targets) == 1 else 3
    request = bytes((0xC0, kind)) + mark + (b"" if kind == 1 else bytes((len(targets),)))
    for target in targets:
        request += target.class_id.to_bytes(2, "big") + target.logical_name + bytes((target.attribute,))
        request += b"\x01" + target.selection if target.selection else b"\x00"
    answer = _get_answer(exchange(request), mark)
    if answer[1] == 2:
        body = _get_blocks(answer, mark, exchange)
        if isinstance(body, int):
            return [Result(error=body)] * len(targets)
        body = b"\x00" + body if kind == 1 else body
    elif answer[1] == kind:
        body = answer[3:]
    else:
        raise bad_answer(f"GET response of type {answer[1]}, expected {kind}")
    return _results(body, len(targets), skip, with_count=kind == 3)


def _get_answer(apdu: bytes, mark: bytes) -> bytes:
    check_refusal(apdu)
    if apdu[:1] != b"\xc4" or len(apdu) < 4:
        raise bad_answer(f"APDU {apdu[:4].hex()}, expected a GET response")
    if apdu[2:3] != mark:
        raise bad_answer(f"invoke id {apdu[2]:#04x}, expected {mark[0]:#04x}")
    return apdu


def _get_blocks(answer: bytes, mark: bytes, exchange: Exchange) -> bytes | int:
    found, expected = b"", 1
    while True:
        if answer[1] != 2 or len(answer) < 10:
            if answer[1] == 1 and answer[3] == 1 and len(answer) == 5:
                return answer[4]
            raise bad_answer(f"GET response {answer[:10].hex()}, expected a block")
        number = int.from_bytes(answer[4:8], "big")
        if number != expected:
            raise bad_answer(f"block {number}, expected {expected}")
        if answer[8] != 0:
            return answer[9]
        found += _sized(answer, 9)
        if answer[3]:
            return found
        if len(found) > MAX_RESULT_BYTES:
            raise bad_answer(f"a result of more than {MAX_RESULT_BYTES} bytes")
        expected += 1
        answer = _get_answer(exchange(b"\xc0\x02" + mark + number.to_bytes(4, "big")), mark)


def read(targets: Sequence[Target], exchange: Exchange, skip: SkipValue) -> list[Result]:
    """Reads attributes by short names; otherwise as ``get``.

    An answer carries nothing that names its request; so one that is not the next thing on the link is never used.
    """
    request = bytes((0x05, len(targets)))
    for target in targets:
        name = (target.base_name + 8 * (target.attribute - 1)).to_bytes(2, "big")
        request += b"\x04" + name + target.selection if target.selection else b"\x02" + name
    answer = _read_answer(exchange(request))
    if answer[1:3] == b"\x01\x02":
        found, expected = b"", 1
        while True:
            number = int.from_bytes(answer[4:6], "big")
            if answer[1:3] != b"\x01\x02" or number != expected or len(answer) < 7:
                raise bad_answer(f"Read response {answer[:7].hex()}, expected block {expected}")
            found += _sized(answer, 6)
            if answer[3]:
                break
            if len(found) > MAX_RESULT_BYTES:
                raise bad_answer(f"a result of more than {MAX_RESULT_BYTES} bytes")
            expected += 1
            answer = _read_answer(exchange(b"\x05\x01\x05" + number.to_bytes(2, "big")))
        return _results(found, len(targets), skip, with_count=True)
    return _results(answer[1:], len(targets), skip, with_count=True)


def _read_answer(apdu: bytes) -> bytes:
    check_refusal(apdu)
    if apdu[:1] != b"\x0c" or len(apdu) < 3:
        raise bad_answer(f"APDU {apdu[:4].hex()}, expected a Read response")
    return apdu


def _sized(data: bytes, offset: int) -> bytes:
    size, offset = length(data, offset)
    if size != len(data) - offset:
        raise bad_answer(f"a block of {len(data) - offset} bytes that says {size}")
    return data[offset:]


def length(data: bytes, offset: int) -> tuple[int, int]:
    """Reads a length; returns it and the offset behind it.

    Raises:
        MeterFaultError: there is none.
    """
    if offset < len(data):
        first = data[offset]
        if first < 0x80:
            return first, offset + 1
        size = first & 0x7F
        if 1 <= size <= 4 and offset + 1 + size <= len(data):
            return int.from_bytes(data[offset + 1 : offset + 1 + size], "big"), offset + 1 + size
    raise bad_answer("a length is missing")


def _results(body: bytes, count: int, skip: SkipValue, *, with_count: bool) -> list[Result]:
    offset = 0
    if with_count:
        said, offset = length(body, 0)
        if said != count:
            raise bad_answer(f"{said} results, expected {count}")
    results = []
    for _ in range(count):
        if offset + 2 > len(body):
            raise bad_answer("the answer is cut short")
        if body[offset] == 0:
            end = skip(body, offset + 1)
            results.append(Result(body[offset + 1 : end]))
            offset = end
        elif body[offset] == 1:
            results.append(Result(error=body[offset + 1]))
            offset += 2
        else:
            raise bad_answer(f"a result of kind {body[offset]}, expected data or an error")
    if offset != len(body):
        raise bad_answer(f"{len(body) - offset} bytes too many")
    return results


def action_request(target: Target, invocation: int, parameters: bytes) -> bytes:
    """Returns an ACTION request; ``target.attribute`` is the number of the method."""
    return (
        bytes((0xC3, 1, INVOCATION | invocation))
        + target.class_id.to_bytes(2, "big")
        + target.logical_name
        + bytes((target.attribute, 1))
        + parameters
    )


def action_result(apdu: bytes, invocation: int) -> Result:
    """Reads the answer to an ACTION.

    Raises:
        MeterFaultError: refused, or no answer to this request.
    """
    check_refusal(apdu)
    if apdu[:2] != b"\xc7\x01" or len(apdu) < 5 or apdu[2] != INVOCATION | invocation:
        raise bad_answer(f"APDU {apdu[:4].hex()}, expected the ACTION response")
    if apdu[3]:
        return Result(error=apdu[3])
    return Result(apdu[6:]) if apdu[4:6] == b"\x01\x00" else Result()
