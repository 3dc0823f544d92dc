from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.codecs.iec104 import (
    ASDU_TYPES,
    Asdu,
    CounterQualifier,
    InformationObject,
    QualityBit,
    TimeTag,
    TypeId,
    answer_to,
    decode_asdu,
    decode_header,
    encode_asdu,
    with_cause,
)
from s4g_gateway.errors import DecodeError, EncodeError

T = "5f ea 3b 17 1d 02 18"  # 2024-02-29 23:59:59.999
TAG = TimeTag(int(datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC).timestamp()) * 10**9 + 999 * 10**6)


def one(
    type_id: TypeId, cause: int, address: int, *, head: dict[str, Any] | None = None, **columns: Any
) -> Asdu:
    item = InformationObject(address, **columns)
    return Asdu(type_id=type_id, cause=cause, common_address=1, objects=(item,), **(head or {}))


# (octets: type vsq cot org ca | ioa | element | time, object)
GOLDEN = [
    (
        "01 01 03 00 01 00  0a 00 00  91",
        one(TypeId.M_SP_NA_1, 3, 10, value=1, quality=QualityBit.BLOCKED | QualityBit.INVALID),
    ),
    (
        "01 83 14 07 f1 00  01 00 00  00 01 80",  # SQ=1, originator 7, CA 241
        Asdu(
            type_id=TypeId.M_SP_NA_1,
            cause=20,
            common_address=241,
            objects=(
                InformationObject(1, 0),
                InformationObject(2, 1),
                InformationObject(3, 0, quality=QualityBit.INVALID),
            ),
            sequence=True,
            originator=7,
        ),
    ),
    (
        "03 01 03 00 01 00  0b 00 00  22",
        one(TypeId.M_DP_NA_1, 3, 11, value=2, quality=QualityBit.SUBSTITUTED),
    ),
    ("05 01 02 00 01 00  0c 00 00  c1 00", one(TypeId.M_ST_NA_1, 2, 12, value=-63, qualifier=1)),
    (
        "05 01 02 00 01 00  0c 00 00  3f 40",
        one(TypeId.M_ST_NA_1, 2, 12, value=63, quality=QualityBit.NOT_TOPICAL),
    ),
    (
        "07 01 14 00 01 00  0d 00 00  78 56 34 12 01",
        one(TypeId.M_BO_NA_1, 20, 13, value=0x12345678, quality=QualityBit.OVERFLOW),
    ),
    (
        "09 02 03 00 f1 00  ea 00 00  7c 40 00  f6 00 00  16 19 00",  # EDYNA: 16508 and 6422
        Asdu(
            type_id=TypeId.M_ME_NA_1,
            cause=3,
            common_address=241,
            objects=(InformationObject(234, 16508), InformationObject(246, 6422)),
        ),
    ),
    (
        "0b 01 03 00 01 00  ff ff ff  00 80 40",
        one(TypeId.M_ME_NB_1, 3, 0xFFFFFF, value=-32768, quality=QualityBit.NOT_TOPICAL),
    ),
    ("0d 01 01 00 01 00  0e 00 00  00 00 20 41 00", one(TypeId.M_ME_NC_1, 1, 14, value=10.0)),
    (
        "0f 01 25 00 01 00  0f 00 00  ff ff ff ff e3",
        one(
            TypeId.M_IT_NA_1,
            37,
            15,
            value=-1,
            qualifier=CounterQualifier.CARRY | CounterQualifier.ADJUSTED | 3,
            quality=QualityBit.INVALID,
        ),
    ),
    (f"1e 01 03 00 01 00  0a 00 00  01  {T}", one(TypeId.M_SP_TB_1, 3, 10, value=1, time=TAG)),
    (f"1f 01 0b 00 01 00  0b 00 00  01  {T}", one(TypeId.M_DP_TB_1, 11, 11, value=1, time=TAG)),
    (f"20 01 03 00 01 00  0c 00 00  7f 00  {T}", one(TypeId.M_ST_TB_1, 3, 12, value=-1, time=TAG)),
    (
        f"21 01 03 00 01 00  0d 00 00  ff ff ff ff 00  {T}",
        one(TypeId.M_BO_TB_1, 3, 13, value=0xFFFFFFFF, time=TAG),
    ),
    (f"22 01 03 00 01 00  0e 00 00  ff 7f 00  {T}", one(TypeId.M_ME_TD_1, 3, 14, value=32767, time=TAG)),
    (f"23 01 03 00 01 00  0e 00 00  ff ff 00  {T}", one(TypeId.M_ME_TE_1, 3, 14, value=-1, time=TAG)),
    (
        f"24 02 03 00 01 00  0e 00 00  00 00 00 3f 00  {T}  10 00 00  00 00 80 bf 80  {T}",
        Asdu(
            type_id=TypeId.M_ME_TF_1,
            cause=3,
            common_address=1,
            objects=(
                InformationObject(14, 0.5, time=TAG),
                InformationObject(16, -1.0, quality=QualityBit.INVALID, time=TAG),
            ),
        ),
    ),
    (f"25 01 03 00 01 00  0f 00 00  01 00 00 00 00  {T}", one(TypeId.M_IT_TB_1, 3, 15, value=1, time=TAG)),
    (
        "2d 01 06 05 01 00  64 00 00  85",
        one(TypeId.C_SC_NA_1, 6, 100, value=1, qualifier=1, select=True, head={"originator": 5}),
    ),
    ("2e 01 86 00 01 00  65 00 00  02", one(TypeId.C_DC_NA_1, 6, 101, value=2, head={"test": True})),
    (
        "2f 01 47 00 01 00  66 00 00  09",
        one(TypeId.C_RC_NA_1, 7, 102, value=1, qualifier=2, head={"negative": True}),
    ),
    ("30 01 06 00 01 00  67 00 00  00 40 80", one(TypeId.C_SE_NA_1, 6, 103, value=16384, select=True)),
    ("31 01 08 00 01 00  68 00 00  fe ff 05", one(TypeId.C_SE_NB_1, 8, 104, value=-2, qualifier=5)),
    ("32 01 06 00 01 00  69 00 00  00 00 80 3f 00", one(TypeId.C_SE_NC_1, 6, 105, value=1.0)),
    ("33 01 06 00 01 00  6a 00 00  ef be ad de", one(TypeId.C_BO_NA_1, 6, 106, value=0xDEADBEEF)),
    (f"3a 01 06 00 01 00  64 00 00  01  {T}", one(TypeId.C_SC_TA_1, 6, 100, value=1, time=TAG)),
    (f"3b 01 06 00 01 00  65 00 00  81  {T}", one(TypeId.C_DC_TA_1, 6, 101, value=1, select=True, time=TAG)),
    (f"3c 01 06 00 01 00  66 00 00  02  {T}", one(TypeId.C_RC_TA_1, 6, 102, value=2, time=TAG)),
    (f"3d 01 06 00 01 00  67 00 00  00 c0 00  {T}", one(TypeId.C_SE_TA_1, 6, 103, value=-16384, time=TAG)),
    (f"3e 01 06 00 01 00  68 00 00  10 27 00  {T}", one(TypeId.C_SE_TB_1, 6, 104, value=10000, time=TAG)),
    (
        f"3f 01 06 00 01 00  69 00 00  00 00 80 bf 00  {T}",
        one(TypeId.C_SE_TC_1, 6, 105, value=-1.0, time=TAG),
    ),
    (f"40 01 06 00 01 00  6a 00 00  01 00 00 00  {T}", one(TypeId.C_BO_TA_1, 6, 106, value=1, time=TAG)),
    ("46 01 04 00 01 00  00 00 00  02", one(TypeId.M_EI_NA_1, 4, 0, value=2)),
    ("64 01 06 00 01 00  00 00 00  14", one(TypeId.C_IC_NA_1, 6, 0, value=20)),
    ("65 01 06 00 01 00  00 00 00  45", one(TypeId.C_CI_NA_1, 6, 0, value=0x45)),
    ("66 01 05 00 01 00  0b 00 00", one(TypeId.C_RD_NA_1, 5, 11)),
    (f"67 01 06 00 01 00  00 00 00  {T}", one(TypeId.C_CS_NA_1, 6, 0, time=TAG)),
    ("68 01 06 00 01 00  00 00 00  aa 55", one(TypeId.C_TS_NA_1, 6, 0, value=0x55AA)),
    ("69 01 06 00 01 00  00 00 00  01", one(TypeId.C_RP_NA_1, 6, 0, value=1)),
    (f"6b 01 06 00 01 00  00 00 00  34 12  {T}", one(TypeId.C_TS_TA_1, 6, 0, value=0x1234, time=TAG)),
]
IDS = [f"{asdu.type_id.name}-{index}" for index, (_, asdu) in enumerate(GOLDEN)]


