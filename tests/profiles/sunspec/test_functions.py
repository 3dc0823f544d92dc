import pytest

from s4g_gateway.model import AddCause
from s4g_gateway.profiles.iec61850_90_7 import encode_request, function_request, parse_curve
from s4g_gateway.profiles.modbus import Answer, Read, Wait
from s4g_gateway.profiles.sunspec import (
    ControlMemory,
    bind,
    build_device,
    carry_out,
    load_template,
    read_function,
)

VOLT_VAR, VOLT_WATT, FREQUENCY, FREQUENCY_CURVE = (
    "INV1/DVVR1.VVArCrv",
    "INV1/DVWC1.VWCrv",
    "INV1/DHFW1.WGra",
    "INV1/DHFW2.HzWCrv",
)
CURVE = parse_curve("0.92:44,0.98:0,1.02:0,1.08:-44")


class Driver:
    """Carries exchanges out on a FakeDevice; ``react`` is called after every write, as a device would act."""

    def __init__(self, fake, template, react=None):
        self.fake, self.react = fake, react
        self.binding = bind(build_device(load_template(template), "d"), fake.chain())
        self.memory = ControlMemory()
        self.waits = []

    def __call__(self, reference, function=None, *, enabled=True, curve=(), remaining_s=None, **parameters):
        value = None
        if function is not None:
            request = function_request(function, enabled=enabled, curve=curve, parameters=parameters)
            value = encode_request(request)
        return self.send(reference, value, remaining_s)

    def send(self, reference, value, remaining_s=None):
        self.fake.writes.clear()
        return self.drive(
            carry_out(self.binding, reference, value, memory=self.memory, remaining_s=remaining_s)
        )

    def read(self, reference, code=""):
        return self.drive(read_function(self.binding, reference, code))

    def drive(self, exchange):
        try:
            step = next(exchange)
            while True:
                step = exchange.send(self.answer(step))
        except StopIteration as end:
            return end.value

    def answer(self, step):
        if isinstance(step, Wait):
            self.waits.append(step.duration_s)
            return Answer()
        if isinstance(step, Read):
            data = self.fake.read(step)
            return Answer(exception=2) if data is None else Answer(data)
        refusal = self.fake.refuse.get(step.address)
        if refusal:
            return Answer(exception=refusal)
        self.fake.write(step.address, step.data)
        if self.react is not None:
            self.react(self.fake)
        return Answer()

    def raw(self, model_id, path):
        return self.fake.raw(model_id, path)


def legacy(model_id, curves=4, **more):
    axes = {126: "VAr", 132: "W", 134: "W", 131: "PF"}
    values = {
        "ActCrv": 1, "ModEna": 0, "WinTms": 0, "RvrtTms": 0, "RmpTms": 0, "NCrv": curves, "NPt": 10,
        "V_SF": -2, "DeptRef_SF": -2, "Hz_SF": -2, "W_SF": -2, "PF_SF": -3, "RmpIncDec_SF": -2,
    }  # fmt: skip
    x = {126: "V", 132: "V", 134: "Hz", 131: "W"}[model_id]
    for slot in range(1, curves + 1):
        values |= {f"curve[{slot}].ActPt": 2, f"curve[{slot}].ReadOnly": 0, f"curve[{slot}].DeptRef": 1}
        values |= {f"curve[{slot}].RmpRsUp": 0, f"curve[{slot}].RmpPt1Tms": 0, f"curve[{slot}].SnptW": 0}
        for point in range(1, 21):
            first = {"V": 100, "Hz": 50, "W": 0}[x] + point
            values |= {f"curve[{slot}].{x}{point}": first, f"curve[{slot}].{axes[model_id]}{point}": 0}
    return {**values, **more}


@pytest.fixture
def old(fake_device):
    """An inverter with models 126, 127, 128, 131, 132, 134."""

    def make(**models):
        base = {
            1: {"Mn": "Maker"},
            126: legacy(126),
            127: {
                "WGra": 0, "HzStr": 0.2, "HzStop": 0.1, "HysEna": 0, "ModEna": 0, "HzStopWGra": 10,
                "WGra_SF": -1, "HzStrStop_SF": -3, "RmpIncDec_SF": 0,
            },
            128: {
                "ArGraMod": 0, "ArGraSag": 0, "ArGraSwell": 0, "ModEna": 0, "FilTms": 1, "DbVMin": 5, "DbVMax": 5,
                "ArGra_SF": -2, "VRefPct_SF": -1,
            },
            131: legacy(131),
            132: legacy(132),
            134: legacy(134),
        }  # fmt: skip
        base |= {int(name[1:]): values for name, values in models.items()}
        return Driver(fake_device(base, repeats=4), "generic-inverter-functions")

    return make


