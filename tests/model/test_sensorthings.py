from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.errors import ModelError
from s4g_gateway.model import ControlPoint, DataSet, Member, ObjectReference, Report, TimeQuality, ValueType
from s4g_gateway.model import quality as q
from s4g_gateway.model import sensorthings as sta
from s4g_gateway.model.unit_of_measurement import load_units_of_measurement, parse_units_of_measurement
from s4g_gateway.model.units import SI_UNIT

METER = DataSet(
    "meter",
    (
        Member(reference=ObjectReference("PCC1/MMXU1.TotW"), unit="W", description="Power at the PCC"),
        Member(reference=ObjectReference("PCC1/MMXU1.PhV.phsA"), unit="V", cdc="CMV"),
        Member(reference=ObjectReference("PCC1/MMXU1.TotPF")),
        Member(reference=ObjectReference("PCC1/MMTR1.SupWh"), unit="Wh", cdc="BCR"),
    ),
)
STORAGE = DataSet(
    "storage",
    (
        Member(reference=ObjectReference("ESS1/DSTO1.SocEffWhPct"), unit="%"),
        Member(reference=ObjectReference("ESS1/DSTO1.DEROpSt"), value_type=ValueType.ENUMERATED, cdc="ENS"),
        Member(reference=ObjectReference("ESS1/DSTO1.SocLoAlm"), value_type=ValueType.BOOLEAN, cdc="SPS"),
        Member(reference=ObjectReference("ESS1/DSTO1.ChaCycCnt"), value_type=ValueType.INTEGER, cdc="INS"),
        Member(reference=ObjectReference("ESS1/LPHD1.PhyNam.serNum"), value_type=ValueType.TEXT, cdc="DPL"),
        Member(reference=ObjectReference("ESS1/MMXU1.TotW"), unit="W"),
        Member(reference=ObjectReference("ESS1/SBAT1.IntnTmp2"), unit="Cel"),
        Member(reference=ObjectReference("ESS1/DSTO1.ChaWMax"), unit="W", cdc="ASG"),
    ),
)
SITE = sta.SiteDescription(
    name="bolzano",
    latitude=46.5,
    longitude=11.35,
    located_since_ns=1_500_000_000_000_000_000,
    devices=(
        sta.DeviceDescription(name="meter", logical_device="PCC1", data_sets=(METER,)),
        sta.DeviceDescription(
            name="battery",
            logical_device="ESS1",
            manufacturer="A & B",
            model="<X>",
            data_sets=(STORAGE,),
            controls=(
                ControlPoint(
                    reference=ObjectReference("ESS1/DWGC1.WSpt"), unit="W", minimum=-5000.0, maximum=5000.0
                ),
                ControlPoint(
                    reference=ObjectReference("ESS1/DSTO1.AuthConn"), value_type=ValueType.BOOLEAN, unit=""
                ),
            ),
        ),
    ),
)
VIEW = sta.sensorthings_view(SITE)


def datastream(reference):
    return VIEW.datastream_of[ObjectReference(reference)]


def test_a_site_becomes_the_nine_entity_sets():
    counts = {name: len(entities) for name, entities in VIEW.entities().items()}
    assert counts == {
        "Locations": 1,
        "Things": 2,
        "HistoricalLocations": 2,
        "Sensors": 2,
        "ObservedProperties": 11,
        "Datastreams": 12,
        "FeaturesOfInterest": 2,
        "Actuators": 1,
        "TaskingCapabilities": 2,
    }


# mandatory properties: standards.md section 2.2
@pytest.mark.parametrize(
    ("entity_set", "mandatory"),
    [
        ("Things", ["name", "description"]),
        ("Locations", ["name", "description", "encoding_type", "location"]),
        ("HistoricalLocations", ["time_ns", "thing_id", "location_ids"]),
        (
            "Datastreams",
            [
                "name",
                "description",
                "unit_of_measurement",
                "observation_type",
                "thing_id",
                "sensor_id",
                "observed_property_id",
            ],
        ),
        ("Sensors", ["name", "description", "encoding_type", "metadata"]),
        ("ObservedProperties", ["name", "definition", "description"]),
        ("FeaturesOfInterest", ["name", "description", "encoding_type", "feature"]),
        ("Actuators", ["name", "description", "encoding_type", "metadata"]),
        ("TaskingCapabilities", ["name", "description", "tasking_parameters", "actuator_id", "thing_id"]),
    ],
)
def test_every_mandatory_property_and_relation_is_there(entity_set, mandatory):
    for entity in VIEW.entities()[entity_set]:
        for name in ("id", *mandatory):
            assert getattr(entity, name) not in (None, "", ()), (entity_set, name)


