from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.codecs.iec104 import (
    ASDU_TYPES,
    Asdu,
    InformationObject,
    TimeTag,
    TypeId,
    decode_asdu,
    decode_columns,
    encode_asdu,
    pack_asdus,
)
from s4g_gateway.errors import EncodeError

MONITORED = [number for number, kind in ASDU_TYPES.items() if not kind.control and not kind.single]
T0 = 1_709_251_199_999_000_000
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "SIQ": st.integers(0, 1),
    "DIQ": st.integers(0, 3),
    "VTI_QDS": st.integers(-64, 63),
    "BSI_QDS": st.integers(0, 2**32 - 1),
    "NVA_QDS": st.integers(-32768, 32767),
    "SVA_QDS": st.integers(-32768, 32767),
    "R32_QDS": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "BCR": st.integers(-(2**31), 2**31 - 1),
}


@given(st.data(), st.sampled_from(MONITORED))
def test_packing_many_gives_what_encoding_each_gives(data: st.DataObject, number: int) -> None:
    kind = ASDU_TYPES[number]
    count = data.draw(st.integers(1, 150))
    rows = st.lists(
        st.tuples(
            st.integers(0, 0xFFFFFF),
            VALUES[kind.element],
            st.integers(0, 255).map(lambda bits: bits & kind.quality.mask if kind.quality else 0),
            st.integers(0, kind.qualifier.mask >> kind.qualifier.shift) if kind.qualifier else st.just(0),
            st.integers(0, 10**15).map(lambda ms: T0 + ms % 10**12 * 10**6),
        ),
        min_size=count,
        max_size=count,
    )
    addresses, values, qualities, qualifiers, times = map(list, zip(*data.draw(rows), strict=True))
    packed = pack_asdus(
        TypeId(number),
        241,
        3,
        addresses=addresses,
        values=values,
        qualities=qualities,
        times_ns=times if kind.timed else None,
        qualifiers=qualifiers,
    )
    wanted = [
        InformationObject(*row[:4], False, TimeTag(row[4]) if kind.timed else None)
        for row in zip(addresses, values, qualities, qualifiers, times, strict=True)
    ]
    assert [item for octets in packed for item in decode_asdu(octets).objects] == wanted
    for octets in packed:
        assert len(octets) <= 249
        assert encode_asdu(decode_asdu(octets)) == octets
    if len(packed) > 1:
        full = len(packed[0])
        assert full + kind.object_struct.size > 249 or packed[0][1] == 127, (
            "an ASDU is filled before the next"
        )
        assert all(len(octets) == full for octets in packed[:-1])


def test_sequences_break_at_gaps_and_at_the_size_limit() -> None:
    addresses = [*range(1, 61), 70, 71]
    packed = pack_asdus(
        TypeId.M_ME_NC_1, 1, 20, addresses=addresses, values=[float(a) for a in addresses], sequence=True
    )
    shapes = [(d.objects[0].address, len(d.objects), d.sequence) for d in map(decode_asdu, packed)]
    assert shapes == [(1, 48, True), (49, 12, True), (70, 2, True)]
    assert [i.value for d in map(decode_asdu, packed) for i in d.objects] == [float(a) for a in addresses]


def test_127_single_points_fit_one_sequence() -> None:
    packed = pack_asdus(TypeId.M_SP_NA_1, 1, 20, addresses=range(1, 129), values=[1] * 128, sequence=True)
    assert [octets[1] for octets in packed] == [0x80 | 127, 0x80 | 1]


def test_one_time_and_quality_for_all() -> None:
    packed = pack_asdus(
        TypeId.M_ME_TF_1, 1, 3, addresses=[1, 2], values=[1.0, 2.0], qualities=0x80, times_ns=T0, originator=9
    )
    assert [decode_asdu(octets) for octets in packed] == [
        Asdu(
            type_id=TypeId.M_ME_TF_1,
            cause=3,
            common_address=1,
            objects=(
                InformationObject(1, 1.0, 0x80, time=TimeTag(T0)),
                InformationObject(2, 2.0, 0x80, time=TimeTag(T0)),
            ),
            originator=9,
        )
    ]


def test_nothing_packs_to_nothing() -> None:
    assert pack_asdus(TypeId.M_SP_NA_1, 1, 3, addresses=[], values=[]) == []


GOOD: dict[str, Any] = {"addresses": [1, 2], "values": [0, 1]}


@pytest.mark.parametrize(
    ("type_id", "change"),
    [
        (TypeId.M_SP_NA_1, {"values": [0, 2]}),
        (TypeId.M_SP_NA_1, {"values": [0]}),
        (TypeId.M_SP_NA_1, {"values": [0, 0.5]}),
        (TypeId.M_SP_NA_1, {"qualities": [0]}),
        (TypeId.M_SP_NA_1, {"qualities": 0x01}),
        (TypeId.M_SP_NA_1, {"qualities": 0x100}),
        (TypeId.M_SP_NA_1, {"qualifiers": 1}),
        (TypeId.M_SP_NA_1, {"qualifiers": [0, 1]}),
        (TypeId.M_SP_NA_1, {"addresses": [1, 1 << 24]}),
        (TypeId.M_SP_NA_1, {"addresses": [-1, 1]}),
        (TypeId.M_SP_NA_1, {"times_ns": T0}),
        (TypeId.M_SP_TB_1, {}),
        (TypeId.M_SP_TB_1, {"times_ns": [T0]}),
        (TypeId.M_SP_TB_1, {"times_ns": [T0, 0]}),
        (TypeId.M_SP_TB_1, {"times_ns": T0, "sequence": True}),
        (TypeId.M_ST_NA_1, {"values": [0, 64]}),
        (TypeId.M_ST_NA_1, {"values": [-65, 0]}),
        (TypeId.M_ME_NB_1, {"values": [0, 32768]}),
        (TypeId.M_ME_NB_1, {"values": [0, 0.5]}),
        (TypeId.M_ME_NC_1, {"values": [0.0, float("nan")]}),
        (TypeId.M_ME_NC_1, {"values": [float("inf"), float("-inf")]}),
        (TypeId.M_ME_NC_1, {"values": [1e39, 0.0]}),
        (TypeId.C_SC_NA_1, {}),
        (TypeId.M_EI_NA_1, {}),
    ],
)
def test_what_the_type_cannot_carry_is_an_encode_error(type_id: TypeId, change: dict[str, Any]) -> None:
    with pytest.raises(EncodeError):
        pack_asdus(type_id, 1, 3, **{**GOOD, **change})


def test_columns_of_a_type_that_lacks_them_are_none() -> None:
    columns = decode_columns(bytes.fromhex("66 01 05 00 01 00  0b 00 00"))
    assert (columns.addresses, columns.values, columns.qualities, columns.times) == ([11], None, None, None)
