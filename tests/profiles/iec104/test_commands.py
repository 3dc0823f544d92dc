"""Numbers of commands to ctlVal."""

import math

import pytest

from s4g_gateway.codecs.iec104 import TypeId
from s4g_gateway.errors import DecodeError
from s4g_gateway.model import ObjectReference, ValueType
from s4g_gateway.profiles.iec104 import CommandSignal, Scaling, command_value

BOOL, ENUM, INT, FLOAT = ValueType.BOOLEAN, ValueType.ENUMERATED, ValueType.INTEGER, ValueType.FLOAT
KW = Scaling(factor=-1000.0, offset=5.0)


@pytest.mark.parametrize(
    ("type_name", "value_type", "scaling", "raw", "value"),
    [
        ("C_SC_NA_1", BOOL, Scaling(), 1, True),
        ("C_SC_NA_1", ENUM, Scaling(), 1, 1),
        ("C_DC_NA_1", BOOL, Scaling(), 1, False),
        ("C_DC_NA_1", BOOL, Scaling(), 2, True),
        ("C_DC_NA_1", ENUM, Scaling(), 2, 2),
        ("C_RC_NA_1", INT, Scaling(), 1, 1),
        ("C_SE_NA_1", FLOAT, Scaling(factor=5000.0), -16384, -2500.0),
        ("C_SE_NB_1", FLOAT, KW, 3, -2995.0),
        ("C_SE_NB_1", INT, Scaling(), 7, 7),
        ("C_SE_NC_1", FLOAT, KW, 1.5, -1495.0),
        ("C_SE_NC_1", FLOAT, Scaling(), 2, 2.0),
        ("C_SE_NC_1", INT, Scaling(), 6.6, 7),
        ("C_SE_NB_1", BOOL, Scaling(), 1, True),
        ("C_BO_NA_1", INT, Scaling(), 0xFFFFFFFF, 0xFFFFFFFF),
    ],
)
def test_value_and_its_kind(type_name, value_type, scaling, raw, value):
    found = command_value(signal(type_name, value_type, scaling), raw)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("type_name", "value_type", "raw"),
    [
        ("C_DC_NA_1", BOOL, 0),
        ("C_DC_NA_1", BOOL, 3),
        ("C_RC_NA_1", INT, 3),
        ("C_SE_NC_1", FLOAT, math.nan),
        ("C_SE_NC_1", FLOAT, -math.inf),
        ("C_SE_NC_1", BOOL, 0.5),
    ],
)
def test_what_means_nothing_is_refused(type_name, value_type, raw):
    with pytest.raises(DecodeError, match=type_name):
        command_value(signal(type_name, value_type, Scaling()), raw)


def signal(type_name, value_type, scaling):
    return CommandSignal(
        common_address=1,
        ioa=1,
        type_id=TypeId[type_name],
        reference=ObjectReference("ESS1/DWGC1.WSpt"),
        value_type=value_type,
        scaling=scaling,
    )
