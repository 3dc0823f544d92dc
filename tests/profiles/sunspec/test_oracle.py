"""pysunspec2 as an independent second reader of the same registers."""

import random
import struct

import pytest
import sunspec2.device

from s4g_gateway.profiles.sunspec import (
    compile_layout,
    decode_model,
    full_length,
    known_models,
    load_definition,
)
from s4g_gateway.profiles.sunspec.layout import count_points, encode_point, scaled
from s4g_gateway.profiles.sunspec.point_types import Kind, pack

# Their own unpacking of these differs: addresses are text in other spellings.
OTHER_SPELLING = {"ipaddr", "ipv6addr", "eui48"}


def random_value(point, rng):
    kind, registers = point.definition.type, point.definition.registers
    if kind.kind is Kind.PAD or rng.random() < 0.15:
        return None
    if kind.kind is Kind.SCALE:
        return rng.randint(-4, 3)
    if kind.kind is Kind.TEXT:
        return "".join(rng.choices("ABCxyz019-", k=rng.randint(1, 2 * registers)))
    if kind.kind is Kind.FLOAT:
        return struct.unpack(">f", struct.pack(">f", rng.uniform(-1e4, 1e4)))[0]
    if kind.name in OTHER_SPELLING:
        return None
    bits = 8 * struct.calcsize(kind.code)
    value = rng.randint(1, 2 ** (bits - 1) - 2)
    return -value if kind.code.islower() and rng.random() < 0.5 else value


def registers_of(model_id, rng):
    definition = load_definition(model_id)
    counts = dict.fromkeys(count_points(definition), 2)
    layout = compile_layout(definition, full_length(definition, counts, 2), counts)
    data = bytearray(2 * layout.registers)
    for point in layout.points:
        if point.path in ("ID", "L"):
            encoded = encode_point(layout, point, {})
        elif point.path in counts:
            encoded = pack(point.definition.type, counts[point.path], 1)
        elif point.path == "N" and model_id == 160:
            encoded = pack(point.definition.type, 2, 1)
        else:
            encoded = pack(point.definition.type, random_value(point, rng), point.definition.registers)
        data[2 * point.offset : 2 * point.end] = encoded
    return layout, bytes(data)


def flat(group, prefix=""):
    for name, point in group.points.items():
        yield prefix + name, point
    for name, child in group.groups.items():
        if isinstance(child, list):
            for place, each in enumerate(child, 1):
                yield from flat(each, f"{prefix}{name}[{place}].")
        else:
            yield from flat(child, f"{prefix}{name}.")


@pytest.mark.parametrize("model_id", sorted(known_models()))
def test_same_values_as_pysunspec2(model_id):
    rng = random.Random(model_id)
    for _ in range(3):
        layout, data = registers_of(model_id, rng)
        ours = decode_model(layout, data)
        theirs = dict(flat(sunspec2.device.Model(model_id, data=data, model_len=layout.length)))
        assert theirs.keys() == ours.keys()
        for path, point in theirs.items():
            definition = layout.index[path].definition
            if definition.type.kind is Kind.PAD or definition.type.name in OTHER_SPELLING:
                continue
            expected = point.value
            if definition.type.kind is Kind.TEXT and expected is not None:
                expected = expected.rstrip("\0") or None
            assert ours[path] == expected, path
            if expected is not None and definition.type.kind in (Kind.NUMBER, Kind.ACCUMULATOR):
                scale = layout.index[path].scale
                if isinstance(scale, str) and ours[scale] is None:
                    continue  # they take the value as it is; without its scale factor it means nothing
                assert scaled(layout, path, ours) == pytest.approx(point.cvalue, rel=1e-9), path
