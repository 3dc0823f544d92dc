import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.errors import ModelError
from s4g_gateway.model import quality as q
from s4g_gateway.model import quality_map as m
from s4g_gateway.model.quality_map import SunSpecState

QUALITY = st.integers(0, q.ALL_BITS)
RANK = {q.GOOD: 0, q.QUESTIONABLE: 1, q.RESERVED: 2, q.INVALID: 3}
PEERS = {
    "iec104": (m.to_iec104, m.from_iec104),
    "iec104-single": (lambda quality: m.IEC104_SIQ[quality], m.from_iec104),
    "iec104-counter": (lambda quality: m.IEC104_BCR[quality], m.from_iec104),
    "opcua": (m.to_opcua, m.from_opcua),
    "dlms": (m.to_dlms, m.from_dlms),
    "dlms-profile": (m.to_dlms_profile, m.from_dlms_profile),
    "sunspec": (m.to_sunspec, m.from_sunspec),
    "ocpp": (m.to_ocpp, m.from_ocpp),
}


def rank(quality):
    return RANK[q.validity(quality)]


@pytest.mark.parametrize("peer", PEERS)
@given(quality=QUALITY)
def test_a_round_trip_never_improves_a_quality(peer, quality):
    to_peer, from_peer = PEERS[peer]
    back = from_peer(to_peer(quality))
    assert rank(back) >= rank(quality)
    assert q.is_usable(quality) or not q.is_usable(back)


@pytest.mark.parametrize("peer", PEERS)
def test_no_quality_but_good_ever_looks_good(peer):
    to_peer, from_peer = PEERS[peer]
    looks_good = {
        quality for quality in range(m.QUALITIES) if q.validity(from_peer(to_peer(quality))) == q.GOOD
    }
    assert looks_good == {q.GOOD, q.SUBSTITUTED}


@pytest.mark.parametrize("first", PEERS)
@pytest.mark.parametrize("second", PEERS)
@given(quality=QUALITY)
def test_no_chain_of_two_peers_improves_a_quality(first, second, quality):
    to_first, from_first = PEERS[first]
    to_second, from_second = PEERS[second]
    assert rank(from_second(to_second(from_first(to_first(quality))))) >= rank(quality)


@pytest.mark.parametrize(
    ("quality", "qds"),
    [
        (q.GOOD, 0x00),
        (q.INVALID, 0x80),
        (q.RESERVED, 0x80),
        (q.QUESTIONABLE | q.OLD_DATA, 0x40),
        (q.INVALID | q.OLD_DATA, 0xC0),
        (q.SUBSTITUTED, 0x20),
        (q.QUESTIONABLE | q.OLD_DATA | q.OPERATOR_BLOCKED, 0x50),
        (q.QUESTIONABLE | q.OVERFLOW, 0x01),
        (q.QUESTIONABLE | q.INACCURATE, 0x80),
        (q.QUESTIONABLE | q.SUBSTITUTED, 0xA0),
        (q.TEST, 0x80),
        (q.QUESTIONABLE | q.FAILURE | q.OLD_DATA, 0xC0),
    ],
)
def test_iec104_quality_descriptor(quality, qds):
    assert m.to_iec104(quality) == qds == m.IEC104_QDS[quality]


def test_iec104_points_without_an_overflow_bit_say_invalid_instead():
    assert m.IEC104_SIQ[q.QUESTIONABLE | q.OVERFLOW] == 0x80
    assert m.IEC104_BCR[q.QUESTIONABLE | q.OLD_DATA] == 0x80
    assert {code & 0x0F for code in m.IEC104_SIQ} == {0}
    assert set(m.IEC104_BCR) == {0, 0x80}


def test_iec104_test_bit_in_the_cause_leaves_the_descriptor_clean():
    assert m.IEC104_QDS[(q.TEST | q.GOOD) & ~q.TEST] == 0


@pytest.mark.parametrize("qds", [b for b in range(256) if not b & 0x0E])
def test_iec104_descriptor_passes_through_the_model_unchanged(qds):
    assert m.to_iec104(m.from_iec104(qds)) == qds


@given(qds=st.integers(0, 255))
def test_iec104_invalid_is_never_usable(qds):
    quality = m.from_iec104(qds)
    assert q.is_usable(quality) is not bool(qds & 0x80)
    assert (q.validity(quality) == q.GOOD) is not bool(qds & 0xD1)
    assert bool(quality & q.SUBSTITUTED) is bool(qds & 0x20)


