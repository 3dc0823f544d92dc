import pytest

from s4g_gateway.errors import RemoteProtocolError
from s4g_gateway.model import quality as q
from s4g_gateway.profiles.sunspec import DeviceOptions, bind, build_device, load_template
from s4g_gateway.profiles.sunspec.derived import NO_SET_POINT


def report_of(fake, template, options=None, section=0, **limits):
    device = build_device(load_template(template), "d", options)
    decoder = bind(device, fake.chain(), **limits).decoders[section]
    return decoder.decode([fake.read(read) for read in decoder.reads], 9)


def found(report):
    return {
        reference: (value, quality)
        for reference, value, quality in zip(
            report.data_set.references, report.values, report.quality, strict=True
        )
    }


def test_hybrid_inverter_in_canonical_units_and_signs(fake_device, hybrid_models):
    values = found(report_of(fake_device(hybrid_models), "fronius-symo-hybrid"))
    good = {
        "INV1/MMXU1.TotW": 3500.0,
        "INV1/MMXU1.TotVAr": -200.0,
        "INV1/MMXU1.TotPF": 0.997,
        "INV1/MMXU1.Hz": 50.01,
        "INV1/MMXU1.PhV.phsA": 230.4,
        "INV1/MMXU1.A.phsA": 5.12,
        "INV1/MMTR1.SupWh": 123456.0,
        "INV1/SINV1.EnclTmp": 41.5,
        "INV1/DGEN1.DEROpSt": 6,
        "INV1/LPHD1.PhyHealth": 1,
        "PV1/MMDC1.Watt": 5000.0,
        "ESS1/DSTO1.SocEffWhPct": 63.5,
        "ESS1/DSTO1.SocWh": 6096.0,
        "ESS1/DBAT1.ChaSt": True,
        "ESS1/DBAT1.DschSt": False,
        "ESS1/DBAT1.Watt": -1400.0,
        "INV1/DFPF1.PFGnTgtSpt": 0.95,
        "INV1/DFPF1.PFGnExtQud": False,
        "INV1/DWMX1.Mod": 5,
    }
    assert {reference: values[reference] for reference in good} == {
        reference: (value, q.GOOD) for reference, value in good.items()
    }
    # Not implemented by this device.
    assert values["INV1/MMXU1.PhV.phsB"] == (None, q.INVALID)
    assert values["INV1/SINV1.HeatSinkTmp"] == (None, q.INVALID)


def test_settings_come_with_their_own_data_set(fake_device, hybrid_models):
    values = found(report_of(fake_device(hybrid_models), "fronius-symo-hybrid", section=1))
    assert values["INV1/LPHD1.PhyNam.vendor"] == ("Maker", q.GOOD)
    assert values["ESS1/DSTO1.WhRtg"] == (9600.0, q.GOOD)
    assert values["INV1/DGEN1.DERTyp"] == (4, q.GOOD)


def test_the_float_map_gives_the_same_references(fake_device, hybrid_models):
    inverter = {name: value for name, value in hybrid_models.pop(103).items() if not name.endswith("_SF")}
    hybrid_models = {1: hybrid_models[1], 113: inverter, **hybrid_models}
    values = found(report_of(fake_device(hybrid_models), "fronius-symo-hybrid"))
    assert values["INV1/MMXU1.TotW"] == (3500.0, q.GOOD)
    assert values["INV1/MMXU1.TotPF"][0] == pytest.approx(0.997)
    assert values["INV1/MMXU1.PhV.phsB"] == (None, q.INVALID)


@pytest.mark.parametrize(
    ("state", "power", "quality"),
    [(3, 1400.0, 0), (4, -1400.0, 0), (6, 1400.0, q.QUESTIONABLE | q.INCONSISTENT)],
)
def test_the_batterys_direction_comes_from_its_charge_state(
    fake_device, hybrid_models, state, power, quality
):
    hybrid_models[124]["ChaSt"] = state
    values = found(report_of(fake_device(hybrid_models), "fronius-symo-hybrid"))
    assert values["ESS1/DBAT1.Watt"] == (power, quality)


def test_the_set_point_in_force_is_shown(fake_device, hybrid_models):
    assert found(report_of(fake_device(hybrid_models), "fronius-symo-hybrid"))["ESS1/DWGC1.WSpt"] == (
        None,
        NO_SET_POINT,
    )
    hybrid_models[124] |= {"StorCtl_Mod": 3, "OutWRte": -25, "InWRte": 25}
    values = found(report_of(fake_device(hybrid_models), "fronius-symo-hybrid"))
    assert values["ESS1/DWGC1.WSpt"] == (-1000.0, q.GOOD)
    assert values["ESS1/DWGC1.Mod"] == (1, q.GOOD)