def test_every_relation_leads_to_an_entity_of_the_view():
    ids = {name: {entity.id for entity in entities} for name, entities in VIEW.entities().items()}
    for stream in VIEW.datastreams:
        assert stream.thing_id in ids["Things"]
        assert stream.sensor_id in ids["Sensors"]
        assert stream.observed_property_id in ids["ObservedProperties"]
        assert VIEW.feature_of[ObjectReference(stream.name)] in ids["FeaturesOfInterest"]
    for capability in VIEW.tasking_capabilities:
        assert capability.actuator_id in ids["Actuators"]
        assert capability.thing_id in ids["Things"]
    for past in VIEW.historical_locations:
        assert past.thing_id in ids["Things"]
    for thing in VIEW.things:
        assert set(thing.location_ids) == ids["Locations"]


def test_ids_are_unique_and_stay_when_devices_come_and_go():
    alone = sta.sensorthings_view(replace(SITE, devices=SITE.devices[1:]))
    for name, entities in alone.entities().items():
        assert entities
        assert all(entity in VIEW.entities()[name] for entity in entities)
    for entities in VIEW.entities().values():
        assert len({entity.id for entity in entities}) == len(entities)


@given(st.text(), st.text(), st.text())
def test_ids_fit_a_double_exactly(site, entity, name):
    number = sta.entity_id(site, entity, name)
    assert 0 <= number < 2**48
    assert int(float(number)) == number


def test_ids_do_not_change_from_release_to_release():
    assert (
        sta.entity_id("bolzano", "Thing", "meter") == 194_255_803_962_707
    )  # first 6 bytes of sha256("bolzano\0Thing\0meter")


def test_a_datastream_says_what_it_is_in_61850():
    stream = datastream("PCC1/MMXU1.PhV.phsA")
    assert stream.properties["iec61850"] == {
        "ref": "PCC1/MMXU1.PhV.phsA",
        "ldName": "PCC1",
        "prefix": "",
        "lnClass": "MMXU",
        "inst": "1",
        "cdc": "CMV",
        "fc": "MX",
    }
    assert stream.unit_of_measurement == sta.UnitOfMeasurement(
        name="volt", symbol="V", definition="http://qudt.org/vocab/unit/V"
    )


@pytest.mark.parametrize(
    ("reference", "frame"),
    [("PCC1/MMXU1.TotW", "generator"), ("PCC1/MMTR1.SupWh", None), ("ESS1/DSTO1.ChaWMax", None)],
)
def test_only_signed_powers_carry_a_reference_frame(reference, frame):
    assert datastream(reference).properties["iec61850"].get("refFrame") == frame


@pytest.mark.parametrize(
    ("reference", "observation_type", "symbol"),
    [
        ("PCC1/MMXU1.TotW", sta.OM_MEASUREMENT, "W"),
        ("PCC1/MMXU1.TotPF", sta.OM_MEASUREMENT, "1"),
        ("ESS1/DSTO1.DEROpSt", sta.OM_CATEGORY, None),
        ("ESS1/DSTO1.SocLoAlm", sta.OM_TRUTH, None),
        ("ESS1/DSTO1.ChaCycCnt", sta.OM_COUNT, "1"),
        ("ESS1/LPHD1.PhyNam.serNum", sta.OM_ANY, None),
    ],
)
def test_the_kind_of_result_decides_type_and_unit(reference, observation_type, symbol):
    stream = datastream(reference)
    assert (stream.observation_type, stream.unit_of_measurement.symbol) == (observation_type, symbol)


def test_points_of_one_meaning_share_their_observed_property():
    assert (
        datastream("PCC1/MMXU1.TotW").observed_property_id
        == datastream("ESS1/MMXU1.TotW").observed_property_id
    )
    names = [item.name for item in VIEW.observed_properties]
    assert "SBAT.IntnTmp" in names
    definitions = {item.name: item.definition for item in VIEW.observed_properties}
    assert definitions["MMXU.TotW"] == "tag:storage4grid.eu,2016:iec61850/IEC-61850-7-4:2007B/MMXU.TotW"


def test_sites_share_their_observed_properties():
    elsewhere = sta.sensorthings_view(replace(SITE, name="graz"))
    assert elsewhere.observed_properties == VIEW.observed_properties
    assert not {thing.id for thing in elsewhere.things} & {thing.id for thing in VIEW.things}


def test_place_is_longitude_first():
    assert VIEW.locations[0].location == {"type": "Point", "coordinates": [11.35, 46.5]}
    assert VIEW.features_of_interest[0].feature == VIEW.locations[0].location


def test_a_device_without_a_page_is_described_by_its_name_plate():
    meter, battery = VIEW.sensors
    assert battery.metadata == "<p>A &amp; B &lt;X&gt;</p>"
    assert meter.metadata == "<p>meter</p>"
    site = replace(SITE, devices=(replace(SITE.devices[0], metadata_url="https://example.org/m.pdf"),))
    sensor = sta.sensorthings_view(site).sensors[0]
    assert (sensor.encoding_type, sensor.metadata) == ("application/pdf", "https://example.org/m.pdf")


