import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.codecs import sensorthings as codec
from s4g_gateway.errors import DecodeError, EncodeError
from s4g_gateway.model import quality as q
from s4g_gateway.model import sensorthings as sta

NS = 1_795_428_000_123_456_789
OBSERVATION = sta.Observation(
    phenomenon_time_ns=NS,
    result=81.5,
    result_time_ns=NS,
    result_quality=sta.result_quality(q.QUESTIONABLE | q.OLD_DATA),
    datastream_id=7,
)
PACK = b'[{"bn":"bolzano/ESS1/","n":"DSTO1.SocEffWhPct","u":"%EL","t":1795428000.123457,"v":81.50}]'


def test_golden_observation():
    text = (
        b'{"phenomenonTime":"2026-11-23T10:00:00.123456789Z","result":81.5,'
        b'"resultTime":"2026-11-23T10:00:00.123456789Z",'
        b'"resultQuality":{"iec61850":131,"text":"questionable, oldData"},"Datastream":{"@iot.id":7}}'
    )
    assert codec.encode_observation(OBSERVATION) == text
    assert codec.decode_observation(text) == OBSERVATION


def test_an_observation_without_a_value_says_why():
    observation = replace(OBSERVATION, result=None, result_quality=sta.result_quality(q.INVALID))
    document = json.loads(codec.encode_observation(observation))
    assert document["result"] is None
    assert document["resultQuality"]["iec61850"] == q.INVALID
    assert codec.decode_observation(codec.encode_observation(observation)) == observation


def test_result_time_is_always_there_even_if_null():
    assert (
        json.loads(codec.encode_observation(replace(OBSERVATION, result_time_ns=None)))["resultTime"] is None
    )


def test_periods():
    observation = replace(OBSERVATION, phenomenon_end_ns=NS + 1, valid_time_ns=(0, 1_000_000))
    document = json.loads(codec.encode_observation(observation))
    assert document["phenomenonTime"] == "2026-11-23T10:00:00.123456789Z/2026-11-23T10:00:00.123456790Z"
    assert document["validTime"] == "1970-01-01T00:00:00.000Z/1970-01-01T00:00:00.001Z"
    assert codec.decode_observation(codec.encode_observation(observation)) == observation


def test_the_address_gives_the_datastream():
    text = codec.encode_observation(replace(OBSERVATION, datastream_id=None))
    assert b"Datastream" not in text
    assert codec.decode_observation(text, datastream_id=7) == OBSERVATION
    with pytest.raises(DecodeError, match=r"Observation\.Datastream is missing"):
        codec.decode_observation(text)
    assert codec.decode_observation(codec.encode_observation(OBSERVATION), datastream_id=7) == OBSERVATION
    with pytest.raises(DecodeError, match="found 7, expected that of its address, 8"):
        codec.decode_observation(codec.encode_observation(OBSERVATION), datastream_id=8)


def test_the_server_may_be_left_the_time():
    assert codec.decode_observation(b'{"result":1,"Datastream":{"@iot.id":1}}').phenomenon_time_ns is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"phenomenonTime": 5}, "Observation.phenomenonTime: found 5, expected text"),
        ({"phenomenonTime": "soon"}, "Observation.phenomenonTime: time is 'soon'"),
        ({"resultTime": "a/b"}, "Observation.resultTime: time is 'a/b'"),
        ({"validTime": "2026-11-23T10:00:00Z"}, "Observation.validTime: interval is"),
        ({"parameters": 1}, "Observation.parameters: found 1, expected an object"),
        ({"FeatureOfInterest": {"name": "x"}}, "Observation.FeatureOfInterest: an entity to create in place"),
    ],
)
def test_a_wrong_observation_is_refused_by_name(change, problem):
    document = {**codec.creation_document(OBSERVATION), **change}
    with pytest.raises(DecodeError) as caught:
        codec.decode_observation(json.dumps(document).encode())
    assert problem in str(caught.value)


@pytest.mark.parametrize("result", [float("nan"), float("-inf"), [1.0, float("nan")], {"a": float("inf")}])
def test_a_result_that_is_no_number_is_not_written_as_null(result):
    with pytest.raises(EncodeError, match="is no JSON number"):
        codec.encode_observation(replace(OBSERVATION, result=result))