def test_gen24_counts_charging_and_discharging_apart(fake_device, hybrid_models):
    hybrid_models[160] |= {"N": 4, "module[3].DCW": 0, "module[4].DCW": 900}
    values = found(report_of(fake_device(hybrid_models, repeats=4), "fronius-gen24"))
    assert values["ESS1/DBAT1.Watt"] == (900.0, q.GOOD)
    assert values["PV1/MMDC1.Watt"] == (6400.0, q.GOOD)
    assert values["PV1/MMDC3.Watt"] == (1400.0, q.GOOD)


def test_models_the_device_lacks_are_bad_references_and_named(fake_device, hybrid_models):
    del hybrid_models[160], hybrid_models[123]
    fake = fake_device(hybrid_models)
    device = build_device(load_template("fronius-symo-hybrid"), "d")
    binding = bind(device, fake.chain())
    assert binding.missing == ("DC input (multiple MPPT)", "Immediate controls of an inverter")
    values = found(report_of(fake, "fronius-symo-hybrid"))
    for reference in ("PV1/MMDC1.Watt", "ESS1/DBAT1.Watt", "INV1/DWMX1.WMaxSptPct", "INV1/DFPF1.PFGnTgtSpt"):
        assert values[reference] == (None, q.INVALID | q.BAD_REFERENCE)
    assert values["INV1/MMXU1.TotW"] == (3500.0, q.GOOD)
    assert binding.controls["INV1/DWMX1.WMaxSptPct"].model is None


def test_a_device_with_nothing_of_its_template_still_reports(fake_device):
    report = report_of(fake_device({1: {"Mn": "M"}}), "generic-meter")
    assert set(report.quality) == {q.INVALID | q.BAD_REFERENCE}


METER = {
    "A_SF": -2, "V_SF": -1, "Hz_SF": -2, "W_SF": 0, "VAR_SF": 0, "PF_SF": -1, "TotWh_SF": 0, "W": 2500,
    "WphA": 1000, "VAR": 300, "PF": 99.3, "TotWhImp": 1000, "TotWhExp": 0, "PhV": 230.1, "Evt": 0,
}  # fmt: skip


@pytest.mark.parametrize(("sign", "power"), [(None, -2500.0), (-1, -2500.0), (1, 2500.0)])
def test_the_sign_of_a_meter_is_an_option(fake_device, sign, power):
    options = None if sign is None else DeviceOptions(meter_sign=sign)
    values = found(report_of(fake_device({1: {}, 203: dict(METER)}), "generic-meter", options))
    assert values["PCC1/MMXU1.TotW"] == (power, q.GOOD)
    assert values["PCC1/MMXU1.TotPF"][0] == pytest.approx(0.993 * (1 if power > 0 else -1))
    assert values["PCC1/MMXU1.AvPhVPhs"] == (230.1, q.GOOD)
    # Energies have no sign, and an accumulator the standard makes mandatory really is 0 when it says 0.
    assert values["PCC1/MMTR1.DmdWh"] == (1000.0, q.GOOD)
    assert values["PCC1/MMTR1.SupWh"] == (0.0, q.GOOD)


def test_float_meters_fit_the_same_template(fake_device):
    meter = {"W": 2500, "PF": 0.5, "PPVphAB": 400.5, "TotWhImp": 5, "TotWhExp": 6, "Evt": 0}
    values = found(report_of(fake_device({1: {}, 213: meter}), "generic-meter"))
    assert values["PCC1/MMXU1.TotW"] == (-2500.0, q.GOOD)
    assert values["PCC1/MMXU1.TotPF"] == (-0.5, q.GOOD)
    assert values["PCC1/MMXU1.PPV.phsAB"] == (400.5, q.GOOD)


