"""Layout: a model definition laid out over the registers of one device's instance of it.

Instances differ: model 1 has 65 or 66 registers, repeating groups come as often as a count point or the
length says, and older devices stop short. A layout is made per (model, length, counts), once per connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from s4g_gateway.errors import EncodeError, ProfileError
from s4g_gateway.profiles.sunspec.definition import GroupDefinition, ModelDefinition, PointDefinition
from s4g_gateway.profiles.sunspec.point_types import Kind, Value, pack, unpack

HEADER_REGISTERS = 2
_GROUP_LIMIT = 1000
_TENS: tuple[int, ...] = tuple(10**n for n in range(11))

# Every group from the top-level one down to the present one, each with the prefix of its points.
_Scopes = tuple[tuple[str, GroupDefinition], ...]


@dataclass(frozen=True, slots=True)
class LayoutPoint:
    """A point with its place.

    Attributes:
        path: name within the model, with 1-based positions in repeating groups: ``W``, ``module[2].DCW``,
            ``PFWInj.PF``.
        definition: what it is.
        offset: registers from the model's ID register.
        scale: path of its scale factor, the fixed power of ten, or None.
    """

    path: str
    definition: PointDefinition
    offset: int
    scale: str | int | None

    @property
    def end(self) -> int:
        """Offset after its last register."""
        return self.offset + self.definition.registers


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where every point of one model instance stands; two layouts are the same only if they are one object.

    Attributes:
        model_id: the model.
        length: its L: registers after ID and L.
        points: the points that fit in the length, in order of offset.
        index: the points by path.
    """

    model_id: int
    length: int
    points: tuple[LayoutPoint, ...]
    index: Mapping[str, LayoutPoint] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", MappingProxyType({point.path: point for point in self.points}))

    @property
    def registers(self) -> int:
        """Registers of the whole model, ID and L included."""
        return self.length + HEADER_REGISTERS


def group_registers(group: GroupDefinition, counts: Mapping[str, int]) -> int:
    """Returns the registers of one occurrence of a group.

    Args:
        group: the group.
        counts: values of the count points; open-ended groups inside count 0.

    Raises:
        ProfileError: a count is missing.
    """
    inner = sum(group_registers(child, counts) * _named_count(child, counts) for child in group.groups)
    return sum(point.registers for point in group.points) + inner


def _named_count(group: GroupDefinition, counts: Mapping[str, int]) -> int:
    if isinstance(group.count, int):
        return group.count
    if group.count not in counts:
        raise ProfileError(f"group {group.name}: its count point {group.count} is not known")
    return counts[group.count]


def count_points(definition: ModelDefinition) -> tuple[str, ...]:
    """Returns the names of the points that say how often groups repeat."""

    def names(group: GroupDefinition) -> Iterator[str]:
        if isinstance(group.count, str):
            yield group.count
        for child in group.groups:
            yield from names(child)

    return tuple(dict.fromkeys(names(definition.group)))


def fixed_layout(definition: ModelDefinition, length: int) -> Layout:
    """Returns the layout of the top-level points alone: enough to read the count points."""
    return Layout(definition.model_id, length, tuple(_fitting(_points((("", definition.group),), 0), length)))


def compile_layout(
    definition: ModelDefinition, length: int, counts: Mapping[str, int] | None = None
) -> Layout:
    """Lays a model out over a device's registers.

    Args:
        definition: the model.
        length: L of the device, 0 to 65533.
        counts: values of the points that ``count_points`` names.

    Returns:
        The layout; points beyond the length are left out.

    Raises:
        ProfileError: a count is missing or beyond reason.
    """
    return _compile(definition, length, tuple((counts or {}).items()))


@lru_cache(maxsize=512)
def _compile(definition: ModelDefinition, length: int, counts: tuple[tuple[str, int], ...]) -> Layout:
    """Compiles a layout once for all devices that have it."""
    for name, count in counts:
        if not 0 <= count <= _GROUP_LIMIT:
            raise ProfileError(f"model {definition.model_id}: {name} = {count}, expected 0 to {_GROUP_LIMIT}")
    points = list(_walk((("", definition.group),), 0, dict(counts), length + HEADER_REGISTERS))
    return Layout(definition.model_id, length, tuple(_fitting(points, length)))


def full_length(
    definition: ModelDefinition, counts: Mapping[str, int] | None = None, repeats: int = 0
) -> int:
    """Returns the L of a complete instance, for simulators.

    Args:
        definition: the model.
        counts: values of its count points.
        repeats: how often an open-ended group stands there.
    """
    registers = group_registers(definition.group, counts or {}) - HEADER_REGISTERS
    for child in definition.group.groups:
        if child.count == 0:
            registers += repeats * group_registers(child, counts or {})
    return registers


