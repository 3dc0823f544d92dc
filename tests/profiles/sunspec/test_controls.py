import pytest

from s4g_gateway.model import AddCause
from s4g_gateway.profiles.modbus import Answer, Read
from s4g_gateway.profiles.sunspec import (
    ControlMemory,
    DeviceOptions,
    bind,
    build_device,
    load_template,
    operate,
)

WSPT, LIMIT, PF, EXCITATION = (
    "ESS1/DWGC1.WSpt",
    "INV1/DWMX1.WMaxSptPct",
    "INV1/DFPF1.PFGnTgtSpt",
    "INV1/DFPF1.PFGnExtQud",
)
VAR, CONNECT = "INV1/DVAR1.VArTgtSptPct", "INV1/DGEN1.DEROpStCtl"


class Driver:
    def __init__(self, fake, template="fronius-symo-hybrid", options=None, **limits):
        self.fake = fake
        self.binding = bind(build_device(load_template(template), "d", options), fake.chain(), **limits)
        self.memory = ControlMemory()

    def __call__(self, reference, value, remaining_s=None):
        exchange = operate(self.binding, reference, value, memory=self.memory, remaining_s=remaining_s)
        self.fake.writes.clear()
        try:
            step = next(exchange)
            while True:
                step = exchange.send(self.answer(step))
        except StopIteration as end:
            return end.value

    def answer(self, step):
        if isinstance(step, Read):
            data = self.fake.read(step)
            return Answer(exception=2) if data is None else Answer(data)
        refusal = self.fake.refuse.get(step.address)
        if refusal:
            return Answer(exception=refusal)
        if refusal is None:
            self.fake.write(step.address, step.data)
        return Answer()

    def raw(self, model_id, path):
        return self.fake.raw(model_id, path)


@pytest.fixture
def hybrid(fake_device, hybrid_models):
    return Driver(fake_device(hybrid_models))


@pytest.mark.parametrize(("power", "rate"), [(1000.0, 2500), (-1000.0, -2500), (0.0, 0), (4000, 10000)])
def test_the_storage_window_closes_on_the_set_point(hybrid, power, rate):
    assert hybrid(WSPT, power).accepted
    assert (hybrid.raw(124, "OutWRte"), hybrid.raw(124, "InWRte")) == (rate, -rate)
    assert hybrid.raw(124, "StorCtl_Mod") == 3


def test_both_rates_go_out_before_the_limits_are_switched_on(hybrid):
    hybrid(WSPT, -1000.0)
    place = hybrid.fake.place
    assert hybrid.fake.writes == [
        (place(124, "OutWRte"), (-2500).to_bytes(2, "big", signed=True) + (2500).to_bytes(2, "big")),
        (place(124, "StorCtl_Mod"), b"\0\3"),
    ]


def test_release_gives_the_battery_back(hybrid):
    hybrid(WSPT, -1000.0)
    assert hybrid(WSPT, None).accepted
    assert hybrid.raw(124, "StorCtl_Mod") == 0
    assert (hybrid.raw(124, "OutWRte"), hybrid.raw(124, "InWRte")) == (10000, 10000)


@pytest.mark.parametrize("power", [4000.1, -9000.0])
def test_set_points_beyond_wchamax_are_refused_without_a_write(hybrid, power):
    answer = hybrid(WSPT, power)
    assert answer.add_cause is AddCause.INCONSISTENT_PARAMETERS
    assert "WChaMax" in answer.detail
    assert hybrid.fake.writes == []


def test_no_wchamax_no_set_point(fake_device, hybrid_models):
    hybrid_models[124]["WChaMax"] = 0
    assert Driver(fake_device(hybrid_models))(WSPT, 5.0).add_cause is AddCause.BLOCKED_BY_PROCESS


def test_grid_charging_is_switched_only_when_allowed_and_put_back(fake_device, hybrid_models):
    plain = Driver(fake_device(hybrid_models))
    plain(WSPT, -1000.0)
    assert plain.raw(124, "ChaGriSet") == 0
    driver = Driver(fake_device(hybrid_models), options=DeviceOptions(grid_charging=True))
    driver(WSPT, 1000.0)
    assert driver.raw(124, "ChaGriSet") == 0
    driver(WSPT, -1000.0)
    assert driver.raw(124, "ChaGriSet") == 1
    driver(WSPT, -500.0)
    driver(WSPT, None)
    assert driver.raw(124, "ChaGriSet") == 0


