import struct
from fractions import Fraction

import pytest

from s4g_gateway.errors import ProfileError, RemoteProtocolError
from s4g_gateway.model import DataSet, Member, Report
from s4g_gateway.model import quality as q
from s4g_gateway.profiles.modbus import Read, ReportDecoder
from s4g_gateway.profiles.modbus.columns import (
    BAD_SCALE,
    NO_SUCH_POINT,
    NOT_FINITE,
    NOT_IMPLEMENTED,
    NOT_READ,
    AnalogColumn,
    DerivedColumn,
    DiscreteColumn,
    Field,
)

W, V, STATE, SUM = "LD1/MMXU1.TotW", "LD1/MMXU1.Hz", "LD1/GGIO1.IntIn1", "LD1/MMXU2.TotW"
TWO_READS = (Read(0, 3), Read(10, 2))


def data_set(*references):
    return DataSet("d", tuple(Member(reference=reference) for reference in references))


def state(raw):
    return (None, NOT_IMPLEMENTED) if raw == 0xFFFF else (raw, q.GOOD)


def decoder(**more):
    """TotW int16 @0 with scale factor @1, Hz float @10, state @2, sum of the numbers."""
    columns = [
        AnalogColumn(name=W, field=Field(0, "h", 0), scale=Field(2, "h", 0), sentinel=-32768),
        AnalogColumn(name=V, field=Field(6, "f", 1)),
        DiscreteColumn(name=STATE, field=Field(4, "H", 0), translate=state),
        DerivedColumn(
            name=SUM,
            inputs=(W, V),
            rule=lambda values, qualities: (
                (None, q.INVALID) if None in values else (sum(values), max(qualities))
            ),
        ),
    ]
    return ReportDecoder(data_set(W, V, STATE, SUM), TWO_READS, columns, **more)


def blocks(power, scale, state_raw, hertz):
    return [struct.pack(">hhH", power, scale, state_raw), struct.pack(">f", hertz)]


def test_values_are_scaled_translated_and_derived():
    it = decoder()
    assert it.decode(blocks(4002, -1, 4, 50.0), 7) == Report(
        it.data_set, (400.2, 50.0, 4, 450.2), (0, 0, 0, 0), 7
    )


@pytest.mark.parametrize(
    ("raw", "scale", "expected"),
    [(4002, -1, 400.2), (123, 2, 12300.0), (-5, 0, -5.0), (32767, -10, 3.2767e-06), (1, 10, 1e10)],
)
def test_scale_factors_give_the_nearest_double(raw, scale, expected):
    assert decoder().decode(blocks(raw, scale, 0, 0.0), 0).values[0] == expected


def test_a_scale_factor_that_changes_is_followed():
    it = decoder()
    assert [it.decode(blocks(10, scale, 0, 0.0), 0).values[0] for scale in (0, -1, 1, 0)] == [10, 1, 100, 10]


@pytest.mark.parametrize("scale", [-32768, 11, -11])
def test_a_scale_factor_out_of_range_leaves_no_value(scale):
    report = decoder().decode(blocks(5, scale, 1, 50.0), 0)
    assert report.values == (None, 50.0, 1, None)
    assert report.quality[0] == BAD_SCALE


def test_absent_points_come_and_go_with_their_quality():
    it = decoder()
    good = it.decode(blocks(1, 0, 1, 50.0), 0)
    gone = it.decode(blocks(-32768, 0, 0xFFFF, float("nan")), 1)
    assert gone.values == (None, None, None, None)
    assert gone.quality == (NOT_IMPLEMENTED, NOT_IMPLEMENTED, NOT_IMPLEMENTED, q.INVALID)
    assert it.decode(blocks(1, 0, 1, 50.0), 0) == good


def test_infinity_is_no_value():
    report = decoder().decode(blocks(1, 0, 1, float("inf")), 0)
    assert (report.values[1], report.quality[1]) == (None, NOT_FINITE)


def test_quality_that_stays_is_the_same_object():
    it = decoder()
    assert it.decode(blocks(1, 0, 1, 50.0), 0).quality is it.decode(blocks(2, 0, 1, 50.0), 0).quality


