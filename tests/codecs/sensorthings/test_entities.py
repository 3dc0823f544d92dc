import hashlib
import json
import tomllib
from dataclasses import replace
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.codecs import sensorthings as codec
from s4g_gateway.codecs.sensorthings.schema import parse_entity_types
from s4g_gateway.errors import DecodeError, EncodeError, ModelError
from s4g_gateway.model import ControlPoint, DataSet, Member, ObjectReference
from s4g_gateway.model import sensorthings as sta

ROOT = "http://127.0.0.1:8080/v1.1"
SITE = sta.SiteDescription(
    name="bolzano",
    latitude=46.5,
    longitude=11.35,
    located_since_ns=0,
    devices=(
        sta.DeviceDescription(
            name="battery",
            logical_device="ESS1",
            data_sets=(
                DataSet("d", (Member(reference=ObjectReference("ESS1/DSTO1.SocEffWhPct"), unit="%"),)),
            ),
            controls=(ControlPoint(reference=ObjectReference("ESS1/DWGC1.WSpt"), unit="W", minimum=-1.0),),
        ),
    ),
)
VIEW = sta.sensorthings_view(SITE)
OBSERVATION = sta.Observation(
    id=9,
    phenomenon_time_ns=1_795_428_000_123_456_789,
    result=81.5,
    result_quality=sta.result_quality(0),
    datastream_id=7,
    feature_of_interest_id=8,
)
ENTITIES = [*(entities[0] for entities in VIEW.entities().values()), OBSERVATION]

# 18-088 and 17-079r1, as the OGC test suite and FROST have them (standards.md section 2.2), not as our table has
MANDATORY = {
    "Thing": {"name", "description"},
    "Location": {"name", "description", "encodingType", "location"},
    "HistoricalLocation": {"time"},
    "Datastream": {"name", "description", "unitOfMeasurement", "observationType"},
    "Sensor": {"name", "description", "encodingType", "metadata"},
    "ObservedProperty": {"name", "definition", "description"},
    "Observation": {"phenomenonTime", "result", "resultTime"},
    "FeatureOfInterest": {"name", "description", "encodingType", "feature"},
    "Actuator": {"name", "description", "encodingType", "metadata"},
    "TaskingCapability": {"name", "description", "taskingParameters"},
}
RELATIONS = {
    "Thing": {"Datastreams", "Locations", "HistoricalLocations", "TaskingCapabilities"},
    "Location": {"Things", "HistoricalLocations"},
    "HistoricalLocation": {"Thing", "Locations"},
    "Datastream": {"Thing", "Sensor", "ObservedProperty", "Observations"},
    "Sensor": {"Datastreams"},
    "ObservedProperty": {"Datastreams"},
    "Observation": {"Datastream", "FeatureOfInterest"},
    "FeatureOfInterest": {"Observations"},
    "Actuator": {"TaskingCapabilities"},
    "TaskingCapability": {"Actuator", "Thing", "Tasks"},
}
SETS = {
    "Thing": "Things",
    "Location": "Locations",
    "HistoricalLocation": "HistoricalLocations",
    "Datastream": "Datastreams",
    "Sensor": "Sensors",
    "ObservedProperty": "ObservedProperties",
    "Observation": "Observations",
    "FeatureOfInterest": "FeaturesOfInterest",
    "Actuator": "Actuators",
    "TaskingCapability": "TaskingCapabilities",
}


def kind_of(entity):
    return type(entity).__name__


@pytest.mark.parametrize("entity", ENTITIES, ids=kind_of)
def test_an_entity_is_shown_as_ogc_wants_it(entity):
    kind = kind_of(entity)
    shown = json.loads(codec.encode_entity(entity, ROOT))
    own = f"{ROOT}/{SETS[kind]}({entity.id})"
    assert shown["@iot.id"] == entity.id
    assert shown["@iot.selfLink"] == own
    assert set(shown) >= MANDATORY[kind]
    links = {name: url for name, url in shown.items() if name.endswith("@iot.navigationLink")}
    assert links == {f"{name}@iot.navigationLink": f"{own}/{name}" for name in RELATIONS[kind]}


@pytest.mark.parametrize("entity", ENTITIES, ids=kind_of)
def test_an_entity_to_be_created_round_trips(entity):
    data = codec.encode_creation(entity)
    assert "@iot.id" not in json.loads(data)
    assert codec.decode_entity(type(entity), data, creating=True) == replace(entity, id=None)


