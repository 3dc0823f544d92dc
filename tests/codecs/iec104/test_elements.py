from importlib import resources

import pytest

from s4g_gateway.codecs.iec104 import ASDU_TYPES, TypeId
from s4g_gateway.codecs.iec104.elements import load_asdu_types
from s4g_gateway.errors import ProfileError

TABLE = resources.files("s4g_gateway.codecs.iec104").joinpath("data/elements.toml").read_text()


def test_every_type_has_its_row_and_object_size() -> None:
    sizes = {kind.type_id.name: kind.object_struct.size for kind in ASDU_TYPES.values()}
    assert len(sizes) == len(TypeId)
    assert (sizes["M_SP_NA_1"], sizes["M_ME_TF_1"], sizes["C_RD_NA_1"], sizes["C_CS_NA_1"]) == (4, 15, 3, 10)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('[type.1]\nname = "M_SP_NA_1"', '[type.1]\nname = "M_DP_NA_1"', "type.1.name"),
        (
            '[type.1]\nname = "M_SP_NA_1"\nelement = "SIQ"',
            '[type.1]\nname = "M_SP_NA_1"\nelement = "SIX"',
            "type.1.element",
        ),
        ('direction = "monitor"\nsequence = true\n[type.3]', 'direction = "up"\n[type.3]', "type.1"),
        ("sequence = true\n[type.3]", "sequnce = true\n[type.3]", "type.1"),
        ('[type.107]\nname = "C_TS_TA_1"', '[type.106]\nname = "C_TS_TA_1"', "type.106"),
        (
            "value = { field = 0, mask = 0x01 }\nquality",
            "value = { field = 1, mask = 0x01 }\nquality",
            "element.SIQ.value",
        ),
        (
            "value = { field = 0, mask = 0x01 }\nquality",
            "value = { field = 0, mask = 0x101 }\nquality",
            "element.SIQ.value.mask",
        ),
        ('[element.SIQ]\nformat = "B"', '[element.SIQ]\nformat = "x"', "element.SIQ"),
    ],
)
def test_a_wrong_table_names_its_key(old: str, new: str, key: str) -> None:
    assert old in TABLE
    with pytest.raises(ProfileError, match=rf"elements\.toml: {key}"):
        load_asdu_types(TABLE.replace(old, new, 1))


def test_a_missing_type_is_found() -> None:
    at = TABLE.index("[type.107]")
    with pytest.raises(ProfileError, match="a row for every TypeId"):
        load_asdu_types(TABLE[:at])
