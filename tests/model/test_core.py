import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.errors import ModelError
from s4g_gateway.model import (
    DataSet,
    Member,
    ObjectReference,
    Report,
    check_report,
    isoformat,
    parse_reference,
)
from s4g_gateway.model import quality as q
from s4g_gateway.model.units import check_unit

SOC = Member(reference=ObjectReference("ESS1/DSTO1.SocEffWhPct"), unit="%")
POWER = Member(reference=ObjectReference("PCC1/MMXU1.TotW"), unit="W")


@pytest.mark.parametrize(
    ("text", "device", "node", "ln_class", "data"),
    [
        ("ESS1/DSTO1.SocEffWhPct", "ESS1", "DSTO1", "DSTO", "SocEffWhPct"),
        ("PCC1/MMXU1.PhV.phsA", "PCC1", "MMXU1", "MMXU", "PhV.phsA"),
        ("ESS1/LLN0.Mod", "ESS1", "LLN0", "LLN0", "Mod"),
        ("LD_Plant/Wlim_DWMX1.WMaxSptPct", "LD_Plant", "Wlim_DWMX1", "DWMX", "WMaxSptPct"),
    ],
)
def test_reference_parts(text, device, node, ln_class, data):
    parts = parse_reference(text)
    assert (parts.logical_device, parts.logical_node, parts.ln_class, parts.data) == (
        device,
        node,
        ln_class,
        data,
    )


@pytest.mark.parametrize(
    "text", ["", "ESS1", "ESS1/", "ESS1/DSTO1", "ESS1/dsto1.Soc", "ESS 1/DSTO1.Soc", "E/DSTO1.Soc."]
)
def test_malformed_reference_is_refused(text):
    with pytest.raises(ModelError, match="no ObjectReference"):
        parse_reference(text)


def test_data_set_refuses_a_reference_twice():
    with pytest.raises(ModelError, match="twice"):
        DataSet("d", (SOC, SOC))


def test_report_included_positions():
    report = Report(DataSet("d", (SOC, POWER)), (50.0, 1.0), (0, 0), 5, included=b"\x00\x01")
    assert report.positions() == (1,)
    assert report.times_ns() == (5, 5)


@pytest.mark.parametrize("values", [(1.0,), (1.0, float("nan"))])
def test_check_report_finds_wrong_shape_and_nan(values):
    with pytest.raises(ModelError):
        check_report(Report(DataSet("d", (SOC, POWER)), values, (0, 0), 5))


@given(st.integers(0, q.ALL_BITS), st.integers(0, q.ALL_BITS))
def test_worst_never_improves(first, second):
    joined = q.worst(first, second)
    assert joined & ~q.VALIDITY_MASK == (first | second) & ~q.VALIDITY_MASK
    assert q.is_usable(joined) <= (q.is_usable(first) and q.is_usable(second))
    assert (q.validity(joined) == q.GOOD) == (q.validity(first) == q.GOOD == q.validity(second))


def test_words():
    assert q.describe(q.QUESTIONABLE | q.OLD_DATA) == "questionable, oldData"
    assert isoformat(1_500_000_000_123_000_000) == "2017-07-14T02:40:00.123Z"
    with pytest.raises(ModelError, match="'kW'"):
        check_unit("kW")