@pytest.mark.parametrize("entity", ENTITIES, ids=kind_of)
def test_a_shown_entity_is_read_without_its_relations(entity):
    back = codec.decode_entity(type(entity), codec.encode_entity(entity, ROOT))
    assert json.loads(codec.encode_entity(back, ROOT)) == json.loads(codec.encode_entity(entity, ROOT))
    assert back.id == entity.id


def is_demanded(kind, document, name):
    without = json.dumps({key: value for key, value in document.items() if key != name}).encode()
    try:
        codec.decode_entity(kind, without)
    except DecodeError as error:
        return f"{kind.__name__}.{name} is missing" in str(error)
    return False


@pytest.mark.parametrize("entity", ENTITIES, ids=kind_of)
def test_every_mandatory_property_is_demanded(entity):
    document = codec.creation_document(entity)
    demanded = {name for name in document if is_demanded(type(entity), document, name)}
    filled_by_server = {"phenomenonTime", "resultTime"} if isinstance(entity, sta.Observation) else set()
    assert demanded == MANDATORY[kind_of(entity)] - filled_by_server


@pytest.mark.parametrize(
    ("kind", "relation"),
    [
        ("Datastream", "Thing"),
        ("Datastream", "Sensor"),
        ("Datastream", "ObservedProperty"),
        ("TaskingCapability", "Actuator"),
        ("TaskingCapability", "Thing"),
        ("HistoricalLocation", "Locations"),
        ("Observation", "Datastream"),
    ],
)
def test_what_a_server_needs_to_create_an_entity_is_demanded(kind, relation):
    entity = next(item for item in ENTITIES if kind_of(item) == kind)
    document = codec.creation_document(entity)
    del document[relation]
    with pytest.raises(DecodeError, match=rf"{kind}\.{relation} is missing"):
        codec.decode_entity(type(entity), json.dumps(document).encode(), creating=True)


def test_golden_thing():
    thing = sta.Thing(id=1, name="t", description="d", properties={"a": 1}, location_ids=(2,))
    assert json.loads(codec.encode_entity(thing, ROOT)) == {
        "@iot.id": 1,
        "@iot.selfLink": f"{ROOT}/Things(1)",
        "name": "t",
        "description": "d",
        "properties": {"a": 1},
        "Locations@iot.navigationLink": f"{ROOT}/Things(1)/Locations",
        "HistoricalLocations@iot.navigationLink": f"{ROOT}/Things(1)/HistoricalLocations",
        "Datastreams@iot.navigationLink": f"{ROOT}/Things(1)/Datastreams",
        "TaskingCapabilities@iot.navigationLink": f"{ROOT}/Things(1)/TaskingCapabilities",
    }
    assert codec.encode_creation(thing) == (
        b'{"name":"t","description":"d","properties":{"a":1},"Locations":[{"@iot.id":2}]}'
    )


def test_results_without_unit_have_null_in_every_part():
    stream = replace(VIEW.datastreams[0], unit_of_measurement=sta.UnitOfMeasurement())
    shown = json.loads(codec.encode_entity(stream, ROOT))
    assert shown["unitOfMeasurement"] == {"name": None, "symbol": None, "definition": None}
    assert codec.decode_entity(sta.Datastream, codec.encode_creation(stream)) == replace(stream, id=None)


def test_text_ids_are_quoted_in_addresses():
    thing = sta.Thing(id="a'b c", name="t", description="d")
    assert codec.self_link(ROOT, thing) == f"{ROOT}/Things('a''b%20c')"


def test_an_entity_without_id_has_no_address():
    with pytest.raises(EncodeError, match="Thing has no id"):
        codec.encode_entity(sta.Thing(name="t", description="d"), ROOT)


def test_expanded_relations_are_read_for_their_id():
    stream = VIEW.datastreams[0]
    document = codec.shown_document(stream, ROOT)
    document["Thing"] = codec.shown_document(VIEW.things[0], ROOT)
    back = codec.decode_entity(sta.Datastream, json.dumps(document).encode())
    assert back.thing_id == VIEW.things[0].id
    assert back.sensor_id is None


