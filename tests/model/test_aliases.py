import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4g_gateway.errors import ModelError
from s4g_gateway.model import aliases as al
from s4g_gateway.model.aliases import Direction

ER = "/ER/SMX/EnergyRouterInverter/"


# D4.10 tables 5 to 12, with the signs of standards.md section 10.3
@pytest.mark.parametrize(
    ("dialect", "name", "canonical", "raw", "value"),
    [
        ("s4g-er-3ph", ER + "ZBAT1.VolChgRte.instMag.f", "DSTO1.SocEffWhPct", 55.0, 55.0),
        (
            "s4g-er-3ph",
            "/PROFESS/SMX/EnergyRouterInverter/ZBTC1.BatChaPwr.setMag.f",
            "DWGC1.WSpt",
            -100,
            -100,
        ),
        ("s4g-er-3ph", ER + "ZBTC1.BatChaPwr.setMag.f", "DBAT1.Watt", 100, 100),
        ("s4g-er-3ph", "MMXU1.W.phsB.instCVal.mag.f", "MMXU1.W.phsB", 5, 5),
        ("s4g-er-3ph", "DRCC1.DERStr.ctlNum", "GGIO1.ISCSO1", 5, 5),
        ("s4g-er-1ph", "MXN1.Watt.instMag.f", "MMXN1.Watt", 7.0, 7.0),
        ("s4g-er-1ph", "ZBAT1.Vol.instMag.f", "DBAT1.Watt", 7.0, 7.0),
        ("s4g-fronius", "/Fronius/SMX/W_Grid", "MMXU1.TotW", 1500.0, -1500.0),
        ("s4g-fronius", "/PROFESS/Fronius/WMaxLimPct", "DWMX1.WMaxSptPct", 60, 60),
        ("s4g-fronius", "/PROFESS/Fronius/WMaxLim_Ena", "DWMX1.Mod", 0, 5),
        ("s4g-fronius", "/PROFESS/Fronius/Conn", "DGEN1.AuthConn", 1, True),
        ("s4g-saas", "ESS_Control", "DWGC1.WSpt", 0.5, -500.0),
        ("s4g-lessag", "P_PV", "MMXU1.TotW", -2000.0, 2000.0),
        ("s4g-profess", "P_Grid_Output", "MMXU1.TotW", 300.0, -300.0),
        ("s4g-smx-meter", "Ap", "MMTR1.DmdWh", 2, 2000.0),
        ("s4g-ev", "/EV/Range", "GGIO1.Ind1", 0, True),
        ("s4g-ev", "/EV/Control", "DESE1.ChaPwrTgt", 2000.0, 2000.0),
        ("an2018", "DSTO.SocPct", "DSTO1.SocEffWhPct", 12.5, 12.5),
    ],
)
def test_old_names_mean_canonical_points(dialect, name, canonical, raw, value):
    alias = al.resolve_alias(dialect, name)
    assert alias.canonical == canonical
    assert alias.to_canonical(raw) == value
    assert alias.from_canonical(value) == raw


def test_a_bare_name_that_serves_both_ways_needs_its_direction_or_topic():
    name = "ZBTC1.BatChaPwr.setMag.f"
    with pytest.raises(ModelError, match="ambiguous; expected one of /PROFESS/SMX"):
        al.resolve_alias("s4g-er-3ph", name)
    assert al.resolve_alias("s4g-er-3ph", name, Direction.SET_POINT).canonical == "DWGC1.WSpt"
    assert al.resolve_alias("s4g-er-3ph", name, Direction.VALUE).canonical == "DBAT1.Watt"


@pytest.mark.parametrize(
    ("dialect", "name", "problem"),
    [
        ("s4g-er-9ph", "x", "unknown dialect 's4g-er-9ph'; expected one of an2018"),
        ("s4g-fronius", "W_Grit", "did you mean .*W_Grid"),
        ("s4g-fronius", "0000000", "is no name of s4g-fronius$"),
    ],
)
def test_unknown_names_are_refused(dialect, name, problem):
    with pytest.raises(ModelError, match=problem):
        al.resolve_alias(dialect, name)