def der(fake, model_id, request, result, group):
    """Adopts what is asked for, as a device with models 705 to 712."""
    slot = fake.raw(model_id, request)
    if not slot:
        return
    layout = fake.layout[model_id]
    for path, point in layout.index.items():
        own = f"{group}[{slot}]."
        if path.startswith(own) and not path.endswith("ReadOnly"):
            source, target = (
                fake.place(model_id, path),
                fake.place(model_id, f"{group}[1].{path[len(own) :]}"),
            )
            size, base = 2 * point.definition.registers, fake.base
            start, end = 2 * (source - base), 2 * (target - base)
            fake.data[end : end + size] = fake.data[start : start + size]
    for path, raw in ((request, 0), (result, 1)):
        at = 2 * (fake.place(model_id, path) - fake.base)
        fake.data[at : at + 2] = raw.to_bytes(2, "big")


def der_705(**more):
    values = {
        "Ena": 0, "AdptCrvReq": 0, "AdptCrvRslt": 1, "NPt": 6, "NCrv": 3, "RvrtTms": 0, "RvrtCrv": 0,
        "V_SF": -1, "DeptRef_SF": -1, "RspTms_SF": 0,
    }  # fmt: skip
    for slot in (1, 2, 3):
        prefix = f"Crv[{slot}]."
        values |= {f"{prefix}ActPt": 2, f"{prefix}DeptRef": 1, f"{prefix}Pri": 0, f"{prefix}RspTms": 9}
        values |= {f"{prefix}VRef": 100, f"{prefix}ReadOnly": int(slot == 1)}
        for point in range(1, 7):
            values |= {f"{prefix}Pt[{point}].V": 90 + 5 * point, f"{prefix}Pt[{point}].Var": 10 - 10 * point}
    return {**values, **more}


@pytest.fixture
def new(fake_device):
    """A device with model 705."""

    def make(react=True, **more):
        def adopt(fake):
            der(fake, 705, "AdptCrvReq", "AdptCrvRslt", "Crv")

        fake = fake_device({1: {"Mn": "Maker"}, 705: der_705(**more)})
        return Driver(fake, "hybrid-inverter", adopt if react else None)

    return make


def test_a_curve_is_adopted_and_reads_back(new):
    device = new()
    answer = device(VOLT_VAR, "volt-var", curve=CURVE, response_s=5, y_reference="va-max")
    assert (answer.accepted, answer.detail) == (True, "")
    assert device.raw(705, "Ena") == 1
    assert [device.raw(705, f"Crv[1].Pt[{n}].V") for n in (1, 2, 3, 4)] == [920, 980, 1020, 1080]
    assert device.raw(705, "Crv[1].Pt[4].Var") == -440
    state = device.read(VOLT_VAR)
    assert (state.function, state.enabled, state.curve) == ("VV11", True, CURVE)
    assert dict(state.parameters) == {
        "y_reference": "va-max", "response_s": 5, "reference_voltage_pct": 100, "revert_s": 0,
    }  # fmt: skip
    assert (state.points_limit, state.place) == (6, "model 705, curve 1")


def test_what_a_request_leaves_out_is_carried_over_and_the_enable_comes_last(new):
    device = new()
    assert device(VOLT_VAR, "volt-var", curve=CURVE).accepted
    assert dict(device.read(VOLT_VAR).parameters)["response_s"] == 9
    addresses = [address for address, _ in device.fake.writes]
    assert addresses[-1] == device.fake.place(705, "Ena")
    assert addresses[-2] == device.fake.place(705, "AdptCrvReq")
    assert device(VOLT_VAR, "volt-var", enabled=False).accepted
    state = device.read(VOLT_VAR)
    assert (state.enabled, state.curve) == (False, CURVE)
    assert device(VOLT_VAR, "volt-var").accepted
    assert device.read(VOLT_VAR).enabled


def test_priority_is_part_of_the_function(new):
    device = new()
    assert device(VOLT_VAR, "VV12", curve=CURVE).accepted
    assert device.read(VOLT_VAR).function == "VV12"
    without = new(**{f"Crv[{slot}].Pri": None for slot in (1, 2, 3)})
    answer = without(VOLT_VAR, "VV12", curve=CURVE)
    assert (answer.add_cause, answer.detail) == (
        AddCause.NOT_SUPPORTED,
        "volt-var-priority: the device has no Crv[2].Pri",
    )
    assert without(VOLT_VAR, "VV11", curve=CURVE).accepted


