import pytest

from s4g_gateway.model import ControlModel, ControlPoint, Member, ObjectReference, ValueType
from s4g_gateway.profiles.iec61850 import PlanSettings, plan_model


def member(reference, **more):
    return Member(reference=ObjectReference(reference), **more)


MEMBERS = (
    member("ESS1/DSTO1.EffWh", unit="Wh", description="energy"),
    member("ESS1/DSTO1.SocEffWhPct", unit="%"),
    member("ESS1/DSTO1.DEROpSt", value_type=ValueType.ENUMERATED, cdc="ENS"),
    member("ESS1/DBAT1.BatSt", value_type=ValueType.BOOLEAN, cdc="SPS"),
    member("ESS1/DSTO1.ChaWMaxRtg", unit="W", cdc="ASG"),
    member("ESS1/LPHD1.PhyNam.serNum", value_type=ValueType.TEXT, cdc="DPL"),
    member("PCC1/MMXU1.TotW", unit="W"),
    member("PCC1/MMXU1.PhV.phsA", unit="V", cdc="CMV"),
    member("PCC1/MMXU1.PhV.phsB", unit="V", cdc="CMV"),
    member("PCC1/MMTR1.DmdWh", unit="Wh", cdc="BCR"),
)
CONTROLS = tuple(
    ControlPoint(
        reference=ObjectReference(f"ESS1/DWGC{model}.WSpt"),
        unit="W",
        minimum=-5000,
        maximum=5000,
        model=ControlModel(model),
        description="power",
    )
    for model in (1, 2, 3, 4)
)


@pytest.fixture
def site():
    return MEMBERS, CONTROLS


@pytest.fixture
def plan(site):
    result = plan_model(*site, PlanSettings(ied_name="BENCH"))
    assert result.problems == ()
    return result.plan