def test_the_golden_table_has_every_type() -> None:
    assert {asdu.type_id for _, asdu in GOLDEN} == set(TypeId) == set(ASDU_TYPES)


@pytest.mark.parametrize(("octets", "asdu"), GOLDEN, ids=IDS)
def test_golden_table_in_both_directions(octets: str, asdu: Asdu) -> None:
    assert decode_asdu(bytes.fromhex(octets)) == asdu
    assert encode_asdu(asdu) == bytes.fromhex(octets)


@pytest.mark.parametrize(("octets", "asdu"), GOLDEN, ids=IDS)
def test_every_truncation_is_a_decode_error_with_its_offset(octets: str, asdu: Asdu) -> None:
    data = bytes.fromhex(octets)
    for length in range(len(data)):
        with pytest.raises(DecodeError) as error:
            decode_asdu(data[:length])
        assert error.value.offset == length


@pytest.mark.parametrize(("octets", "asdu"), GOLDEN, ids=IDS)
def test_trailing_octets_are_a_decode_error_where_they_begin(octets: str, asdu: Asdu) -> None:
    data = bytes.fromhex(octets)
    with pytest.raises(DecodeError) as error:
        decode_asdu(data + b"\0")
    assert error.value.offset == len(data)


@pytest.mark.parametrize("number", sorted(set(range(256)) - set(ASDU_TYPES)))
def test_unknown_types_are_refused_but_their_header_is_read(number: int) -> None:
    data = bytes((number, 1, 6, 9, 1, 0, 0, 0, 0, 0))
    with pytest.raises(DecodeError, match=f"type {number}"):
        decode_asdu(data)
    header = decode_header(data)
    assert (header.type_id, header.count, header.cause, header.originator) == (number, 1, 6, 9)