def test_the_curve_to_revert_to_is_left_alone(new):
    device = new(RvrtCrv=2)
    assert device(VOLT_VAR, "volt-var", curve=CURVE, revert_s=60).accepted
    assert device.raw(705, "Crv[2].Pt[1].V") == 950
    assert device.raw(705, "Crv[3].Pt[1].V") == 920


def test_a_device_that_refuses_or_never_answers_an_adoption(new):
    device = new(react=False)
    answer = device(VOLT_VAR, "volt-var", curve=CURVE)
    assert answer.add_cause is AddCause.TIME_LIMIT_OVER
    assert sum(device.waits) < 10
    assert device.raw(705, "Ena") == 0
    device = new(react=False, AdptCrvRslt=2)
    assert device(VOLT_VAR, "volt-var", curve=CURVE).add_cause is AddCause.INCONSISTENT_PARAMETERS


def test_a_request_for_a_time_gives_the_old_curve_back(new):
    device = new(Ena=1)
    before = device.read(VOLT_VAR)
    assert device(VOLT_VAR, "volt-var", curve=CURVE, revert_s=60, remaining_s=60.0).accepted
    assert device(VOLT_VAR, "volt-var", curve=CURVE[:2], remaining_s=60.0).accepted
    assert device(VOLT_VAR).accepted
    after = device.read(VOLT_VAR)
    assert (after.curve, after.enabled) == (before.curve, True)
    # Neither the response time nor the device's timer stays behind.
    assert dict(after.parameters) == dict(before.parameters)
    assert device.memory.functions == {}


def test_a_release_without_memory_switches_off(new):
    device = new(Ena=1)
    assert device(VOLT_VAR).accepted
    assert device.raw(705, "Ena") == 0


@pytest.mark.parametrize(
    ("more", "request_", "cause", "detail"),
    [
        ({}, {"curve": parse_curve(",".join(f"{0.9 + n / 50}:{-n}" for n in range(7)))},
         AddCause.INCONSISTENT_PARAMETERS, "curve: found 7 points, expected at most 6"),
        ({}, {"curve": parse_curve("0.92:44,0.9201:0")}, AddCause.INCONSISTENT_PARAMETERS,
         "curve point 2: x is 0.9201, which this device cannot tell from the point before"),
        ({}, {"curve": CURVE, "ramp_s": 5}, AddCause.NOT_SUPPORTED,
         "ramp_s: model 705 of this device has no place for ramp_s"),
        ({"RvrtTms": None}, {"curve": CURVE, "revert_s": 5}, AddCause.NOT_SUPPORTED,
         "revert_s: model 705 of this device has no RvrtTms"),
        ({f"Crv[{n}].ReadOnly": 1 for n in (2, 3)}, {"curve": CURVE}, AddCause.BLOCKED_BY_PROCESS,
         "model 705 of this device has no curve that can be written"),
    ],
)  # fmt: skip
def test_what_the_device_cannot_do_is_refused_in_words_and_nothing_is_enabled(
    new, more, request_, cause, detail
):
    device = new(**more)
    answer = device(VOLT_VAR, "volt-var", **request_)
    assert (answer.accepted, answer.add_cause) == (False, cause)
    assert detail in answer.detail
    assert device.fake.writes == []
    assert not device(VOLT_VAR, "volt-var", remaining_s=60.0, **request_).accepted or "revert_s" in request_
    assert device.memory.functions == {} or "revert_s" in request_


def test_the_devices_resolution_is_told(new):
    answer = new()(VOLT_VAR, "volt-var", curve=parse_curve("0.9204:44,1.08:-44"))
    assert (answer.accepted, answer.detail) == (
        True,
        "rounded by the device's resolution: 0.9204 to 0.92",
    )