def _walk(scopes: _Scopes, offset: int, counts: Mapping[str, int], end: int) -> Iterator[LayoutPoint]:
    prefix, group = scopes[-1]
    yield from _points(scopes, offset)
    offset += sum(point.registers for point in group.points)
    for child in group.groups:
        size = group_registers(child, counts)
        count = _named_count(child, counts)
        if child.count == 0:
            count = min(max(end - offset, 0) // size, _GROUP_LIMIT)
        for place in range(1, count + 1):
            name = child.name if child.count == 1 else f"{child.name}[{place}]"
            yield from _walk((*scopes, (f"{prefix}{name}.", child)), offset, counts, end)
            offset += size


def _points(scopes: _Scopes, offset: int) -> Iterator[LayoutPoint]:
    prefix, group = scopes[-1]
    for point in group.points:
        scale = point.scale_factor
        if isinstance(scale, str):
            scale = _scale_path(scale, scopes)
        yield LayoutPoint(prefix + point.name, point, offset, scale)
        offset += point.registers


def _scale_path(name: str, scopes: _Scopes) -> str:
    """Finds a scale factor in the group itself, then in the groups around it."""
    for prefix, group in reversed(scopes):
        if any(point.name == name for point in group.points):
            return prefix + name
    raise ProfileError(f"scale factor {name} is nowhere in its model")


def _fitting(points: Iterator[LayoutPoint] | list[LayoutPoint], length: int) -> Iterator[LayoutPoint]:
    return (point for point in points if point.end <= length + HEADER_REGISTERS)


def scale_of(point: LayoutPoint, values: Mapping[str, Value]) -> int | None:
    """Returns a point's power of ten, 0 where it has none, None where the device does not say."""
    if point.scale is None:
        return 0
    exponent = point.scale if isinstance(point.scale, int) else values.get(point.scale)
    return exponent if isinstance(exponent, int) and -10 <= exponent <= 10 else None


def decode_model(layout: Layout, data: bytes) -> dict[str, Value]:
    """Decodes every point of a model, unscaled; the slow way, for controls and for inspection.

    Args:
        layout: the layout.
        data: all its registers from ID on.

    Returns:
        Raw values by path; None where a point is not implemented.
    """
    return {
        point.path: unpack(point.definition.type, data[2 * point.offset : 2 * point.end])
        for point in layout.points
        if 2 * point.end <= len(data)
    }


def scaled(layout: Layout, path: str, values: Mapping[str, Value]) -> Value:
    """Returns a raw value scaled; None where the value or its scale factor is not implemented."""
    point = layout.index.get(path)
    raw = values.get(path)
    if point is None or raw is None or isinstance(raw, str):
        return raw
    exponent = scale_of(point, values)
    if exponent is None:
        return None
    if point.scale is None:
        return raw
    return raw * _TENS[exponent] if exponent > 0 else raw / _TENS[-exponent]


def unscaled(layout: Layout, path: str, value: float, values: Mapping[str, Value]) -> Value:
    """Returns the raw value nearest to a scaled one.

    Raises:
        EncodeError: the layout has no such point, or its scale factor is not implemented.
    """
    point = layout.index.get(path)
    if point is None:
        raise EncodeError(f"model {layout.model_id} of this device has no point {path}")
    if point.definition.type.kind is Kind.FLOAT:
        return float(value)
    exponent = scale_of(point, values)
    if exponent is None:
        raise EncodeError(f"model {layout.model_id}: the scale factor of {path} is not implemented")
    return round(value / _TENS[exponent]) if exponent > 0 else round(value * _TENS[-exponent])


def encode_model(layout: Layout, values: Mapping[str, Value]) -> bytes:
    """Encodes a whole model, for simulators.

    Args:
        layout: the layout.
        values: scaled values by path; scale factors as powers of ten; what is missing is "not implemented".

    Returns:
        All registers from ID on.

    Raises:
        EncodeError: a value does not fit its point, or no point has its name.
    """
    wrong = values.keys() - layout.index.keys()
    if wrong:
        raise EncodeError(f"model {layout.model_id} has no points {', '.join(sorted(wrong))}")
    data = bytearray(2 * layout.registers)
    for point in layout.points:
        data[2 * point.offset : 2 * point.end] = encode_point(layout, point, values)
    return bytes(data)


def encode_point(layout: Layout, point: LayoutPoint, values: Mapping[str, Value]) -> bytes:
    """Encodes one point of a model; arguments as ``encode_model``.

    Raises:
        EncodeError: the value does not fit.
    """
    path, kind = point.path, point.definition.type
    if path == "ID":
        value: Value = layout.model_id
    elif path == "L":
        value = layout.length
    else:
        value = values.get(path)
        if isinstance(value, int | float) and kind.kind in (Kind.NUMBER, Kind.ACCUMULATOR):
            value = unscaled(layout, path, value, values)
    try:
        return pack(kind, value, point.definition.registers)
    except EncodeError as error:
        raise EncodeError(f"model {layout.model_id} {path}: {error}") from error
