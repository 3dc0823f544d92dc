"""Observations: one at a time, as a dataArray, and with a SenML pack as their result.

D3.1 §4.2.2 has SenML inside the Observation: its result is then the pack, an array of records. The pack's
bytes come from a SenML encoder and go to a SenML decoder; this codec only carries them.

Source: OGC 18-088 dataArray extension (clauses unverified); D3.1 §4.2.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import orjson

from s4g_gateway.codecs.sensorthings.entities import (
    creation_document,
    decode_entity,
    encode_creation,
    entity_from,
    id_from,
    reference_from,
)
from s4g_gateway.codecs.sensorthings.json_text import (
    DEFAULT_LIMITS,
    Limits,
    as_array,
    as_object,
    as_text,
    read_json,
    write_json,
)
from s4g_gateway.errors import DecodeError, EncodeError
from s4g_gateway.model.sensorthings import EntityId, Json, Observation

_FEATURE = "FeatureOfInterest"
_FEATURE_ID = "FeatureOfInterest/id"
_PARTS = ("phenomenonTime", "result", "resultTime", "resultQuality", "validTime", "parameters")
_ERROR = "error"


def encode_observation(observation: Observation) -> bytes:
    """Returns the JSON that creates an Observation, over HTTP or MQTT.

    Where its ``datastream_id`` is None the Datastream is that of the address or topic it is sent to.

    Raises:
        EncodeError: a result that JSON cannot hold (NaN, infinite), or a time outside the years 1 to 9999.
    """
    return encode_creation(observation)


def decode_observation(
    data: bytes, *, datastream_id: EntityId | None = None, limits: Limits = DEFAULT_LIMITS
) -> Observation:
    """Reads an Observation.

    Args:
        data: JSON text.
        datastream_id: Datastream of the address or topic it came by; None where only the text may say.
        limits: what is refused unread.

    Raises:
        DecodeError: no JSON, beyond the limits, a property missing or of the wrong kind, or no Datastream or
            another one than the address has.
    """
    observation = decode_entity(Observation, data, limits=limits)
    if observation.datastream_id is None:
        if datastream_id is None:
            raise DecodeError("Observation.Datastream is missing, expected {'@iot.id': id}")
        return replace(observation, datastream_id=datastream_id)
    if datastream_id not in (None, observation.datastream_id):
        raise DecodeError(
            f"Observation.Datastream: found {observation.datastream_id!r}, expected that of its address, "
            f"{datastream_id!r}"
        )
    return observation


def observation_with_senml(observation: Observation, pack: bytes) -> bytes:
    """Returns the JSON that creates an Observation whose result is a SenML pack.

    Args:
        observation: everything but the result, which is replaced.
        pack: a pack as ``application/senml+json``; its bytes are carried unchanged.

    Raises:
        EncodeError: the bytes are no JSON array of records, or as ``encode_observation``.
    """
    try:
        _check_pack(read_json(pack, Limits(max_bytes=len(pack))))
    except DecodeError as error:
        raise EncodeError(f"result is no SenML pack: {error}") from error
    document: dict[str, Json | orjson.Fragment] = {**creation_document(replace(observation, result=None))}
    document["result"] = orjson.Fragment(pack)
    return write_json(document)


def senml_of(observation: Observation) -> bytes:
    """Returns the SenML pack that is an Observation's result, as ``application/senml+json``.

    Raises:
        DecodeError: the result is no array of records.
    """
    _check_pack(observation.result)
    return orjson.dumps(observation.result)


def encode_data_array(observations: Iterable[Observation]) -> bytes:
    """Returns the body of ``CreateObservations``: the Observations by Datastream, in the order they came.

    Raises:
        EncodeError: an Observation without Datastream, or as ``encode_observation``.
    """
    groups: dict[EntityId, list[dict[str, Json]]] = {}
    for observation in observations:
        if observation.datastream_id is None:
            raise EncodeError("an Observation of a dataArray has no Datastream id")
        groups.setdefault(observation.datastream_id, []).append(_flat(observation))
    return write_json([_block(datastream_id, found) for datastream_id, found in groups.items()])


def decode_data_array(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> tuple[Observation, ...]:
    """Reads the body of ``CreateObservations``.

    Raises:
        DecodeError: no JSON, beyond the limits, unknown components, a row of another length, or a property
            missing or of the wrong kind.
    """
    found: list[Observation] = []
    for number, item in enumerate(as_array(read_json(data, limits), "CreateObservations")):
        path = f"CreateObservations[{number}]"
        block = as_object(item, path)
        datastream_id = reference_from(block.get("Datastream"), f"{path}.Datastream")
        components = _components(block.get("components"), f"{path}.components")
        lines = as_array(block.get("dataArray"), f"{path}.dataArray")
        if len(found) + len(lines) > limits.max_observations:
            raise DecodeError(
                f"{path}.dataArray: expected at most {limits.max_observations} Observations in all"
            )
        for line_number, line in enumerate(lines):
            line_path = f"{path}.dataArray[{line_number}]"
            cells = as_array(line, line_path)
            if len(cells) != len(components):
                raise DecodeError(f"{line_path}: found {len(cells)} values, expected {len(components)}")
            found.append(_observation(dict(zip(components, cells, strict=True)), datastream_id, line_path))
    return tuple(found)


def encode_creation_answer(links: Sequence[str | None]) -> bytes:
    """Returns the answer to ``CreateObservations``: a self-link for each Observation, None for one refused."""
    return write_json([_ERROR if link is None else link for link in links])


def decode_creation_answer(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> tuple[str | None, ...]:
    """Reads the answer to ``CreateObservations``; see ``encode_creation_answer``.

    Raises:
        DecodeError: no JSON, beyond the limits, or no array of texts.
    """
    links = as_array(read_json(data, limits), "answer")
    texts = [as_text(link, f"answer[{number}]") for number, link in enumerate(links)]
    return tuple(None if text == _ERROR else text for text in texts)


def _check_pack(value: Json) -> None:
    records = as_array(value, "result")
    if not records:
        raise DecodeError("result: found an empty array, expected at least one SenML record")
    for number, record in enumerate(records):
        as_object(record, f"result[{number}]")


def _flat(observation: Observation) -> dict[str, Json]:
    document = creation_document(observation)
    flat = {part: document[part] for part in _PARTS if part in document}
    if observation.feature_of_interest_id is not None:
        flat[_FEATURE_ID] = observation.feature_of_interest_id
    return flat


def _block(datastream_id: EntityId, found: Sequence[Mapping[str, Json]]) -> Json:
    used = [part for part in (*_PARTS, _FEATURE_ID) if any(flat.get(part) is not None for flat in found)]
    if "result" not in used:
        used.append("result")
    return {
        "Datastream": {"@iot.id": datastream_id},
        "components": used,
        "dataArray@iot.count": len(found),
        "dataArray": [[flat.get(part) for part in used] for flat in found],
    }


def _components(value: Json, path: str) -> list[str]:
    names = [as_text(name, path) for name in as_array(value, path)]
    for name in names:
        if name not in (*_PARTS, _FEATURE_ID):
            raise DecodeError(
                f"{path}: found {name[:40]!r}, expected some of {', '.join((*_PARTS, _FEATURE_ID))}"
            )
    if len(set(names)) != len(names) or "result" not in names:
        raise DecodeError(f"{path}: expected each name once, and result among them")
    return names


def _observation(flat: dict[str, Json], datastream_id: EntityId, path: str) -> Observation:
    feature = flat.pop(_FEATURE_ID, None)
    if feature is not None:
        flat[_FEATURE] = {"@iot.id": id_from(feature, f"{path}.{_FEATURE_ID}")}
    try:
        return replace(entity_from(Observation, flat), datastream_id=datastream_id)
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from error