def test_a_senml_pack_is_carried_byte_for_byte():
    text = codec.observation_with_senml(OBSERVATION, PACK)
    assert b'"result":' + PACK in text
    back = codec.decode_observation(text)
    assert back.result == json.loads(PACK)
    assert replace(back, result=81.5) == OBSERVATION
    assert json.loads(codec.senml_of(back)) == json.loads(PACK)


@pytest.mark.parametrize(
    "pack", [b"", b"[]", b"{}", b"[1]", b'[{"n":"a","v":1}', b'[{"n":"a"}],"x":1', b"\xff"]
)
def test_what_is_no_pack_is_not_carried(pack):
    with pytest.raises(EncodeError, match="result is no SenML pack"):
        codec.observation_with_senml(OBSERVATION, pack)


@pytest.mark.parametrize("result", [None, 1.0, [], [1], {}, "x"])
def test_a_result_that_is_no_pack_is_refused(result):
    with pytest.raises(DecodeError, match="result"):
        codec.senml_of(replace(OBSERVATION, result=result))


def test_golden_data_array():
    other = replace(OBSERVATION, result=1, result_time_ns=None, result_quality=None, datastream_id=8)
    later = replace(OBSERVATION, phenomenon_time_ns=0, result=None, result_time_ns=None)
    text = codec.encode_data_array([OBSERVATION, other, later])
    assert json.loads(text) == [
        {
            "Datastream": {"@iot.id": 7},
            "components": ["phenomenonTime", "result", "resultTime", "resultQuality"],
            "dataArray@iot.count": 2,
            "dataArray": [
                [
                    "2026-11-23T10:00:00.123456789Z",
                    81.5,
                    "2026-11-23T10:00:00.123456789Z",
                    {"iec61850": 131, "text": "questionable, oldData"},
                ],
                ["1970-01-01T00:00:00.000Z", None, None, {"iec61850": 131, "text": "questionable, oldData"}],
            ],
        },
        {
            "Datastream": {"@iot.id": 8},
            "components": ["phenomenonTime", "result"],
            "dataArray@iot.count": 1,
            "dataArray": [["2026-11-23T10:00:00.123456789Z", 1]],
        },
    ]
    assert codec.decode_data_array(text) == (OBSERVATION, later, other)


def test_a_data_array_carries_the_feature_of_interest():
    observation = replace(OBSERVATION, feature_of_interest_id="f1")
    text = codec.encode_data_array([observation])
    assert json.loads(text)[0]["components"][-1] == "FeatureOfInterest/id"
    assert codec.decode_data_array(text) == (observation,)


def test_a_data_array_of_nothing_but_absent_values_still_has_its_results():
    observation = sta.Observation(result=None, datastream_id=1)
    assert codec.decode_data_array(codec.encode_data_array([observation])) == (observation,)


def test_an_observation_without_datastream_fits_no_data_array():
    with pytest.raises(EncodeError, match="no Datastream id"):
        codec.encode_data_array([replace(OBSERVATION, datastream_id=None)])


BLOCK = {"Datastream": {"@iot.id": 1}, "components": ["result"], "dataArray": [[1]]}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "CreateObservations: found an object, expected an array"),
        ([1], "CreateObservations[0]: found 1, expected an object"),
        ([{**BLOCK, "Datastream": None}], "CreateObservations[0].Datastream: found null"),
        ([{**BLOCK, "components": ["colour"]}], "found 'colour', expected some of phenomenonTime"),
        ([{**BLOCK, "components": ["result", "result"]}], "expected each name once, and result among them"),
        ([{**BLOCK, "components": ["resultTime"]}], "expected each name once, and result among them"),
        ([BLOCK, {**BLOCK, "dataArray": [[1], [1, 2]]}], "[1].dataArray[1]: found 2 values, expected 1"),
        ([{**BLOCK, "dataArray": {}}], ".dataArray: found an object, expected an array"),
        (
            [{**BLOCK, "components": ["phenomenonTime", "result"], "dataArray": [[1, 1]]}],
            "CreateObservations[0].dataArray[0]: Observation.phenomenonTime: found 1, expected text",
        ),
        (
            [{**BLOCK, "components": ["result", "FeatureOfInterest/id"], "dataArray": [[1, {}]]}],
            "FeatureOfInterest/id: found an object, expected an integer or text",
        ),
    ],
)
def test_a_wrong_data_array_is_refused_by_place(body, problem):
    with pytest.raises(DecodeError) as caught:
        codec.decode_data_array(json.dumps(body).encode())
    assert problem in str(caught.value)


