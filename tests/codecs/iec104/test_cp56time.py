from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.codecs.iec104 import UTC_TIME, TimeCoder, TimeTag, tag_of_clock
from s4g_gateway.errors import DecodeError, EncodeError


def ns(*fields: int, ms: int = 0) -> int:
    return int(datetime(*fields, tzinfo=UTC).timestamp()) * 1_000_000_000 + ms * 1_000_000


LEAP = ns(2024, 2, 29, 23, 59, 59, ms=999)

# (id, zone offset in minutes, octets, tag)
GOLDEN = [
    #                  ms     min hour day mon year
    ("utc", 0, "5f ea 3b 17 1d 02 18", TimeTag(LEAP)),
    ("midnight", 0, "00 00 00 00 01 01 00", TimeTag(ns(2000, 1, 1))),
    ("last", 0, "5f ea 3b 17 1f 0c 63", TimeTag(ns(2099, 12, 31, 23, 59, 59, ms=999))),
    ("invalid", 0, "5f ea bb 17 1d 02 18", TimeTag(LEAP, invalid=True)),
    ("substituted", 0, "5f ea 7b 17 1d 02 18", TimeTag(LEAP, substituted=True)),
    ("berlin winter", 60, "5f ea 3b 00 01 03 18", TimeTag(LEAP)),
    ("berlin summer", 60, "00 00 00 8e 01 07 1a", TimeTag(ns(2026, 7, 1, 12), summer_time=True)),
    ("new york", -300, "00 00 00 07 01 07 1a", TimeTag(ns(2026, 7, 1, 12))),
    ("no date at all", 0, "00 00 80 00 00 00 00", TimeTag(0, invalid=True)),
]


@pytest.mark.parametrize(
    ("offset", "octets", "tag"), [row[1:] for row in GOLDEN], ids=[row[0] for row in GOLDEN]
)
def test_golden_table_in_both_directions(offset: int, octets: str, tag: TimeTag) -> None:
    coder = TimeCoder(offset)
    assert coder.encode(tag).hex(" ") == octets
    assert coder.decode(bytes.fromhex(octets)) == tag
    assert coder.decode(bytes.fromhex(octets)) == tag, "the cached minute gives the same"


def test_day_of_week_is_not_looked_at() -> None:
    assert UTC_TIME.decode(bytes.fromhex("5f ea 3b 17 9d 02 18")) == TimeTag(LEAP)


@pytest.mark.parametrize(
    "octets",
    [
        "60 ea 3b 17 1d 02 18",  # 60000 ms
        "00 00 3c 17 1d 02 18",  # minute 60
        "00 00 00 18 1d 02 18",  # hour 24
        "00 00 00 00 1e 02 18",  # 30 February
        "00 00 00 00 1d 02 19",  # 29 February 2025
        "00 00 00 00 00 01 18",  # day 0
        "00 00 00 00 01 00 18",  # month 0
        "00 00 00 00 01 0d 18",  # month 13
        "00 00 00 00 01 01 64",  # year 100
    ],
)
def test_a_date_that_is_none_is_refused_unless_marked_invalid(octets: str) -> None:
    data = bytearray.fromhex(octets)
    with pytest.raises(DecodeError) as error:
        UTC_TIME.decode(bytes(data), offset=9)
    assert error.value.offset == 9
    data[2] |= 0x80
    assert UTC_TIME.decode(bytes(data)) == TimeTag(0, invalid=True)


@pytest.mark.parametrize("length", [0, 6, 8])
def test_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(DecodeError, match="7 octets"):
        UTC_TIME.decode(bytes(length))


@pytest.mark.parametrize("time_ns", [0, ns(1999, 12, 31, 23, 59), ns(2100, 1, 1), 10**30])
def test_other_centuries_cannot_be_encoded(time_ns: int) -> None:
    with pytest.raises(EncodeError):
        UTC_TIME.encode(TimeTag(time_ns))
    with pytest.raises(EncodeError):
        UTC_TIME.encode_times([time_ns])


@pytest.mark.parametrize("minutes", [-841, 841])
def test_a_zone_that_does_not_exist_is_refused(minutes: int) -> None:
    with pytest.raises(EncodeError, match="zone offset"):
        TimeCoder(minutes)


def test_a_clock_that_was_never_set_is_tagged_invalid() -> None:
    assert tag_of_clock(12) == TimeTag(0, invalid=True)
    assert tag_of_clock(LEAP) == TimeTag(LEAP)
    assert TimeCoder(840).encode(tag_of_clock(ns(2099, 12, 30, 23, 59, 59)))


def test_many_minutes_do_not_fill_memory() -> None:
    coder = TimeCoder()
    minute_ns = 60 * 10**9
    times = [LEAP + index * minute_ns for index in range(3000)]
    assert coder.encode_times(times) == b"".join(coder.encode(TimeTag(time)) for time in times)
    assert [coder.decode(coder.encode(TimeTag(time))).time_ns for time in times] == [
        time // 10**6 * 10**6 for time in times
    ]
    assert max(len(coder._octets_of_minute), len(coder._minute_of_octets)) <= 1024


TAGS = st.builds(
    TimeTag,
    st.integers(ns(2000, 1, 2) // 10**6, ns(2099, 12, 30) // 10**6).map(lambda ms: ms * 10**6),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(TAGS, st.integers(-840, 840))
def test_round_trip(tag: TimeTag, offset: int) -> None:
    coder = TimeCoder(offset)
    assert coder.decode(coder.encode(tag)) == tag


@given(st.binary(min_size=7, max_size=7))
def test_any_octets_are_a_tag_or_a_decode_error(octets: bytes) -> None:
    try:
        tag = UTC_TIME.decode(octets)
    except DecodeError:
        return
    assert UTC_TIME.decode(UTC_TIME.encode(tag)) == tag


@given(st.lists(TAGS.map(lambda tag: tag.time_ns), max_size=20))
def test_many_times_are_encoded_like_single_ones(times: list[int]) -> None:
    assert UTC_TIME.encode_times(times) == b"".join(UTC_TIME.encode(TimeTag(time)) for time in times)