def test_the_way_back():
    found = al.aliases_of("s4g-fronius", "DWMX1.WMaxSptPct", Direction.SET_POINT)
    assert [alias.wire_name for alias in found] == ["/PROFESS/Fronius/WMaxLimPct"]
    assert len(al.aliases_of("s4g-fronius", "DWMX1.WMaxSptPct")) == 2
    assert al.aliases_of("s4g-fronius", "DRGS1.ReqA") == ()
    assert al.resolve_alias("s4g-ev", "Data").reference("EV1") == "EV1/DEEV1.Soc"


def test_every_alias_is_found_by_its_wire_name_and_by_its_canonical_name():
    for alias in al.load_aliases():
        assert al.resolve_alias(alias.dialect, alias.wire_name, alias.direction) is alias
        assert alias in al.aliases_of(alias.dialect, alias.canonical, alias.direction)


@pytest.mark.parametrize("alias", al.load_aliases(), ids=lambda alias: f"{alias.dialect}{alias.wire_name}")
@given(data=st.data())
def test_conversion_round_trips(alias, data):
    if alias.values:
        raw = data.draw(st.sampled_from(list(alias.values)))
        assert alias.from_canonical(alias.to_canonical(raw)) == raw
    else:
        raw = data.draw(st.floats(-1e9, 1e9))
        assert alias.from_canonical(alias.to_canonical(raw)) == pytest.approx(raw, rel=1e-12)
    assert alias.to_canonical(None) is None
    assert alias.from_canonical(None) is None


@pytest.mark.parametrize(("name", "value"), [("WMaxLim_Ena", 2), ("WMax", "much"), ("WMaxLim_Ena", 0.5)])
def test_values_outside_the_dialect_are_refused(name, value):
    alias = al.resolve_alias("s4g-fronius", name, Direction.SET_POINT)
    with pytest.raises(ModelError, match="expected"):
        alias.to_canonical(value)
    with pytest.raises(ModelError, match="expected"):
        alias.from_canonical("much" if name == "WMax" else 3)


def test_renamed_classes():
    assert al.renamed_class("ZBAT").new == ("DBAT", "DSTO", "SBAT")
    assert al.renamed_class("DSCH").new == ("FSCH",)
    with pytest.raises(ModelError, match="no renamed LN class; known are ZBAT"):
        al.renamed_class("DSTO")


HEAD = "dialect,prefix,name,role,canonical,sign,factor,unit,values,direction,certainty,source,note\n"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("d,,n,ESS,DSTO1.SocPct,1,1,%,,value,solid,s,", "line 2: .*did you mean SocEffWhPct|no known data"),
        ("d,,n,ESS,DSTO1.SocWh,1,1,kWh,,value,solid,s,", "line 2: unknown unit 'kWh'"),
        ("d,,n,ESS,DSTO1.SocWh,2,1,Wh,,value,solid,s,", "line 2: sign is '2'"),
        ("d,,n,ESS,DSTO1.SocWh,1,0,Wh,,value,solid,s,", "line 2: factor is 0.0"),
        ("d,,n,ESS,DSTO1.SocWh,1,ten,Wh,,value,solid,s,", "line 2: factor is 'ten'"),
        ("d,,n,ESS,DSTO1.SocWh,1,1,Wh,,sideways,solid,s,", "line 2: direction is 'sideways'"),
        ("d,,n,ESS,DWMX1.Mod,1,1,,0:off,value,solid,s,", "line 2: values holds '0:off'"),
        ("d,,n,ESS,DWMX1.Mod,1,1,,0:1 1:1,value,solid,s,", "line 2: values maps two codes"),
    ],
)
def test_a_broken_table_names_its_line(line, problem):
    with pytest.raises(ModelError, match=problem):
        al.parse_aliases(HEAD + line)


def test_a_name_twice_is_refused():
    line = "d,,n,ESS,DSTO1.SocWh,1,1,Wh,,value,solid,s,\n"
    with pytest.raises(ModelError, match="line 3: d n stands twice"):
        al.parse_aliases(HEAD + line + line)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("e,DSTO,DBAT,solid,s,", "line 2: DSTO stands twice or is a class"),
        ("e,ZZZZ,QQQQ,solid,s,", "line 2: ZZZZ is replaced by QQQQ"),
    ],
)
def test_a_broken_class_table_names_its_line(line, problem):
    with pytest.raises(ModelError, match=problem):
        al.parse_renamed_classes("edition,old,new,certainty,source,note\n" + line)
