import hashlib
import tomllib
from importlib.resources import files

import pytest

from s4g_gateway.errors import ModelError
from s4g_gateway.model import ValueType
from s4g_gateway.model import logical_nodes as ln
from s4g_gateway.model.tables import table_text

WANTED = """
LLN0 LPHD MMXU MMXN MMTR MMDC DSTO DBAT SBAT DGEN DPVC DPVA DINV SINV DECP DPCC DLOD DMDR DPMC DWMX DWMN DWGC
DAGC DWFL DVAR DFPF DVVR DVWC DWVR DHFW DLFW DHVT DLVT DHFT DLFT DRGS DCTE FSCH FSCC XCBR CSWI GGIO
DEEV DESE DEOL
"""


def test_the_classes_are_exactly_those_the_gateway_needs():
    assert sorted(ln.load_logical_nodes()) == sorted(WANTED.split())


@pytest.mark.parametrize(("ln_class", "count"), [("DSTO", 181), ("DBAT", 71), ("SBAT", 76), ("DGEN", 156)])
def test_inherited_data_objects_are_complete(ln_class, count):
    assert len(ln.logical_node(ln_class).data_objects) == count


@pytest.mark.parametrize(
    ("ln_class", "namespace", "certainty"),
    [
        ("DSTO", "IEC 61850-7-420:2019A", "solid"),
        ("MMXU", "IEC 61850-7-4:2007B", "solid"),
        ("DEEV", "TR 61850-90-8", "medium"),
        ("DESE", "TR 61850-90-8", "medium"),
        ("DEOL", "TR 61850-90-8", "medium"),
    ],
)
def test_namespace_and_certainty(ln_class, namespace, certainty):
    node = ln.logical_node(ln_class)
    assert (node.namespace, node.certainty) == (namespace, certainty)


# standards.md section 1.2 to 1.9, facts read in the IEC NSD code component
@pytest.mark.parametrize(
    ("reference", "cdc", "enum", "presence"),
    [
        ("E/DSTO1.ChaWMax", "ASG", "", "M"),
        ("E/DSTO1.DEROpSt", "ENS", "DERStateKind", "M"),
        ("E/DSTO1.SocEffWhPct", "MV", "", "O"),
        ("E/DBAT1.BatTyp", "ENG", "BatteryTypeKind", "M"),
        ("E/DWMX1.InEcpRef", "ORG", "", "M"),
        ("E/DWGC1.ReqW", "MV", "", "M"),
        ("E/DVAR1.VArTgtSpt", "APC", "", "AllOnlyOneGroup"),
        ("E/DPCC1.AreaEpsEcpId", "VSG", "", "M"),
        ("E/DCTE1.CeaEgzReqCtl", "ENC", "CeasetoEnergizeStateTransitionKind", "M"),
        ("E/LPHD1.Proxy", "SPS", "", "M"),
        ("E/FSCH1.SchdIntv", "ING", "", "M"),
    ],
)
def test_data_objects_of_the_standard(reference, cdc, enum, presence):
    found = ln.check_against_table(reference)
    assert (found.cdc, found.enum, found.presence) == (cdc, enum, presence)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("SCH1/FSCH1.StrTm1", "StrTm"),
        ("SCH1/FSCH1.ValASG96", "ValASG"),
        ("BAT/SBAT1.IntnTmp2", "IntnTmp"),
        ("ANY/GGIO1.AnIn12", "AnIn"),
        ("PCC1/MMXU1.PhV", "PhV"),
        ("PCC1/MMXU1.PhV.phsA", "PhV"),
        ("PCC1/MMXU1.PPV.phsCA", "PPV"),
        ("LD0/LLN0.NamPlt.vendor", "NamPlt"),
        ("LD_Plant/Wlim_DWMX1.WMaxSptPct", "WMaxSptPct"),
    ],
)
def test_instance_numbers_and_sub_names_are_found(reference, name):
    assert ln.check_against_table(reference).name == name


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("E/DSTO1.SocEffWhPtc", "did you mean SocEffWhPct"),
        ("E/DSTX1.SocEffWhPct", "did you mean DSTO"),
        ("E/ZBAT1.Vol", "no known LN class"),
        ("E/DSTO1.SocEffWhPct1", "did you mean SocEffWhPct"),
        ("E/MMXU1.PhV.phsD", "did you mean phs"),
        ("E/MMXU1.PPV.phsA", "did you mean .*phsAB"),
        ("E/MMXU1.TotW.mag", "no known member of MMXU.TotW"),
        ("E/MMXU1.PhV.phsA.cVal", "no known member of MMXU.PhV"),
        ("E/MMXU1.Xyz", "no known data object of MMXU"),
        ("nonsense", "no ObjectReference"),
    ],
)
def test_unknown_names_are_refused_with_what_comes_close(reference, hint):
    with pytest.raises(ModelError, match=hint):
        ln.check_against_table(reference)


