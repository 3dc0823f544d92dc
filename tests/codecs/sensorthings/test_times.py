import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.codecs.sensorthings import format_interval, format_time, parse_interval, parse_time
from s4g_gateway.errors import DecodeError, EncodeError

YEAR_1_NS = -62_135_596_800 * 10**9
YEAR_9999_NS = 253_402_300_800 * 10**9 - 1
TIMES = st.integers(YEAR_1_NS, YEAR_9999_NS)


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_795_428_000_123_000_000, "2026-11-23T10:00:00.123Z"),
        (1_795_428_000_123_456_000, "2026-11-23T10:00:00.123456Z"),
        (1_795_428_000_123_456_789, "2026-11-23T10:00:00.123456789Z"),
        (1_795_428_000_000_000_001, "2026-11-23T10:00:00.000000001Z"),
        (YEAR_1_NS, "0001-01-01T00:00:00.000Z"),
        (YEAR_9999_NS, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_golden_times(time_ns, text):
    assert format_time(time_ns) == text
    assert parse_time(text) == time_ns


@given(TIMES)
def test_no_nanosecond_is_lost(time_ns):
    assert parse_time(format_time(time_ns)) == time_ns


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2026-11-23T11:00:00+01:00", "2026-11-23T10:00:00.000Z"),
        ("2026-11-23T04:30:00-0530", "2026-11-23T10:00:00.000Z"),
        ("2026-11-23T10:00:00,5Z", "2026-11-23T10:00:00.500Z"),
        ("2026-11-23T10:00:00.1234567899Z", "2026-11-23T10:00:00.123456789Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"),
    ],
)
def test_other_spellings_of_a_time(text, same_as):
    assert parse_time(text) == parse_time(same_as)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-11-23",
        "2026-11-23T10:00:00",
        "2026-11-23T10:00Z",
        "2026-11-23 10:00:00Z",
        "2026-13-01T00:00:00Z",
        "2025-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T10:60:00Z",
        "2026-11-23T10:00:61Z",
        "2026-11-23T10:00:00+24:00",
        "2026-11-23T10:00:00+01:60",
        "2026-11-23T10:00:00.Z",
        "2026-11-23T10:00:00Z ",
        "٢٠٢٦-11-23T10:00:00Z",
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(DecodeError, match="time is"):
        parse_time(text)


@pytest.mark.parametrize("time_ns", [YEAR_1_NS - 1, YEAR_9999_NS + 1])
def test_a_time_that_iso_8601_cannot_hold_is_refused(time_ns):
    with pytest.raises(EncodeError, match="years 1 to 9999"):
        format_time(time_ns)


@given(TIMES, TIMES)
def test_intervals_round_trip(first, second):
    start_ns, end_ns = sorted((first, second))
    assert parse_interval(format_interval(start_ns, end_ns)) == (start_ns, end_ns)


@pytest.mark.parametrize(
    "text", ["2026-11-23T10:00:00Z", "2026-11-23T10:00:00Z/PT1H", "2026-11-23T10:00:01Z/2026-11-23T10:00:00Z"]
)
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(DecodeError):
        parse_interval(text)


def test_an_interval_that_ends_before_it_starts_is_not_written():
    with pytest.raises(EncodeError, match="before it starts"):
        format_interval(1, 0)


@given(st.text())
def test_any_text_is_a_time_or_a_decode_error(text):
    for parse in (parse_time, parse_interval):
        try:
            parse(text)
        except DecodeError:
            continue
