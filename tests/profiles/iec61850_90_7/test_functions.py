import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.errors import ProfileError
from s4g_gateway.interfaces import load_catalogue
from s4g_gateway.profiles.iec61850_90_7 import (
    FunctionRequestError,
    curve_attributes,
    curve_text,
    data_object_writes,
    decode_request,
    encode_request,
    energy_router_table,
    find_function,
    function_request,
    load_functions,
    named_curves,
    parse_curve,
    state_from_data_objects,
)
from s4g_gateway.profiles.iec61850_90_7.functions import parse_functions
from s4g_gateway.profiles.sunspec import compile_layout, full_length, load_definition
from s4g_gateway.profiles.sunspec.layout import count_points

CURVE = "0.92:44,0.98:0,1.02:0,1.08:-44"
# standards.md 1.11; no function may claim more.
KNOWN = {
    "INV1": "solid", "INV2": "solid", "INV3": "solid", "INV4": "weak", "VV11": "solid", "VV12": "solid",
    "VV13": "solid", "VV14": "solid", "FW21": "solid", "FW22": "solid", "TV31": "medium", "WP41": "weak",
    "WP42": "weak", "VW51": "medium", "VW52": "medium",
}  # fmt: skip


def test_the_functions_and_how_sure_they_are():
    assert {code: function.certainty for code, function in load_functions().items()} == KNOWN
    assert all(function.source for function in load_functions().values())
    assert len({function.name for function in load_functions().values()}) == len(KNOWN)


def layout_of(model_id):
    definition = load_definition(model_id)
    counts = dict.fromkeys(count_points(definition), 10)
    return compile_layout(definition, full_length(definition, counts, 2), counts)


TWINS = [(f, t) for f in load_functions().values() for t in f.sunspec]


@pytest.mark.parametrize(("function", "twin"), TWINS, ids=[f"{f.code}-{t.model}" for f, t in TWINS])
def test_every_point_of_a_twin_exists_and_can_be_written(function, twin):
    layout = layout_of(twin.model)
    slot = twin.slot.format(slot=2)

    def point(path, n=1):
        path = path.format(n=n)
        return layout.index[slot + path if path.startswith(".") else path].definition

    places = [*twin.parameters.values(), *(axis for axis in (twin.x, twin.y, twin.value) if axis)]
    for place in places:
        for path in place.points:
            assert point(path).is_writable, path
            states = set(point(path).symbols)
            if place.codes and states and point(path).type.name == "enum16":
                assert set(place.codes.values()) <= states, path
        assert not place.of or layout.index[place.of]
    for path in (twin.enable, twin.adopt, twin.active, twin.count, *twin.preset):
        assert not path or point(path).is_writable, path
    for path in (twin.result, twin.slots, twin.points_limit, twin.read_only):
        assert not path or point(path)
    if twin.x and twin.y and function.curve:
        for n in range(1, function.curve.max_points + 1):
            assert point(twin.x.points[0], n)
            assert point(twin.y.points[0], n)


def test_functions_are_found_by_code_and_name_and_a_wrong_name_gets_a_hint():
    assert find_function("vv11") is find_function("volt-var") is load_functions()["VV11"]
    with pytest.raises(ProfileError, match="no function 'volt-vra'; expected such as volt-var"):
        find_function("volt-vra")