@pytest.mark.parametrize(
    ("octets", "offset"),
    [
        ("01 00 03 00 01 00", 1),  # no objects
        ("64 02 06 00 01 00 00 00 00 14 00 00 00 14", 1),  # two objects in a command
        ("64 81 06 00 01 00 00 00 00 14", 1),  # SQ=1 in a command
        ("1e 81 03 00 01 00 0a 00 00 01 5f ea 3b 17 1d 02 18", 1),  # SQ=1 in a timed type
        ("01 82 03 00 01 00 ff ff ff 00 00", 6),  # addresses run over
        ("1e 01 03 00 01 00 0a 00 00 01 60 ea 3b 17 1d 02 18", 10),  # 60000 ms
        ("1e 02 03 00 01 00 0a 00 00 01 5f ea 3b 17 1d 02 18 0a 00 00 01 5f ea 3c 17 1d 02 18", 21),
    ],
)
def test_structure_errors_name_their_offset(octets: str, offset: int) -> None:
    with pytest.raises(DecodeError) as error:
        decode_asdu(bytes.fromhex(octets))
    assert error.value.offset == offset


@pytest.mark.parametrize(
    "asdu",
    [
        one(TypeId.M_SP_NA_1, 3, 1, value=2),
        one(TypeId.M_SP_NA_1, 3, 1, value=-1),
        one(TypeId.M_SP_NA_1, 3, 1, value=0.5),
        one(TypeId.M_SP_NA_1, 3, 1),
        one(TypeId.M_SP_NA_1, 3, 1, value=1, quality=QualityBit.OVERFLOW),
        one(TypeId.M_SP_NA_1, 3, 1, value=1, qualifier=1),
        one(TypeId.M_SP_NA_1, 3, 1, value=1, select=True),
        one(TypeId.M_SP_NA_1, 3, 1, value=1, time=TAG),
        one(TypeId.M_SP_TB_1, 3, 1, value=1),
        one(TypeId.M_SP_TB_1, 3, 1, value=1, time=TimeTag(0)),
        one(TypeId.M_SP_NA_1, 3, -1, value=1),
        one(TypeId.M_SP_NA_1, 3, 1 << 24, value=1),
        one(TypeId.M_SP_NA_1, 64, 1, value=1),
        one(TypeId.M_SP_NA_1, 3, 1, value=1, head={"originator": 256}),
        one(TypeId.M_ST_NA_1, 3, 1, value=64),
        one(TypeId.M_ST_NA_1, 3, 1, value=-65),
        one(TypeId.M_ME_NA_1, 3, 1, value=32768),
        one(TypeId.M_ME_NA_1, 3, 1, value=0.5),
        one(TypeId.M_ME_NC_1, 3, 1, value=float("nan")),
        one(TypeId.M_ME_NC_1, 3, 1, value=float("inf")),
        one(TypeId.M_ME_NC_1, 3, 1, value=1e39),
        one(TypeId.C_SE_NC_1, 6, 1, value=float("nan")),
        one(TypeId.C_SE_NC_1, 6, 1, value=float("-inf")),
        one(TypeId.C_SC_NA_1, 6, 1, value=1, qualifier=32),
        one(TypeId.C_RD_NA_1, 5, 1, value=1),
        Asdu(type_id=TypeId.M_SP_NA_1, cause=3, common_address=1, objects=()),
        Asdu(
            type_id=TypeId.C_SC_NA_1,
            cause=6,
            common_address=1,
            objects=(InformationObject(1, 1), InformationObject(2, 1)),
        ),
        Asdu(
            type_id=TypeId.M_SP_NA_1,
            cause=3,
            common_address=1,
            objects=(InformationObject(1, 1), InformationObject(3, 1)),
            sequence=True,
        ),
        Asdu(
            type_id=TypeId.M_SP_TB_1,
            cause=3,
            common_address=1,
            objects=(InformationObject(1, 1, time=TAG),),
            sequence=True,
        ),
        Asdu(
            type_id=TypeId.M_ME_TF_1,
            cause=3,
            common_address=1,
            objects=tuple(InformationObject(address, 1.0, time=TAG) for address in range(1, 18)),
        ),
    ],
    ids=repr,
)
def test_what_no_frame_can_carry_is_an_encode_error(asdu: Asdu) -> None:
    with pytest.raises(EncodeError):
        encode_asdu(asdu)