def test_an_active_limit_with_the_devices_own_timer(hybrid):
    assert hybrid(LIMIT, 62.5, 900.0).accepted
    assert hybrid.raw(123, "WMaxLimPct") == 6250
    assert hybrid.raw(123, "WMaxLim_Ena") == 1
    assert hybrid.raw(123, "WMaxLimPct_RvrtTms") == 900
    assert hybrid.fake.writes[-1][0] == hybrid.fake.place(123, "WMaxLim_Ena")
    assert hybrid(LIMIT, None).accepted
    assert hybrid.raw(123, "WMaxLim_Ena") == 0


def test_a_timer_the_device_does_not_have_is_left_alone(hybrid):
    assert hybrid(VAR, -30.0, 900.0).accepted
    assert hybrid.raw(123, "VArMaxPct") == -30
    assert hybrid.raw(123, "VArPct_Mod") == 2
    assert hybrid.raw(123, "VArPct_Ena") == 1
    assert hybrid.raw(123, "VArPct_RvrtTms") == -1


def test_power_factor_takes_its_sign_from_the_excitation(hybrid):
    assert hybrid(PF, 0.9).accepted
    assert hybrid.raw(123, "OutPFSet") == 900
    assert hybrid(EXCITATION, False).accepted
    assert hybrid.raw(123, "OutPFSet") == -900
    assert hybrid(PF, 0.85).accepted
    assert hybrid.raw(123, "OutPFSet") == -850
    assert hybrid(EXCITATION, True).accepted
    assert hybrid.raw(123, "OutPFSet") == 850


def test_excitation_of_a_power_factor_not_in_force_is_only_noted(hybrid):
    assert hybrid(EXCITATION, False).accepted
    assert hybrid.fake.writes == []
    hybrid(PF, 0.9)
    assert hybrid.raw(123, "OutPFSet") == -900


def test_connect_and_disconnect(hybrid):
    assert hybrid(CONNECT, 3).accepted
    assert hybrid.raw(123, "Conn") == 0
    assert hybrid(CONNECT, 2).accepted
    assert hybrid.raw(123, "Conn") == 1
    assert hybrid(CONNECT, 9).add_cause is AddCause.NOT_SUPPORTED
    assert hybrid(CONNECT, None).add_cause is AddCause.NOT_SUPPORTED


@pytest.mark.parametrize(
    ("exception", "cause"),
    [
        (1, AddCause.NOT_SUPPORTED),
        (2, AddCause.NOT_SUPPORTED),
        (3, AddCause.INCONSISTENT_PARAMETERS),
        (4, AddCause.BLOCKED_BY_HEALTH),
        (6, AddCause.BLOCKED_BY_PROCESS),
        (11, AddCause.ABORTION_BY_COMMUNICATION_LOSS),
        (99, AddCause.UNKNOWN),
    ],
)
def test_a_refused_write_is_a_negative_answer(hybrid, exception, cause):
    hybrid.fake.refuse[hybrid.fake.place(124, "StorCtl_Mod")] = exception
    answer = hybrid(WSPT, 100.0)
    assert (answer.accepted, answer.add_cause) == (False, cause)
    assert f"exception {exception}" in answer.detail


def test_a_write_the_device_swallows_is_found_by_reading_back(hybrid):
    hybrid.fake.refuse[hybrid.fake.place(123, "WMaxLim_Ena")] = 0
    answer = hybrid(LIMIT, 50.0)
    assert answer.add_cause is AddCause.ABORTION_DUE_TO_DEVIATION
    assert "WMaxLim_Ena is 0, written 1" in answer.detail


def test_a_missing_model_refuses(fake_device, hybrid_models):
    del hybrid_models[124]
    answer = Driver(fake_device(hybrid_models))(WSPT, 1.0)
    assert answer.add_cause is AddCause.NOT_SUPPORTED
    assert "lacks the model" in answer.detail