def test_a_control_becomes_a_tasking_capability():
    power, connect = VIEW.tasking_capabilities
    value, not_after, priority = power.tasking_parameters["field"]
    assert value == {
        "type": "Quantity",
        "name": "value",
        "label": "ESS1/DWGC1.WSpt",
        "uom": {"code": "W"},
        "constraint": {"type": "AllowedValues", "interval": [[-5000.0, 5000.0]]},
    }
    assert (not_after["optional"], priority["optional"]) == (True, True)
    assert power.properties["iec61850"]["ctlModel"] == 3
    assert connect.tasking_parameters["field"][0]["type"] == "Boolean"


def test_a_control_with_one_limit_is_open_on_the_other_side():
    control = ControlPoint(reference=ObjectReference("PCC1/DWMX1.WMaxSpt"), unit="W", minimum=0.0)
    site = replace(SITE, devices=(replace(SITE.devices[0], controls=(control,)),))
    field = sta.sensorthings_view(site).tasking_capabilities[0].tasking_parameters["field"][0]
    assert field["constraint"]["interval"] == [[0.0, "Infinity"]]


def test_a_report_becomes_observations():
    values = (81.5, 6, True, 12, "S-1", None, 21, 5000.0)
    quality = (0, 0, 0, 0, 0, q.INVALID | q.OLD_DATA, q.QUESTIONABLE, 0)
    times = tuple(range(100, 108))
    report = Report(STORAGE, values, quality, times, time_quality=TimeQuality.CLOCK_NOT_SYNCHRONISED)
    made = [VIEW.observation(report, position) for position in range(8)]
    assert [item.result for item in made] == [81.5, "6", True, 12, "S-1", None, 21.0, 5000.0]
    assert [item.phenomenon_time_ns for item in made] == list(times)
    assert [sta.quality_of(item.result_quality) for item in made] == list(quality)
    assert made[5].result_quality == {"iec61850": 130, "text": "invalid, oldData", "timeQuality": 1}
    assert made[0].datastream_id == datastream("ESS1/DSTO1.SocEffWhPct").id
    assert made[0].feature_of_interest_id == VIEW.features_of_interest[1].id


def test_a_report_of_another_site_is_refused():
    other = DataSet("other", (Member(reference=ObjectReference("PCC9/MMXU1.TotW"), unit="W"),))
    with pytest.raises(ModelError, match=r"PCC9/MMXU1\.TotW is no Datastream"):
        VIEW.observation(Report(other, (1.0,), (0,), 1), 0)


@pytest.mark.parametrize(
    "stated", [None, 1, "x", {}, {"iec61850": True}, {"iec61850": 8192}, {"iec61850": -1}]
)
def test_a_foreign_result_quality_is_no_61850_quality(stated):
    assert sta.quality_of(stated) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"latitude": 91.0}, "latitude 91.0"),
        ({"longitude": float("nan")}, "longitude nan"),
        (
            {"devices": (SITE.devices[0], replace(SITE.devices[1], name="meter"))},
            "device 'meter' stands twice",
        ),
        ({"devices": (replace(SITE.devices[0], data_sets=(METER, METER)),)}, "stands in two DataSets"),
        ({"devices": (replace(SITE.devices[0], logical_device="PCC2"),)}, "is not of its LD 'PCC2'"),
    ],
)
def test_a_contradictory_site_is_refused(change, problem):
    with pytest.raises(ModelError, match=problem):
        sta.sensorthings_view(replace(SITE, **change))


@pytest.mark.parametrize("member", [{"unit": "kW"}, {"reference": ObjectReference("PCC1/MMXU1.TotWatt")}])
def test_a_point_outside_the_tables_is_refused(member):
    wrong = DataSet("wrong", (replace(METER.members[0], **member),))
    with pytest.raises(ModelError, match=r"unknown unit 'kW'|did you mean"):
        sta.sensorthings_view(replace(SITE, devices=(replace(SITE.devices[0], data_sets=(wrong,)),)))


def test_every_canonical_unit_has_a_sensorthings_unit():
    assert set(load_units_of_measurement()) == set(SI_UNIT)


@pytest.mark.parametrize(
    ("line", "problem"),
    [("kW,kilowatt,kW,x", "line 3: unknown unit 'kW'"), ("W,watt,W,x", "line 3: unit 'W' stands twice")],
)
def test_a_broken_unit_table_names_its_line(line, problem):
    with pytest.raises(ModelError, match=problem):
        parse_units_of_measurement("unit,name,symbol,definition\nW,watt,W,x\n" + line)


def test_entities_are_frozen():
    for entities in VIEW.entities().values():
        for entity in entities:
            with pytest.raises(AttributeError):
                setattr(entity, fields(entity)[0].name, 1)