@pytest.mark.parametrize(
    ("reference", "cdc", "value_type"),
    [
        ("P/MMXU1.TotW", "MV", ValueType.FLOAT),
        ("P/MMXU1.PhV.phsA", "CMV", ValueType.FLOAT),
        ("P/MMTR1.SupWh", "BCR", ValueType.FLOAT),
        ("P/LPHD1.PhyNam.serNum", "DPL", ValueType.TEXT),
        ("P/DSTO1.SocLoAlm", "SPS", ValueType.BOOLEAN),
        ("P/DSTO1.DEROpSt", "ENS", ValueType.ENUMERATED),
        ("P/DSTO1.ChaCycCnt", "INS", ValueType.INTEGER),
        ("P/DWGC1.WSpt", "APC", ValueType.FLOAT),
    ],
)
def test_type_of_a_point(reference, cdc, value_type):
    assert (ln.leaf_cdc(reference), ln.point_type(reference)) == (cdc, value_type)


def test_a_structure_has_no_single_value():
    with pytest.raises(ModelError, match="WYE has no single value; expected one of its members phsA"):
        ln.point_type("P/MMXU1.PhV")


def test_only_controls_are_controllable():
    controllable = {cdc for cdc in ln.load_common_data_classes() if ln.is_controllable(cdc)}
    assert controllable == {"SPC", "DPC", "INC", "ENC", "APC"}
    with pytest.raises(ModelError, match="did you mean APC"):
        ln.is_controllable("APQ")


HEAD = "namespace,ln_class,certainty,inherited_from,data_object,cdc,enum,presence,presence_args\n"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("N,AAAA,solid,,Beh,QQQ,,M,", "line 3: unknown CDC 'QQQ' of AAAA.Beh"),
        ("N,AAAA,solid,,Beh,SPS,,Perhaps,", "line 3: unknown presence code 'Perhaps'"),
        ("N,AAAA,solid,,Twice,MV,,M,", "line 3: AAAA.Twice stands twice"),
        ("N,AAAA,sure,,Beh,SPS,,M,", "line 3: certainty is 'sure', expected one of solid, medium, weak"),
        ("Other,AAAA,solid,,Beh,SPS,,M,", "line 3: AAAA is .*Other.* here"),
        ("N,AAAA", "line 3: 2 cells, expected 9"),
    ],
)
def test_a_broken_table_names_its_line(line, problem):
    text = HEAD + "N,AAAA,solid,,Twice,MV,,M,\n" + line
    with pytest.raises(ModelError, match=problem):
        ln.parse_logical_nodes(text, ln.load_common_data_classes())


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("MV,measured,MX,float,,,\nMV,measured,MX,float,,,", "line 3: CDC MV stands twice"),
        ("MV,odd,MX,float,,,", "line 2: kind is 'odd'"),
        ("WYE,measured,MX,,phsA,CMV,", "line 2: sub_names and sub_value_type"),
    ],
)
def test_a_broken_cdc_table_names_its_line(lines, problem):
    with pytest.raises(ModelError, match=problem):
        ln.parse_common_data_classes(table_text("cdc.csv").splitlines()[0] + "\n" + lines)


def test_a_wrong_heading_is_refused():
    with pytest.raises(ModelError, match="line 1: heading"):
        ln.parse_common_data_classes("a,b\n")


def test_every_data_file_has_a_recorded_source_and_its_hash():
    folder = files("s4g_gateway.model") / "data"
    recorded = tomllib.loads((folder / "SOURCE.toml").read_text(encoding="utf-8"))["table"]
    present = {entry.name for entry in folder.iterdir()} - {"SOURCE.toml"}
    assert {table["file"] for table in recorded} == present
    for table in recorded:
        assert table["origin"]
        assert table["licence"]
        assert hashlib.sha256((folder / table["file"]).read_bytes()).hexdigest() == table["sha256"], table[
            "file"
        ]