@pytest.mark.parametrize("value", ["high", True])
def test_what_is_no_number_is_refused(hybrid, value):
    assert hybrid(WSPT, value).add_cause is AddCause.INCONSISTENT_PARAMETERS


def test_unknown_references_are_refused(hybrid):
    assert hybrid("ESS1/DWGC9.WSpt", 1.0).add_cause is AddCause.NOT_SUPPORTED


def test_devices_that_allow_short_reads_only(fake_device, hybrid_models):
    driver = Driver(fake_device(hybrid_models), max_registers=16)
    driver.fake.reads.clear()
    assert driver(WSPT, 400.0).accepted
    assert max(read.count for read in driver.fake.reads) <= 16


DER = {
    701: {},
    703: {"ES": 1},
    704: {"WSet_SF": 0, "WSet": 0, "WSetEna": 0, "WSetMod": 0, "WSetRvrtTms": 0, "WMaxLimPct_SF": -1,
          "WMaxLimPct": 100, "WMaxLimPctEna": 0, "WMaxLimPctRvrtTms": 0, "PF_SF": -3, "PFWInj.PF": 1,
          "PFWInj.Ext": 0, "PFWInjEna": 0, "VarSetPct_SF": -1, "VarSetPct": 0, "VarSetEna": 0, "VarSetMod": 0},
}  # fmt: skip


@pytest.fixture
def der(fake_device):
    return Driver(fake_device({1: {}, **DER}), "generic-der-7xx")


def values(driver):
    layout, data = driver.fake.layout[704], driver.fake.data
    start = 2 * (driver.fake.address[704] - driver.fake.base)
    from s4g_gateway.profiles.sunspec import decode_model

    return decode_model(layout, bytes(data[start : start + 2 * layout.registers]))


def test_model_704_sets_power_in_watts_with_its_timer(der):
    assert der(WSPT, -1500.0, 600.0).accepted
    found = values(der)
    assert (found["WSet"], found["WSetMod"], found["WSetEna"], found["WSetRvrtTms"]) == (-1500, 1, 1, 600)
    assert der(WSPT, None).accepted
    assert values(der)["WSetEna"] == 0


def test_model_704_limit_vars_and_power_factor(der):
    assert der(LIMIT, 40.0).accepted
    assert der(VAR, -25.5).accepted
    assert der(EXCITATION, False).accepted
    assert der(PF, 0.95).accepted
    found = values(der)
    assert (found["WMaxLimPct"], found["WMaxLimPctEna"]) == (400, 1)
    assert (found["VarSetPct"], found["VarSetMod"], found["VarSetEna"]) == (-255, 1, 1)
    assert (found["PFWInj.PF"], found["PFWInj.Ext"], found["PFWInjEna"]) == (950, 1, 1)
    assert der(EXCITATION, True).accepted
    assert values(der)["PFWInj.Ext"] == 0


def test_model_703_connects(der):
    assert der(CONNECT, 3).accepted
    assert der.raw(703, "ES") == 0


def test_a_model_that_cannot_be_read_refuses(hybrid):
    del hybrid.fake.data[-40:]
    assert hybrid(WSPT, 1.0).add_cause is AddCause.NOT_SUPPORTED


def test_a_power_factor_the_device_does_not_tell_cannot_be_turned(fake_device, hybrid_models):
    hybrid_models[123] |= {"OutPFSet": None, "OutPFSet_Ena": 1}
    assert Driver(fake_device(hybrid_models))(EXCITATION, False).add_cause is AddCause.BLOCKED_BY_PROCESS


def test_a_register_beyond_a_short_model_refuses(fake_device, hybrid_models):
    hybrid_models[123] |= dict.fromkeys(("WMaxLimPct", "OutPFSet", "VArMaxPct"))
    driver = Driver(fake_device(hybrid_models, lengths={123: 20}))
    answer = driver(VAR, 10.0)
    assert answer.add_cause is AddCause.NOT_SUPPORTED
    assert driver.fake.writes == []