def test_an_entity_in_place_is_refused():
    data = json.dumps({"name": "t", "description": "d", "Locations": [{"name": "l"}]}).encode()
    with pytest.raises(DecodeError, match="an entity to create in place is not taken"):
        codec.decode_entity(sta.Thing, data)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "Thing: found an array, expected an object"),
        ("{", "byte 1: no JSON"),
        ('{"name":"é", x', "byte 14: no JSON"),
        ("", "no JSON"),
        ('{"name":5,"description":"d"}', "Thing.name: found 5, expected text"),
        ('{"name":null,"description":"d"}', "Thing.name is missing, expected text"),
        (
            '{"name":"n","description":"d","properties":[]}',
            "Thing.properties: found an array, expected an obj",
        ),
        ('{"@iot.id":true,"name":"n","description":"d"}', "@iot.id: found true, expected an integer or text"),
        ('{"@iot.id":1.5,"name":"n","description":"d"}', "@iot.id: found 1.5"),
        ('{"@iot.id":99999999999999999999,"name":"n","description":"d"}', "@iot.id: found 1e"),
        ('{"@iot.id":"","name":"n","description":"d"}', "@iot.id: found ''"),
        (
            '{"name":"n","description":"d","Locations":{}}',
            "Thing.Locations: found an object, expected an array",
        ),
    ],
)
def test_a_wrong_thing_is_refused_by_name(text, problem):
    with pytest.raises(DecodeError) as caught:
        codec.decode_entity(sta.Thing, text.encode())
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"unitOfMeasurement": "W"}, "Datastream.unitOfMeasurement: found 'W', expected an object"),
        ({"unitOfMeasurement": {"name": 1}}, "Datastream.unitOfMeasurement.name: found 1, expected text"),
        ({"unitOfMeasurement": None}, "Datastream.unitOfMeasurement is missing"),
        ({"Sensor": [1]}, "Datastream.Sensor: found an array, expected an object"),
    ],
)
def test_a_wrong_datastream_is_refused_by_name(change, problem):
    document = {**codec.creation_document(VIEW.datastreams[0]), **change}
    with pytest.raises(DecodeError) as caught:
        codec.decode_entity(sta.Datastream, json.dumps(document).encode())
    assert problem in str(caught.value)


def test_a_location_must_be_somewhere():
    with pytest.raises(DecodeError, match="location is missing, expected any value but null"):
        codec.decode_entity(
            sta.Location, b'{"name":"n","description":"d","encodingType":"e","location":null}'
        )


def test_too_long_and_too_deep_are_refused():
    thing = codec.encode_creation(VIEW.things[0])
    with pytest.raises(DecodeError, match=f"{len(thing)} bytes, expected at most 10"):
        codec.decode_entity(sta.Thing, thing, limits=codec.Limits(max_bytes=10))
    deep = b'{"name":"n","description":"d","properties":{"a":' + b"[" * 40 + b"]" * 40 + b"}}"
    with pytest.raises(DecodeError, match="nested deeper than 32 levels"):
        codec.decode_entity(sta.Thing, deep)
    with pytest.raises(DecodeError, match="no JSON"):
        codec.decode_entity(sta.Thing, b"[" * 100_000)


def test_depth_is_counted_in_objects_and_arrays():
    flat = b'{"name":"n","description":"d","properties":{"a":[1]}}'
    assert codec.decode_entity(sta.Thing, flat, limits=codec.Limits(max_depth=3)).name == "n"
    with pytest.raises(DecodeError, match="deeper than 2"):
        codec.decode_entity(sta.Thing, flat, limits=codec.Limits(max_depth=2))


def test_pages():
    data = codec.encode_collection(VIEW.things, ROOT, count=5, next_link=f"{ROOT}/Things?$skip=1")
    page = codec.decode_collection(sta.Thing, data)
    assert (page.count, page.next_link) == (5, f"{ROOT}/Things?$skip=1")
    assert [thing.id for thing in page.entities] == [thing.id for thing in VIEW.things]
    assert codec.decode_collection(sta.Thing, b'{"value":[]}') == codec.Page(())


@pytest.mark.parametrize(
    "text", ["{}", '{"value":1}', '{"value":[],"@iot.count":-1}', '{"value":[],"@iot.nextLink":1}']
)
def test_a_wrong_page_is_refused(text):
    with pytest.raises(DecodeError, match="collection"):
        codec.decode_collection(sta.Thing, text.encode())


def test_the_service_root_lists_the_sets():
    root = json.loads(codec.encode_service_root(ROOT, conformance=["http://example.org/c"]))
    assert root["serverSettings"] == {"conformance": ["http://example.org/c"]}
    assert {item["name"]: item["url"] for item in root["value"]} == {
        name: f"{ROOT}/{name}" for name in SETS.values()
    }
    sensing = json.loads(codec.encode_service_root(ROOT, with_tasking=False))
    assert {item["name"] for item in sensing["value"]} == set(SETS.values()) - {
        "Actuators",
        "TaskingCapabilities",
    }