def test_a_data_array_of_too_many_rows_is_refused():
    body = json.dumps([BLOCK, {**BLOCK, "dataArray": [[1], [2]]}]).encode()
    assert len(codec.decode_data_array(body, limits=codec.Limits(max_observations=3))) == 3
    with pytest.raises(DecodeError, match=r"\[1\]\.dataArray: expected at most 2 Observations"):
        codec.decode_data_array(body, limits=codec.Limits(max_observations=2))


def test_the_answer_to_a_data_array():
    links = ("http://h/v1.1/Observations(1)", None)
    text = codec.encode_creation_answer(links)
    assert text == b'["http://h/v1.1/Observations(1)","error"]'
    assert codec.decode_creation_answer(text) == links
    with pytest.raises(DecodeError, match=r"answer\[0\]: found 1, expected text"):
        codec.decode_creation_answer(b"[1]")


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)
TIMES = st.integers(-(10**18), 4 * 10**18)
OBSERVATIONS = st.builds(
    sta.Observation,
    phenomenon_time_ns=st.none() | TIMES,
    result=JSON_VALUES,
    result_time_ns=st.none() | TIMES,
    valid_time_ns=st.none() | st.tuples(TIMES, TIMES).map(lambda pair: tuple(sorted(pair))),
    result_quality=st.integers(0, q.ALL_BITS).map(sta.result_quality),
    parameters=st.dictionaries(st.text(), JSON_VALUES, max_size=2),
    datastream_id=st.integers(0, 3) | st.text(min_size=1, max_size=2),
    feature_of_interest_id=st.none() | st.integers(0, 3),
)


@given(OBSERVATIONS)
def test_observations_round_trip(observation):
    assert codec.decode_observation(codec.encode_observation(observation)) == observation


@given(st.lists(OBSERVATIONS, max_size=5))
def test_data_arrays_round_trip_in_order_within_a_datastream(observations):
    back = codec.decode_data_array(codec.encode_data_array(observations))
    for key in {item.datastream_id for item in observations}:
        expected = [item for item in observations if item.datastream_id == key]
        assert [item for item in back if item.datastream_id == key] == expected


@given(st.integers(0, q.ALL_BITS))
def test_the_quality_survives(quality):
    observation = replace(OBSERVATION, result_quality=sta.result_quality(quality))
    back = codec.decode_observation(codec.encode_observation(observation))
    assert sta.quality_of(back.result_quality) == quality


DECODERS = [codec.decode_observation, codec.decode_data_array, codec.decode_creation_answer]
SEEDS = [
    codec.encode_observation(OBSERVATION),
    codec.observation_with_senml(OBSERVATION, PACK),
    codec.encode_data_array([OBSERVATION, replace(OBSERVATION, datastream_id="x")]),
    codec.encode_creation_answer(["a", None]),
]


@pytest.mark.parametrize("seed", SEEDS)
@given(data=st.data())
def test_no_mutation_raises_anything_but_decode_error(seed, data):
    text = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        text[at : at + data.draw(st.integers(0, 6))] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"null", b"[]", b"{}", b"1e999", b'"', b"-0"])
        )
    for decode in DECODERS:
        try:
            decode(bytes(text))
        except DecodeError:
            continue


@given(JSON_VALUES)
def test_no_json_raises_anything_but_decode_error(value):
    for decode in DECODERS:
        for body in (value, [value], [{**BLOCK, "dataArray": [[value]]}], [{**BLOCK, "components": value}]):
            try:
                decode(json.dumps(body).encode())
            except DecodeError:
                continue
