"""Single objects and sequences packed into ASDUs of at most 249 octets, a hundred per ``struct`` call."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from s4g_gateway.codecs.iec104.identifiers import ASDU_HEADER_BYTES, MAX_ASDU_BYTES

_ROOM: Final = MAX_ASDU_BYTES - ASDU_HEADER_BYTES
_MOST_OBJECTS: Final = 127
_SEQUENCE: Final = 0x80
_ASDUS_PER_PACK: Final = 8
_SHORTEST_SEQUENCE: Final = 8


@lru_cache(maxsize=512)
def element_struct(unit: str, count: int) -> Struct:
    """Returns the packer of ``count`` objects; ``unit`` is the struct format of one."""
    return Struct("<" + unit * count)


def asdu_header(type_id: int, common_address: int, cause: int) -> tuple[int, bytes]:
    """Returns type and the four octets after the count: cause, originator 0, common address."""
    return type_id, bytes((cause, 0)) + common_address.to_bytes(2, "little")


def pack_objects(header: tuple[int, bytes], unit: str, flat: list[Any], count: int) -> list[bytes]:
    """Packs single objects and cuts them into as few ASDUs as the 249 octets allow."""
    type_id, tail = header
    size = element_struct(unit, 1).size
    most = min(_ROOM // size, _MOST_OBJECTS)
    width = len(flat) // count
    step = most * _ASDUS_PER_PACK
    asdus: list[bytes] = []
    full = bytes((type_id, most)) + tail
    for start in range(0, count, step):
        part = min(step, count - start)
        piece = flat if part == count else flat[start * width : (start + part) * width]
        data = element_struct(unit, part).pack(*piece)
        whole = part - part % most
        asdus += [full + data[at : at + most * size] for at in range(0, whole * size, most * size)]
        if whole < part:
            asdus.append(bytes((type_id, part - whole)) + tail + data[whole * size :])
    return asdus


def pack_sequence(
    header: tuple[int, bytes], element: str, flat: list[Any], first_ioa: int, count: int
) -> list[bytes]:
    """Packs elements of consecutive addresses (SQ=1) and cuts them into ASDUs."""
    type_id, tail = header
    size = element_struct(element, 1).size
    most = min((_ROOM - 3) // size, _MOST_OBJECTS)
    width = len(flat) // count
    asdus: list[bytes] = []
    for start in range(0, count, most):
        part = min(most, count - start)
        data = element_struct(element, part).pack(*flat[start * width : (start + part) * width])
        head = bytes((type_id, _SEQUENCE | part)) + tail + (first_ioa + start).to_bytes(3, "little")
        asdus.append(head + data)
    return asdus


def stretches(ioas: Sequence[int]) -> list[tuple[int, int, bool]]:
    """Cuts ascending addresses into (start, stop, is_sequence).

    A stretch of consecutive addresses is a sequence if it is long enough to be worth an ASDU of its own; what
    lies between two sequences stays together.
    """
    if isinstance(ioas, range):
        return [(0, len(ioas), len(ioas) >= _SHORTEST_SEQUENCE)] if ioas else []
    found: list[tuple[int, int, bool]] = []
    count, start, loose = len(ioas), 0, 0
    while start < count:
        stop = start + 1
        while stop < count and ioas[stop] == ioas[stop - 1] + 1:
            stop += 1
        if stop - start >= _SHORTEST_SEQUENCE:
            if loose < start:
                found.append((loose, start, False))
            found.append((start, stop, True))
            loose = stop
        start = stop
    if loose < count:
        found.append((loose, count, False))
    return found