@pytest.mark.parametrize(
    ("function", "curve", "parameters", "message"),
    [
        ("volt-var", "0.92:44,0.98", {}, "curve point 2: found '0.98', expected x:y"),
        ("volt-var", "0.92:44,0.98:a", {}, "curve point 2: found '0.98:a', expected x:y"),
        ("volt-var", "0.92:44", {}, "curve: found 1 points, expected 2 to 10"),
        ("volt-var", ",".join(f"{0.9 + n / 100}:0" for n in range(11)), {}, "found 11 points, expected 2 to 10"),
        ("volt-var", "0.98:44,0.92:0", {}, "curve point 2: x is 0.92, expected more than 0.98 of point 1"),
        ("volt-var", "0.92:44,0.98:0,0.98:-1", {}, "curve point 3: x is 0.98, expected more than 0.98"),
        ("volt-var", "0.92:0,0.98:44", {}, "curve point 2: y is 44, expected at most 0 of point 1"),
        ("volt-var", "92:44,98:0", {}, "curve point 1: x is 92, expected voltage from 0.5 to 1.5"),
        ("volt-var", "0.92:nan,0.98:0", {}, "curve point 1: y is nan, expected reactive power from -100 to 100 %"),
        ("volt-var", "0.92:44,0.98:-101", {}, "curve point 2: y is -101"),
        ("volt-watt-load", "1.06:0,1.1:20", {}, "curve point 2: y is 20, expected active power from -100 to 0 %"),
        ("fixed-var", "0.92:44,0.98:0", {}, "fixed-var has no curve; expected reactive_pct"),
        ("volt-var", "", {"ramp": 1}, "volt-var has no parameter 'ramp'; expected y_reference, "),
        ("volt-var", "", {"ramp_s": 1.5}, "ramp_s: found 1.5, expected a whole number from 0 to 65534 s"),
        ("volt-var", "", {"ramp_s": True}, "ramp_s: found True, expected a whole number"),
        ("volt-var", "", {"y_reference": "x"}, "y_reference: found 'x', expected one of w-max, var-max"),
        ("max-generation", "", {}, "max-generation needs limit_pct"),
        ("max-generation", "", {"limit_pct": 101}, "limit_pct: found 101, expected a number from 0 to 100 %"),
        ("fixed-power-factor", "", {"power_factor": 0.9, "over_excited": 1}, "over_excited: found 1, expected true"),
        ("frequency-watt", "", {"droop": 0.05, "gradient_pct_per_hz": 40}, "expected either droop or"),
        ("frequency-watt", "", {"droop": -1}, "droop: found -1, expected a number above 0"),
        ("nonsense", "", {}, "no function 'nonsense'"),
    ],
)  # fmt: skip
def test_a_wrong_request_names_what_is_wrong(function, curve, parameters, message):
    with pytest.raises(FunctionRequestError) as error:
        function_request(function, curve=parse_curve(curve) if curve else (), parameters=parameters)
    assert message in str(error.value)


def test_a_request_survives_its_text_form():
    request = function_request(
        "volt-var", curve=parse_curve(CURVE), parameters={"ramp_s": 5, "y_reference": "va-max"}
    )
    again = decode_request(encode_request(request))
    assert (again.function, again.enabled, again.curve) == (request.function, True, request.curve)
    assert dict(again.parameters) == {"ramp_s": 5, "y_reference": "va-max"}
    assert curve_text(again.curve) == CURVE


@given(st.text() | st.binary().map(lambda data: data.decode("latin1")))
def test_what_is_no_request_is_refused_in_words(text):
    with pytest.raises(FunctionRequestError, match=r"^no function"):
        decode_request(text)


@given(
    st.dictionaries(
        st.sampled_from(["function", "enabled", "curve", "parameters", "x"]), st.none() | st.text()
    )
)
def test_a_request_with_wrong_fields_is_refused_in_words(body):
    with pytest.raises(FunctionRequestError):
        decode_request(json.dumps(body))


def test_off_is_its_counterpart_switched_off():
    request = function_request("VV14")
    assert (request.function.code, request.enabled) == ("VV11", False)
    (mode,) = data_object_writes(request, logical_device="INV1")
    assert (mode.reference, mode.value, mode.is_control) == ("INV1/DVVR1.Mod", 5, True)


def test_droop_becomes_a_gradient():
    request = function_request("FW21", parameters={"droop": 0.05})
    assert request.parameters["gradient_pct_per_hz"] == pytest.approx(40)
    at_60 = function_request("FW21", parameters={"droop": 0.05, "nominal_hz": 60})
    assert at_60.parameters["gradient_pct_per_hz"] == pytest.approx(100 / 3)


def test_writes_of_a_curve_come_in_order_and_read_back():
    request = function_request(
        "VV11", curve=parse_curve(CURVE), parameters={"ramp_s": 5, "window_s": 30, "response_s": 2.5}
    )
    writes = data_object_writes(request, logical_device="INV1")
    assert [write.reference.partition(".")[2] for write in writes] == [
        "OplTmsMax", "WinTms", "RmpTms", "VVArCrv", "Mod",
    ]  # fmt: skip
    assert [write.is_control for write in writes] == [False, False, False, False, True]
    values = {write.reference: write.value for write in writes}
    state = state_from_data_objects(request.function, values, logical_device="INV1")
    assert (state.enabled, state.curve) == (True, request.curve)
    assert dict(state.parameters) == {"response_s": 2.5, "window_s": 30, "ramp_s": 5}
    assert curve_attributes(request.curve)[:3] == (
        ("numPts", 4), ("crvPts[0].xVal", 0.92), ("crvPts[0].yVal", 44.0),
    )  # fmt: skip