def test_answers_mirror_everything_but_the_cause() -> None:
    request = bytes.fromhex("2d 01 86 05 ff ff  64 00 00  85")
    assert answer_to(request, 7).hex(" ") == "2d 01 87 05 ff ff 64 00 00 85"
    assert answer_to(request, 47, negative=True).hex(" ") == "2d 01 ef 05 ff ff 64 00 00 85"
    assert answer_to(request, 10, common_address=2).hex(" ") == "2d 01 8a 05 02 00 64 00 00 85"
    assert with_cause(request, 20, originator=3, test=True).hex(" ") == "2d 01 94 03 ff ff 64 00 00 85"


RANGES: dict[str, st.SearchStrategy[Any]] = {
    "SIQ": st.integers(0, 1),
    "DIQ": st.integers(0, 3),
    "VTI_QDS": st.integers(-64, 63),
    "BSI_QDS": st.integers(0, 2**32 - 1),
    "NVA_QDS": st.integers(-32768, 32767),
    "SVA_QDS": st.integers(-32768, 32767),
    "R32_QDS": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "BCR": st.integers(-(2**31), 2**31 - 1),
    "COI": st.integers(0, 255),
    "SCO": st.integers(0, 1),
    "DCO": st.integers(0, 3),
    "RCO": st.integers(0, 3),
    "NVA_QOS": st.integers(-32768, 32767),
    "SVA_QOS": st.integers(-32768, 32767),
    "R32_QOS": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "BSI": st.integers(0, 2**32 - 1),
    "OCTET": st.integers(0, 255),
    "WORD": st.integers(0, 65535),
    "NONE": st.none(),
}
TIMES = st.builds(
    TimeTag,
    st.integers(946_771_200_000, 4_102_358_399_999).map(lambda ms: ms * 10**6),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@st.composite
def asdus(draw: st.DrawFn) -> Asdu:
    kind = ASDU_TYPES[draw(st.sampled_from(sorted(ASDU_TYPES)))]
    sequence = kind.sequence and draw(st.booleans())
    size = kind.element_struct.size
    most = 1 if kind.single else min(127, 240 // size if sequence else 243 // (size + 3))
    first = draw(st.integers(0, 0xFFFFFF - most))
    objects = []
    for index in range(draw(st.integers(1, most))):
        column = kind.qualifier
        objects.append(
            InformationObject(
                first + index if sequence else draw(st.integers(0, 0xFFFFFF)),
                draw(RANGES[kind.element]),
                draw(st.integers(0, 255)) & kind.quality.mask if kind.quality else 0,
                draw(st.integers(0, column.mask >> column.shift)) if column else 0,
                draw(st.booleans()) if kind.select else False,
                draw(TIMES) if kind.timed else None,
            )
        )
    return Asdu(
        type_id=kind.type_id,
        cause=draw(st.integers(0, 63)),
        common_address=draw(st.integers(0, 65535)),
        objects=tuple(objects),
        sequence=sequence,
        negative=draw(st.booleans()),
        test=draw(st.booleans()),
        originator=draw(st.integers(0, 255)),
    )


@given(asdus())
def test_round_trip(asdu: Asdu) -> None:
    assert decode_asdu(encode_asdu(asdu)) == asdu


@given(asdus(), st.data())
def test_a_changed_octet_gives_an_asdu_or_a_decode_error(asdu: Asdu, data: st.DataObject) -> None:
    octets = bytearray(encode_asdu(asdu))
    octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = decode_asdu(bytes(octets))
    except DecodeError:
        return
    assert len(again.objects) == octets[1] & 0x7F