def test_wrong_requests_are_refused(new):
    device = new()
    for value, detail in (
        ("{", "no function request"),
        ('{"function": "VV11", "curve": [[1, 2]]}', "expected 2 to 10"),
        (
            '{"function": "INV2", "parameters": {"limit_pct": 5}}',
            "INV1/DVVR1.VVArCrv takes VV11, VV12, found INV2",
        ),
    ):
        answer = device.send(VOLT_VAR, value)
        assert answer.add_cause is AddCause.INCONSISTENT_PARAMETERS
        assert detail in answer.detail
    assert "takes no function request" in device.send("INV1/DFPF1.PFGnExtQud", "{}").detail
    answer = device(VOLT_WATT, "volt-watt", curve=parse_curve("1.06:100,1.1:20"))
    assert (answer.add_cause, answer.detail) == (
        AddCause.NOT_SUPPORTED,
        "volt-watt: the device lacks model 706, 132",
    )
    assert device.read(VOLT_WATT).add_cause is AddCause.NOT_SUPPORTED
    assert device.read(VOLT_VAR, "VW51").add_cause is AddCause.NOT_SUPPORTED


def test_older_models_get_a_spare_curve_that_becomes_the_active_one(old):
    device = old()
    answer = device(VOLT_VAR, "volt-var", curve=CURVE, window_s=30, ramp_s=5, revert_s=600)
    assert answer.accepted, answer.detail
    assert (device.raw(126, "ActCrv"), device.raw(126, "ModEna")) == (2, 1)
    assert [device.raw(126, name) for name in ("WinTms", "RmpTms", "RvrtTms")] == [30, 5, 600]
    assert device.raw(126, "curve[2].V4") == 10800
    assert device.raw(126, "curve[1].V1") == 10100
    state = device.read(VOLT_VAR)
    assert (state.curve, state.enabled, state.place) == (CURVE, True, "model 126, curve 2")
    assert dict(state.parameters) == {"y_reference": "var-max", "window_s": 30, "ramp_s": 5, "revert_s": 600}
    assert "expected one of w-max, var-max, var-available on this device" in device(
        VOLT_VAR, "volt-var", curve=CURVE, y_reference="va-max"
    ).detail  # fmt: skip


def test_a_request_for_a_time_gives_the_old_slot_back(old):
    device = old()
    assert device(VOLT_VAR, "volt-var", curve=CURVE, remaining_s=10.0).accepted
    assert device(VOLT_VAR).accepted
    assert (device.raw(126, "ActCrv"), device.raw(126, "ModEna")) == (1, 0)
    single = old(m126=legacy(126, curves=1))
    before = single.read(VOLT_VAR).curve
    assert single(VOLT_VAR, "volt-var", curve=CURVE, remaining_s=10.0).accepted
    assert single.read(VOLT_VAR).curve == CURVE
    assert single(VOLT_VAR).accepted
    assert single.read(VOLT_VAR).curve == before


def test_a_function_without_an_active_curve_cannot_be_switched_on(old):
    device = old(m126=legacy(126, ActCrv=0))
    answer = device(VOLT_VAR, "volt-var")
    assert answer.add_cause is AddCause.BLOCKED_BY_PROCESS
    assert device.raw(126, "ModEna") == 0
    assert device.read(VOLT_VAR).curve == ()


def test_the_other_older_models(old):
    device = old()
    assert device(VOLT_WATT, "volt-watt", curve=parse_curve("1.06:100,1.1:20"), response_s=3).accepted
    assert dict(device.read(VOLT_WATT).parameters)["response_s"] == 3
    curve = parse_curve("47.5:100,50.2:0,51.5:-50")
    assert device(FREQUENCY_CURVE, "FW22", curve=curve, recovery_pct_per_min=10, nominal_hz=50).accepted
    state = device.read(FREQUENCY_CURVE)
    assert (state.curve, state.parameters["recovery_pct_per_min"]) == (curve, 10)
    assert device("INV1/DFPF2.ReqPF", "WP41", curve=parse_curve("0:1,50:1,100:-0.95")).accepted
    assert device.read("INV1/DFPF2.ReqPF").curve[2] == (100, -0.95)
    answer = device(FREQUENCY, "FW21", start_hz=0.2, droop=0.05, stop_hz=0.1, hysteresis=True)
    assert answer.accepted, answer.detail
    assert (device.raw(127, "WGra"), device.raw(127, "HysEna"), device.raw(127, "ModEna")) == (400, 1, 1)
    assert device.read(FREQUENCY).parameters["gradient_pct_per_hz"] == pytest.approx(40)
    tv31 = "INV1/DRGS1.ArGraMod"
    assert device(tv31, "TV31", gradient_sag=2.5, gradient_from_centre=True, remaining_s=5.0).accepted
    assert (device.raw(128, "ArGraSag"), device.raw(128, "ArGraMod"), device.raw(128, "ModEna")) == (
        250,
        1,
        1,
    )
    assert "DbVMin" not in str(device(tv31, "TV31", block_ms=5))
    assert "block_ms: model 128 of this device has no BlkZnTmms" in device(tv31, "TV31", block_ms=5).detail
    assert device(tv31).accepted
    assert (device.raw(128, "ArGraSag"), device.raw(128, "ArGraMod"), device.raw(128, "ModEna")) == (0, 0, 0)