def test_an_exception_answer_costs_only_its_own_points():
    it = decoder()
    first, second = blocks(400, 0, 3, 50.0)
    lost = it.decode([first, None], 5)
    assert lost.values == (400.0, None, 3, None)
    assert lost.quality[:3] == (q.GOOD, NOT_READ, q.GOOD)
    assert it.decode([None, second], 5).values == (None, 50.0, None, None)
    assert it.decode([None, None], 5).quality == (NOT_READ,) * 4
    assert it.decode([first, second], 6).values == (400.0, 50.0, 3, 450.0)


def test_a_wrong_length_is_the_peers_fault():
    with pytest.raises(RemoteProtocolError, match="9 bytes answered, 10 expected"):
        decoder().decode([b"\0" * 6, b"\0" * 3], 0)


def test_a_map_that_has_moved_is_noticed():
    it = decoder(expected=[(Field(2, "h", 0), -1)])
    assert it.decode(blocks(10, -1, 0, 0.0), 0).values[0] == 1.0
    with pytest.raises(RemoteProtocolError, match="has moved"):
        it.decode(blocks(10, -2, 0, 0.0), 0)


def test_negative_zero_never_leaves_the_decoder():
    columns = [
        AnalogColumn(name=W, field=Field(0, "h", 0), factor=Fraction(-1, 10)),
        AnalogColumn(name=V, field=Field(6, "f", 1), factor=Fraction(-1)),
    ]
    it = ReportDecoder(data_set(W, V), TWO_READS, columns)
    assert str(it.decode(blocks(0, 0, 0, 0.0), 0).values) == "(0.0, 0.0)"
    assert it.decode(blocks(5, 0, 0, 2.5), 0).values == (-0.5, -2.5)


def test_offsets_are_exact():
    column = AnalogColumn(name=W, field=Field(0, "h", 0), factor=Fraction("0.1"), offset=Fraction("-273.15"))
    it = ReportDecoder(data_set(W), (Read(0, 1),), [column])
    assert it.decode([struct.pack(">h", 2981)], 0).values == (24.95,)


def test_a_member_without_a_column_is_a_bad_reference_in_its_place():
    column = AnalogColumn(name=V, field=Field(0, "h", 0))
    report = ReportDecoder(data_set(W, V, STATE), (Read(0, 1),), [column]).decode([b"\0\5"], 0)
    assert report.values == (None, 5.0, None)
    assert report.quality == (NO_SUCH_POINT, q.GOOD, NO_SUCH_POINT)


def test_swapped_bytes_are_put_in_order_first():
    column = AnalogColumn(name=W, field=Field(0, "i", 0))
    it = ReportDecoder(data_set(W), (Read(0, 2),), [column], byte_order=[2, 3, 0, 1])
    assert it.decode([bytes.fromhex("5678 1234")], 0).values == (0x12345678,)


def test_derived_points_may_build_on_each_other_but_not_in_a_ring():
    def first(values, qualities):
        return values[0], qualities[0]

    columns = [
        DerivedColumn(name=SUM, inputs=(STATE,), rule=first),
        DerivedColumn(name=STATE, inputs=(W,), rule=first),
        AnalogColumn(name=W, field=Field(0, "h", 0)),
    ]
    assert ReportDecoder(data_set(SUM), (Read(0, 1),), columns).decode([b"\0\7"], 0).values == (7.0,)
    ring = [
        DerivedColumn(name=SUM, inputs=(STATE,), rule=first),
        DerivedColumn(name=STATE, inputs=(SUM,), rule=first),
    ]
    with pytest.raises(ProfileError, match="need each other"):
        ReportDecoder(data_set(SUM), (Read(0, 1),), ring)
    with pytest.raises(ProfileError, match="which no column supplies"):
        ReportDecoder(data_set(SUM), (Read(0, 1),), ring[:1])


def test_fields_that_overlap_or_leave_the_answer_are_refused():
    long = AnalogColumn(name=W, field=Field(0, "i", 0))
    with pytest.raises(ProfileError, match="overlap at byte 2"):
        ReportDecoder(data_set(W), (Read(0, 2),), [long, AnalogColumn(name=V, field=Field(2, "h", 0))])
    with pytest.raises(ProfileError, match="ends at byte 4"):
        ReportDecoder(data_set(W), (Read(0, 1),), [long])