# numbers as in the published StatusCode list
@pytest.mark.parametrize(
    ("code", "quality"),
    [
        (0x00000000, q.GOOD),
        (0x00000400, q.GOOD),
        (0x00960000, q.SUBSTITUTED),
        (0x40000000, q.QUESTIONABLE),
        (0x40900000, q.QUESTIONABLE | q.OLD_DATA),
        (0x408F0000, q.QUESTIONABLE | q.OLD_DATA),
        (0x40930480, q.QUESTIONABLE | q.INACCURATE),
        (0x80000000, q.INVALID),
        (0x808B0000, q.INVALID | q.FAILURE),
        (0x80310000, q.INVALID | q.OLD_DATA),
        (0x00A50000, q.INVALID),
        (0x00AA0000, q.GOOD),
        (0x40DE0000, q.QUESTIONABLE),
        (0x80130000, q.INVALID),
        (0xC0000000, q.INVALID),
    ],
)
def test_opcua_status_codes(code, quality):
    assert m.from_opcua(code) == quality


@given(code=st.integers(0, 0xFFFFFFFF))
def test_opcua_severity_is_kept(code):
    rank_by_severity = (0, 1, 3, 3)
    assert rank(m.from_opcua(code)) >= rank_by_severity[code >> 30]


@pytest.mark.parametrize(
    "row", [r for r in m.load_quality_map() if r.direction == "both"], ids=lambda r: r.symbol
)
def test_rows_for_both_directions_round_trip(row):
    to_peer, from_peer = PEERS[row.peer]
    received = from_peer(SunSpecState(row.code) if row.peer == "sunspec" else row.code)
    assert received == row.quality
    assert to_peer(received) == row.code


@pytest.mark.parametrize(
    ("result", "quality"),
    [(0, q.GOOD), (1, q.INVALID | q.FAILURE), (11, q.INVALID), (m.NULL_DATA, q.INVALID), (77, q.INVALID)],
)
def test_dlms_results(result, quality):
    assert m.from_dlms(result) == quality


@given(result=st.integers())
def test_dlms_only_success_is_usable(result):
    assert q.is_usable(m.from_dlms(result)) is (result == 0)


@pytest.mark.parametrize(
    ("status", "validity"),
    [
        (0x00, q.GOOD),
        (0x08, q.GOOD),
        (0x04, q.QUESTIONABLE),
        (0x05, q.INVALID),
        (0x86, q.QUESTIONABLE),
        (0x40, 3),
    ],
)
def test_dlms_profile_status(status, validity):
    assert q.validity(m.from_dlms_profile(status)) == validity


@given(status=st.integers(0, 255))
def test_dlms_profile_critical_error_is_never_usable(status):
    assert q.is_usable(m.from_dlms_profile(status)) is not bool(status & 1)


@pytest.mark.parametrize("state", [SunSpecState.NOT_IMPLEMENTED, SunSpecState.SCALE_FACTOR_INVALID])
def test_sunspec_absence_is_invalid(state):
    assert q.validity(m.from_sunspec(state)) == q.INVALID


@pytest.mark.parametrize(
    ("state", "validity"),
    [
        ("Sample.Clock", q.GOOD),
        ("Interruption.Begin", q.QUESTIONABLE),
        (m.OCPP_ABSENT, q.INVALID),
        (m.OCPP_NOT_A_NUMBER, q.INVALID),
        (m.OCPP_SIGNED_DATA, q.INVALID),
        ("Sample.Sometimes", q.INVALID),
    ],
)
def test_ocpp_states(state, validity):
    assert q.validity(m.from_ocpp(state)) == validity


@pytest.mark.parametrize(
    "to_peer", [m.to_iec104, m.to_opcua, m.to_dlms, m.to_dlms_profile, m.to_sunspec, m.to_ocpp]
)
@pytest.mark.parametrize("quality", [-1, 8192])
def test_what_is_no_quality_is_refused(to_peer, quality):
    with pytest.raises(ModelError, match="expected 0 to 8191"):
        to_peer(quality)


HEAD = "peer,symbol,code,quality,direction,certainty,source,note\n"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("iec105,IV,0x80,invalid,both,solid,s,", "line 2: peer is 'iec105'"),
        ("iec104,IV,x,invalid,both,solid,s,", "line 2: code is 'x'"),
        ("iec104,IV,0x80,rotten,both,solid,s,", "line 2: quality holds 'rotten'"),
        ("iec104,IV,0x80,good invalid,both,solid,s,", "line 2: quality holds 'invalid'"),
        ("iec104,IV,0x80,invalid,up,solid,s,", "line 2: direction is 'up'"),
        (
            "iec104,IV,0x80,invalid,both,solid,s,\niec104,IV,0x80,good,from,solid,s,",
            "line 3: iec104 IV has two meanings",
        ),
    ],
)
def test_a_broken_table_names_its_line(line, problem):
    with pytest.raises(ModelError, match=problem):
        m.parse_quality_map(HEAD + line)