DER = {
    701: {"W_SF": 0, "W": -1500, "PF_SF": -3, "PF": -0.999, "TotWh_SF": 0, "TotWhInj": 2**40, "InvSt": 3,
          "Hz_SF": -3, "Hz": 49.987, "V_SF": -1, "LNV": 231.5, "ConnSt": 1},
    702: {"W_SF": 1, "WMaxRtg": 6000, "WChaRteMaxRtg": 5000},
    703: {"ES": 1, "ESDlyTms": 60},
    704: {"WSet_SF": 0, "WSet": -1500, "WSetEna": 1, "WMaxLimPct_SF": -1, "WMaxLimPct": 75, "PF_SF": -3,
          "PFWInj.PF": 0.9, "PFWInj.Ext": 1, "PFWInjEna": 0, "WMaxLimPctEna": 1, "VarSetEna": 0},
    713: {"WH_SF": 1, "WHRtg": 9600, "WHAvail": 4800, "Pct_SF": -1, "SoC": 50.5, "SoH": 97.5, "Sta": 0},
}  # fmt: skip


def test_the_ieee_1547_models(fake_device):
    fake = fake_device({1: {}, **DER})
    values = found(report_of(fake, "generic-der-7xx"))
    expected = {
        "INV1/MMXU1.TotW": -1500.0, "INV1/MMXU1.TotPF": -0.999, "INV1/MMTR1.SupWh": float(2**40),
        "INV1/DGEN1.DEROpSt": 6, "INV1/MMXU1.Hz": 49.987, "INV1/MMXU1.AvPhVPhs": 231.5, "INV1/GGIO1.Ind1": True,
        "ESS1/DWGC1.WSpt": -1500.0, "ESS1/DWGC1.Mod": 1, "INV1/DWMX1.WMaxSptPct": 75.0,
        "INV1/DFPF1.PFGnTgtSpt": 0.9, "INV1/DFPF1.PFGnExtQud": False, "ESS1/DSTO1.SocEffWhPct": 50.5,
        "ESS1/DSTO1.EffWhPct": 97.5, "ESS1/DSTO1.SocWh": 4800.0,
    }  # fmt: skip
    assert {reference: values[reference] for reference in expected} == {
        reference: (value, q.GOOD) for reference, value in expected.items()
    }
    settings = found(report_of(fake, "generic-der-7xx", section=1))
    assert settings["ESS1/DSTO1.ChaWMaxRtg"] == (5000.0, q.GOOD)
    assert settings["INV1/DCTE1.RtnDlTmms"] == (60.0, q.GOOD)


def test_a_battery_bank_and_its_sign(fake_device):
    bank = {
        "W_SF": 0, "W": -800, "A_SF": -1, "A": -3.5, "SoC_SF": -1, "SoC": 44.4, "V_SF": -1, "V": 220.5,
        "CellV_SF": -3, "CellVMax": 3.351, "NCyc": 17, "ChaSt": 4, "State": 3, "Typ": 4, "AlmRst": 0,
    }  # fmt: skip
    fake = fake_device({1: {}, 802: bank})
    values = found(report_of(fake, "battery-802"))
    assert values["ESS1/DBAT1.Watt"] == (-800.0, q.GOOD)
    assert values["ESS1/DSTO1.ChaCycCnt"] == (17, q.GOOD)
    assert values["ESS1/SBAT1.CelVolHi"] == (3.351, q.GOOD)
    assert values["ESS1/DBAT1.BatSt"] == (True, q.GOOD)
    turned = found(report_of(fake, "battery-802", DeviceOptions(battery_sign=-1)))
    assert turned["ESS1/DBAT1.Watt"] == (800.0, q.GOOD)
    assert found(report_of(fake, "battery-802", section=1))["ESS1/DBAT1.BatTyp"] == (4, q.GOOD)


def test_reads_are_few_and_short_and_models_stay_whole(fake_device, hybrid_models):
    fake = fake_device(hybrid_models)
    device = build_device(load_template("fronius-symo-hybrid"), "d")
    reads = bind(device, fake.chain()).decoders[0].reads
    assert len(reads) == 3
    for limits in ({"max_registers": 60}, {"max_registers": 20, "gap_limit": 4}, {"gap_limit": 0}):
        decoder = bind(device, fake.chain(), **limits).decoders[0]
        assert all(read.count <= limits.get("max_registers", 125) for read in decoder.reads)
        report = decoder.decode([fake.read(read) for read in decoder.reads], 9)
        assert found(report) == found(report_of(fake, "fronius-symo-hybrid"))


@pytest.mark.parametrize("model_id", [701, 213])
def test_models_longer_than_a_read(fake_device, model_id):
    template = {701: "generic-der-7xx", 213: "generic-meter"}[model_id]
    fake = fake_device({1: {}, model_id: {}})
    decoder = bind(build_device(load_template(template), "d"), fake.chain()).decoders[0]
    assert all(read.count <= 125 for read in decoder.reads)
    assert None not in [fake.read(read) for read in decoder.reads]