def test_a_set_point_is_written_before_the_mode_and_after_its_timing():
    request = function_request("INV3", parameters={"power_factor": 0.95, "over_excited": False, "ramp_s": 3})
    found = [(w.reference, w.value, w.is_control) for w in data_object_writes(request, logical_device="INV1")]
    assert found == [
        ("INV1/DFPF1.RmpTms", 3, False),
        ("INV1/DFPF1.PFGnExtQud", False, True),
        ("INV1/DFPF1.PFGnTgtSpt", 0.95, True),
        ("INV1/DFPF1.Mod", 1, True),
    ]
    connect = data_object_writes(
        function_request("connect", parameters={"connected": False, "window_s": 60}), logical_device="INV1"
    )
    assert [(w.reference, w.value) for w in connect] == [
        ("INV1/DCTE1.WinTms", 60), ("INV1/DGEN1.DEROpStCtl", 3),
    ]  # fmt: skip


def test_a_frequency_curve_is_split_at_the_nominal_frequency():
    curve = parse_curve("47.5:100,49.8:0,50.2:0,51.5:-50")
    writes = data_object_writes(function_request("FW22", curve=curve), logical_device="INV1")
    values = {write.reference: write.value for write in writes}
    assert values["INV1/DHFW1.HzWCrv"] == ((50.0, 0.0), (50.2, 0.0), (51.5, -50.0))
    assert values["INV1/DLFW1.HzWCrv"] == ((47.5, 100.0), (49.8, 0.0), (50.0, 0.0))
    assert (values["INV1/DHFW1.Mod"], values["INV1/DLFW1.Mod"]) == (1, 1)
    state = state_from_data_objects(find_function("FW22"), values, logical_device="INV1")
    assert state.curve == (*curve[:2], (50.0, 0.0), *curve[2:])
    high = data_object_writes(function_request("FW22", curve=curve[2:]), logical_device="INV1")
    assert {w.reference: w.value for w in high}["INV1/DLFW1.Mod"] == 5


def test_a_function_without_a_logical_node_says_so():
    request = function_request("WP41", curve=parse_curve("0:1,50:1,100:-0.9"))
    with pytest.raises(FunctionRequestError, match="no logical node"):
        data_object_writes(request, logical_device="INV1")


def test_the_ready_made_curves_fit_their_functions():
    curves = named_curves()
    assert curves["ieee1547-volt-var-1"].points == ((0.92, 44), (0.98, 0), (1.02, 0), (1.08, -44))
    assert {curve.function for curve in curves.values()} == {"VV11", "VW51", "FW21"}
    assert len(curves) == 8


def test_table_15_agrees_with_the_interface_catalogue():
    table = energy_router_table()
    interface = load_catalogue().interface("ER#SMX")
    variables = [variable for message in interface.messages for variable in message.variables]
    assert [table.reference(entry.name) for entry in table.set_point] == [v.reference for v in variables[:4]]
    assert [entry.d31_unit for entry in table.set_point] == ["kW", "kW", "kvar", "kvar"]
    assert [(mode.number, mode.title) for mode in table.mode.value] == [
        (literal.value, literal.meaning) for literal in variables[4].values
    ]
    assert table.operation_mode(5).grid == "disconnected"
    assert table.reference("operation_mode", "ER7") == "ER7/GGIO1.ISCSO1"
    with pytest.raises(ProfileError, match="expected one of grid_power_min"):
        table.reference("nonsense")
    with pytest.raises(ProfileError, match="operation mode 6, expected 1 to 5"):
        table.operation_mode(6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("VVArCrv", "VVArCurve"), "VVArCurve"),
        (('data_object = "WMaxSptPct", cdc = "APC"', 'data_object = "WMaxSptPct", cdc = "ASG"'), "is APC, not ASG"),
        (("minimum = 0.1, maximum = 1,", "smallest = 0.1,"), "INV3: Object contains unknown field"),
        (('value = "power_w"', 'value = "power"'), "INV4: value = 'power'"),
        (("[[timing]]", "[timing"), "functions.toml: "),
    ],
)  # fmt: skip
def test_a_broken_table_is_refused(change, message):
    from importlib.resources import files

    text = (files("s4g_gateway.profiles.iec61850_90_7") / "data" / "functions.toml").read_text()
    with pytest.raises(ProfileError) as error:
        parse_functions(text.replace(*change))
    assert message in str(error.value)