def test_a_whole_site_is_one_document():
    document = json.loads(codec.encode_view(VIEW, ROOT))
    assert set(document) == set(SETS.values()) - {"Observations"}
    assert document["Datastreams"][0]["name"] == "ESS1/DSTO1.SocEffWhPct"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**70, b"x", {1: 2}, "\ud800"])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(EncodeError):
        codec.encode_creation(sta.Thing(name="t", description="d", properties={"a": [value]}))


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
PROPERTIES = st.dictionaries(st.text(), JSON_VALUES, max_size=3)
IDS = st.integers(-(2**63), 2**63 - 1) | st.text(min_size=1)


@given(st.text(), st.text(), PROPERTIES, st.lists(IDS, max_size=3))
def test_things_round_trip(name, description, properties, location_ids):
    thing = sta.Thing(
        name=name, description=description, properties=properties, location_ids=tuple(location_ids)
    )
    assert codec.decode_entity(sta.Thing, codec.encode_creation(thing)) == thing


@given(st.text(), PROPERTIES, IDS, IDS)
def test_tasking_capabilities_round_trip(name, parameters, actuator_id, thing_id):
    capability = sta.TaskingCapability(
        name=name, description="", tasking_parameters=parameters, actuator_id=actuator_id, thing_id=thing_id
    )
    assert codec.decode_entity(sta.TaskingCapability, codec.encode_creation(capability)) == capability


@pytest.mark.parametrize("kind", sorted(SETS))
@given(data=st.data())
def test_no_mutation_raises_anything_but_decode_error(kind, data):
    entity = next(item for item in ENTITIES if kind_of(item) == kind)
    text = bytearray(
        codec.encode_entity(entity, ROOT) if data.draw(st.booleans()) else codec.encode_creation(entity)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 6))
        text[at : at + length] = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"null", b"[]", b"{}", b"1e999", b'"'])
        )
        if not text:
            break
    try:
        codec.decode_entity(type(entity), bytes(text), creating=data.draw(st.booleans()))
    except DecodeError:
        return


@pytest.mark.parametrize("kind", sorted(SETS))
@given(value=JSON_VALUES, data=st.data())
def test_no_value_in_any_property_raises_anything_but_decode_error(kind, value, data):
    entity = next(item for item in ENTITIES if kind_of(item) == kind)
    document = codec.shown_document(entity, ROOT) | codec.creation_document(entity)
    document[data.draw(st.sampled_from(sorted(document)))] = value
    try:
        codec.decode_entity(type(entity), json.dumps(document).encode())
    except DecodeError:
        return


TABLES = [
    (files("s4g_gateway.codecs.sensorthings") / "data" / name).read_text(encoding="utf-8")
    for name in ("sets.csv", "properties.csv", "links.csv")
]


@pytest.mark.parametrize(
    ("table", "line", "problem"),
    [
        (0, "Gadget,Gadgets,sensing", "entity is 'Gadget'"),
        (0, "Thing,Things,other", "part is 'other'"),
        (1, "Thing,colour,colour,text,no", "attribute is 'colour'"),
        (1, "Thing,name,name,shape,no", "kind is 'shape'"),
        (2, "Thing,Friends,name,few,no", "cardinality is 'few'"),
    ],
)
def test_a_broken_table_is_refused(table, line, problem):
    texts = list(TABLES)
    texts[table] += line + "\n"
    with pytest.raises(ModelError, match=problem):
        parse_entity_types(*texts)


def test_a_table_without_an_entity_is_refused():
    with pytest.raises(ModelError, match="entities are"):
        parse_entity_types("entity,set,part\nThing,Things,sensing\n", *TABLES[1:])


def test_the_tables_have_a_recorded_source_and_their_hash():
    folder = files("s4g_gateway.codecs.sensorthings") / "data"
    recorded = tomllib.loads((folder / "SOURCE.toml").read_text(encoding="utf-8"))["table"]
    assert {table["file"] for table in recorded} == {entry.name for entry in folder.iterdir()} - {
        "SOURCE.toml"
    }
    for table in recorded:
        assert hashlib.sha256((folder / table["file"]).read_bytes()).hexdigest() == table["sha256"], table[
            "file"
        ]