def test_a_map_that_moved_since_is_noticed(fake_device, hybrid_models):
    fake = fake_device(hybrid_models)
    decoder = bind(build_device(load_template("fronius-symo-hybrid"), "d"), fake.chain()).decoders[0]
    fake.write(fake.address[103], (113).to_bytes(2, "big"))
    with pytest.raises(RemoteProtocolError, match="moved"):
        decoder.decode([fake.read(read) for read in decoder.reads], 9)


def test_a_model_that_stops_short_keeps_what_it_has(fake_device, hybrid_models):
    values = found(report_of(fake_device(hybrid_models, lengths={103: 12}), "fronius-symo-hybrid"))
    assert values["INV1/MMXU1.PhV.phsA"] == (230.4, q.GOOD)
    assert values["INV1/MMXU1.TotW"] == (None, q.INVALID | q.BAD_REFERENCE)
    # W itself fits in this one, but not its scale factor.
    hybrid_models[103]["W"] = None
    values = found(report_of(fake_device(hybrid_models, lengths={103: 13}), "fronius-symo-hybrid"))
    assert values["INV1/MMXU1.TotW"] == (None, q.INVALID | q.BAD_REFERENCE)


@pytest.mark.parametrize(("state", "health"), [(2, 1), (5, 1), (7, 3)])
def test_health_of_an_inverter(fake_device, hybrid_models, state, health):
    hybrid_models[103]["St"] = state
    values = found(report_of(fake_device(hybrid_models), "fronius-symo-hybrid"))
    assert values["INV1/LPHD1.PhyHealth"] == (health, q.GOOD)


@pytest.mark.parametrize(("events", "health"), [(0, 1), (8, 2)])
def test_health_of_a_meter(fake_device, events, health):
    values = found(report_of(fake_device({1: {}, 203: {"Evt": events}}), "generic-meter"))
    assert values["PCC1/LPHD1.PhyHealth"] == (health, q.GOOD)


def test_states_the_table_does_not_know_are_out_of_range(fake_device, hybrid_models):
    hybrid_models[103]["St"] = 42
    values = found(report_of(fake_device(hybrid_models), "fronius-symo-hybrid"))
    assert values["INV1/DGEN1.DEROpSt"] == (None, q.INVALID | q.OUT_OF_RANGE)
    assert values["INV1/GGIO1.IntIn1"] == (42, q.GOOD)


def test_an_input_that_is_absent_leaves_no_derived_value(fake_device, hybrid_models):
    hybrid_models[160]["module[2].DCW"] = None
    hybrid_models[124]["ChaSt"] = None
    values = found(report_of(fake_device(hybrid_models), "fronius-symo-hybrid"))
    assert values["ESS1/DBAT1.Watt"] == (None, q.INVALID)
    assert values["ESS1/DBAT1.ChaSt"] == (None, q.INVALID)


def test_constants_of_quality_are_those_of_the_quality_table():
    from s4g_gateway.model.quality_map import SunSpecState, from_sunspec
    from s4g_gateway.profiles.modbus.columns import BAD_SCALE, NOT_IMPLEMENTED

    assert from_sunspec(SunSpecState.NOT_IMPLEMENTED) == NOT_IMPLEMENTED
    assert from_sunspec(SunSpecState.SCALE_FACTOR_INVALID) == BAD_SCALE


def test_devices_of_one_kind_share_the_compiled_decoder_but_not_its_state(fake_device, hybrid_models):
    fake = fake_device(hybrid_models)
    template = load_template("fronius-symo-hybrid")
    one, two = (
        bind(build_device(template, name, DeviceOptions(logical_devices={"inverter": ld})), fake.chain())
        for name, ld in (("a", "INV1"), ("b", "INV2"))
    )
    first, second = one.decoders[0], two.decoders[0]
    assert first.reads is second.reads
    blocks = [fake.read(read) for read in first.reads]
    report = first.decode(blocks, 1)
    fake.write(fake.place(103, "W"), b"\0\5")
    other = second.decode([fake.read(read) for read in second.reads], 2)
    assert other.data_set.references[0] == "INV2/MMXU1.TotW"
    assert (report.values[0], other.values[0]) == (3500.0, 5.0)
    assert first.decode(blocks, 1) == report
