import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.profiles.modbus import Function, Read, Span, plan_reads

SPANS = st.lists(st.builds(Span, st.integers(0, 2000), st.integers(1, 20)), max_size=40)


@given(SPANS, st.integers(20, 125), st.integers(0, 125))
def test_every_span_lies_whole_in_one_read_of_allowed_length(spans, max_count, gap_limit):
    reads = plan_reads(spans, max_count=max_count, gap_limit=gap_limit)
    assert all(1 <= read.count <= max_count for read in reads)
    assert [read.address for read in reads] == sorted(read.address for read in reads)
    for span in spans:
        assert any(read.address <= span.address and span.address + span.count <= read.end for read in reads)


@given(SPANS, st.integers(0, 125))
def test_no_read_bridges_more_unwanted_registers_than_the_limit(spans, gap_limit):
    wanted = {register for span in spans for register in range(span.address, span.address + span.count)}
    for read in plan_reads(spans, gap_limit=gap_limit):
        run = 0
        for register in range(read.address, read.end):
            run = 0 if register in wanted else run + 1
            assert run <= gap_limit


def test_neighbours_share_a_read_and_distant_ones_do_not():
    spans = [Span(0, 10), Span(20, 10), Span(500, 1)]
    assert plan_reads(spans) == (Read(0, 30), Read(500, 1))
    assert plan_reads(spans, gap_limit=5) == (Read(0, 10), Read(20, 10), Read(500, 1))


def test_a_span_longer_than_a_read_is_an_error():
    with pytest.raises(ValueError, match="longer than one read"):
        plan_reads([Span(0, 126)])


def test_bytes_of_registers_and_of_bits():
    assert Read(0, 5).byte_count == 10
    assert Read(0, 9, Function.READ_COILS).byte_count == 2