def test_droop_model(fake_device):
    values = {
        "Ena": 0, "AdptCtlReq": 0, "AdptCtlRslt": 1, "NCtl": 2, "RvrtTms": 0, "RvrtCtl": 0, "Db_SF": -3,
        "K_SF": -3, "RspTms_SF": -1,
    }  # fmt: skip
    for slot in (1, 2):
        values |= {f"Ctl[{slot}].{name}": 0.03 for name in ("DbOf", "DbUf", "KOf", "KUf")}
        values |= {f"Ctl[{slot}].RspTms": 5, f"Ctl[{slot}].ReadOnly": int(slot == 1)}
    fake = fake_device({1: {"Mn": "Maker"}, 711: values})
    device = Driver(fake, "hybrid-inverter", lambda it: der(it, 711, "AdptCtlReq", "AdptCtlRslt", "Ctl"))
    assert device(FREQUENCY, "FW21", start_hz=0.036, droop=0.05, response_s=0.2).accepted
    found = device.read(FREQUENCY)
    assert dict(found.parameters) == {
        "start_hz": 0.036, "gradient_pct_per_hz": pytest.approx(40), "response_s": 0.2, "revert_s": 0,
    }  # fmt: skip
    assert (found.enabled, found.curve, found.points_limit) == (True, (), 0)


LIMIT, PF, VAR, POWER, CONNECT = (
    "INV1/DWMX1.WMaxSptPct",
    "INV1/DFPF1.PFGnTgtSpt",
    "INV1/DVAR1.VArTgtSptPct",
    "ESS1/DWGC1.WSpt",
    "INV1/DGEN1.DEROpStCtl",
)


def test_functions_of_one_set_point_take_their_times_along(fake_device, hybrid_models):
    times = ("WinTms", "RvrtTms", "RmpTms")
    hybrid_models[123] |= {
        f"{base}_{name}": 0 for base in ("WMaxLimPct", "OutPFSet", "VArPct") for name in times
    }
    hybrid_models[123] |= {"Conn_WinTms": 0, "Conn_RvrtTms": 0}
    device = Driver(fake_device(hybrid_models), "fronius-symo-hybrid")
    assert device(LIMIT, "INV2", limit_pct=60, ramp_s=5, window_s=30, revert_s=90).accepted
    assert [device.raw(123, f"WMaxLimPct{name}") for name in ("", "_RmpTms", "_WinTms", "_RvrtTms")] == [
        6000, 5, 30, 90,
    ]  # fmt: skip
    state = device.read(LIMIT)
    assert (state.enabled, dict(state.parameters)) == (
        True,
        {"limit_pct": 60, "ramp_s": 5, "window_s": 30, "revert_s": 90},
    )
    assert device(LIMIT, "INV2", enabled=False).accepted
    assert device.read(LIMIT).enabled is False
    assert device(PF, "INV3", power_factor=0.9, over_excited=False).accepted
    assert device.raw(123, "OutPFSet") == -900
    assert dict(device.read(PF).parameters)["over_excited"] is False
    assert device(VAR, "VV13", reactive_pct=-50).accepted
    assert device.raw(123, "VArMaxPct") == -50
    assert device(CONNECT, "INV1", connected=False, window_s=10).accepted
    assert (device.raw(123, "Conn"), device.raw(123, "Conn_WinTms")) == (0, 10)
    assert dict(device.read(CONNECT).parameters)["connected"] is False
    assert "cannot be switched off" in device(CONNECT, "INV1", enabled=False).detail
    assert device(POWER, "INV4", power_w=-1000.0).accepted
    assert (device.raw(124, "InWRte"), device.raw(124, "OutWRte")) == (2500, -2500)
    assert dict(device.read(POWER).parameters)["power_w"] == -1000
    assert "WChaMax" in device(POWER, "INV4", power_w=9000.0).detail
    assert "no InOutWRte_RmpTms" in device(POWER, "INV4", power_w=1.0, ramp_s=5).detail
