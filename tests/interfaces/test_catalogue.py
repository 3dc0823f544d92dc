"""The loader: what it gives, and that every mistake in a data file is told with file and key."""

import tomllib
from collections import defaultdict
from importlib import resources

import pytest

from s4g_gateway.interfaces import (
    Carrier,
    CatalogueError,
    Direction,
    Frame,
    Kind,
    PeriodKind,
    build_catalogue,
    interface_slug,
    load_catalogue,
)
from s4g_gateway.model import ValueType, parse_reference
from s4g_gateway.model.logical_nodes import check_against_table, leaf_cdc, point_type

# Attributes of CDC DPL (IEC 61850-7-3:2007B) that are numbers; the model's table has its texts only.
BEYOND_TABLE = {"ESS1/LPHD1.PhyNam.latitude", "ESS1/LPHD1.PhyNam.longitude"}


def files() -> dict[str, str]:
    folder = resources.files("s4g_gateway.interfaces") / "data"
    return {f.name: f.read_text("utf-8") for f in folder.iterdir() if f.name != "SOURCE.toml"}


def test_the_data_says_where_it_comes_from():
    source = tomllib.loads(
        (resources.files("s4g_gateway.interfaces") / "data/SOURCE.toml").read_text("utf-8")
    )
    assert set(source) == {"d31", "iec_61850", "senml"}
    assert all(entry["document"] and entry["used"] for entry in source.values())


def test_slugs_keep_d31s_order_with_the_broker_last():
    assert interface_slug("EB#LESSAg") == "lessag-eb"
    assert interface_slug("GESSCon#LESSAg") == "gesscon-lessag"
    assert interface_slug("DSF-DWH#EB") == "dsf-dwh-eb"
    assert [i.slug for i in load_catalogue()] == [interface_slug(i.id) for i in load_catalogue()]


def test_it_is_read_once():
    assert load_catalogue() is load_catalogue()


def test_look_up_by_slug_by_d31s_name_and_by_path():
    catalogue = load_catalogue()
    interface = catalogue.interface("EB#LESSAg")
    assert interface is catalogue.interface("lessag-eb")
    message = catalogue.message("lessag-eb/measurement")
    assert message is interface.message("measurement")
    assert message.variable("PCC1/MMXU1.TotW").d31 == "Grid power (kW)"
    with pytest.raises(KeyError, match="has 5 variables named"):
        message.variable("MMXU1.TotW")
    with pytest.raises(KeyError, match="lessag-eb"):
        catalogue.interface("nonsense")
    with pytest.raises(KeyError, match="no message 'nonsense'"):
        interface.message("nonsense")


def test_one_message_in_full():
    message = load_catalogue().message("gesscon-lessag/command")
    assert message.kind is Kind.COMMAND
    assert message.directions == (Direction(sender="GESSCon", receiver="LESSAg"),)
    assert (message.period.kind, message.period.max_s, message.period.slot_s) == (
        PeriodKind.PACKAGE,
        86400,
        60,
    )
    time, power, priority = message.variables
    assert (time.carrier, time.point) == (Carrier.TIME, None)
    assert (power.name, power.wire_unit, power.array) == ("DWGC1.WSpt", "W", True)
    assert (priority.name, priority.point, priority.reference) == (
        "dc_power_setpoint_priority",
        "ESS1/GGIO1.DcPowerSetpointPriority",
        None,
    )


def test_every_reference_is_one_of_iec_61850_with_its_cdc_and_type():
    checked = 0
    for message in load_catalogue().messages():
        for variable in message.variables:
            if variable.reference is None:
                continue
            checked += 1
            parse_reference(variable.reference)
            if variable.reference not in BEYOND_TABLE:
                check_against_table(variable.reference)
                assert leaf_cdc(variable.reference) == variable.cdc, variable
                assert point_type(variable.reference) is variable.value_type, variable
    assert checked > 100


def test_one_name_means_one_thing_wherever_it_occurs():
    """A consumer sees only names: the same one never changes sign, quantity or type between interfaces."""
    meanings = defaultdict(set)
    for message in load_catalogue().messages():
        for v in message.records:
            meanings[v.device, v.name].add((v.point, v.unit, v.sign, v.half, v.frame, v.value_type, v.cdc))
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def test_a_name_is_the_reference_or_lower_snake():
    for message in load_catalogue().messages():
        for v in message.records:
            if v.reference is not None and v.sign == 1 and not v.half:
                assert f"{v.device}/{v.name}" == v.reference
            else:
                assert v.name == v.name.lower()
                assert "." not in v.name


def test_bver_is_26_where_a_secondary_unit_occurs():
    catalogue = load_catalogue()
    assert catalogue.message("lessag-eb/measurement").senml_version == 26
    assert catalogue.message("gesscon-smx/measurement").senml_version == 10
    assert catalogue.message("gesscon-lessag/status").senml_version == 26  # Wh


def test_states_are_retained_commands_and_requests_never():
    for message in load_catalogue().messages():
        assert message.retained is (message.kind in (Kind.MEASUREMENT, Kind.STATUS))


def test_who_begins_and_who_publishes():
    catalogue = load_catalogue()
    for name, initiator, partner, publisher in (
        ("lessag-eb/measurement", "LESSAg", "EB", "LESSAg"),
        ("gesscon-lessag/command", "GESSCon", "LESSAg", "GESSCon"),
        ("gui-lessag/lessag-variables", "GUI", "LESSAg", "LESSAg"),
        ("remoteusm-smx/sub-meter-variables", "SMX", "RemoteUSM", "RemoteUSM"),
    ):
        message = catalogue.message(name)
        assert (message.initiator, message.partner, message.publisher) == (initiator, partner, publisher)


def test_messages_taken_over_have_the_new_ends_and_are_ours():
    catalogue = load_catalogue()
    taken, original = (
        catalogue.message("libaless-smx/command"),
        catalogue.message("commercialess-smx/command"),
    )
    assert taken.variables == original.variables
    assert taken.directions == (Direction(sender="SMX", receiver="LibalESS"),)
    assert taken.direction_text == "SMX → LibalESS"
    assert (taken.interface, taken.ours, original.ours) == ("libaless-smx", True, False)


def test_wire_range_follows_factor_sign_and_half():
    catalogue = load_catalogue()
    limit = catalogue.message("evch-smx/command").variable("DESE1.ChaPwrTgt")
    assert limit.wire_range() == (0, None)
    assert limit.frame is Frame.MAGNITUDE
    supplied = catalogue.message("commercialess-smx/measurement").variable("power_supplied_to_the_ess")
    assert supplied.wire_range() == (0, None)
    assert catalogue.message("lessag-eb/measurement").variable("DSTO1.SocEffWhPct").wire_range() == (0, 100)


FILE = "commercialess-smx.toml"


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ('section = "4.1.16"\n', "", "section|(file)", "missing required field `section`"),
        ("number = 17", 'number = "17"', "number", "int"),
        ("number = 17", "nummer = 17", "(file)", "nummer"),
        ('id = "CommercialESS#SMX"', 'id = "CommercialESS"', "id", "Name#Name"),
        ('id = "CommercialESS#SMX"', 'id = "Commercial#SMX"', "id", "commercial-smx.toml"),
        ('table = "Table 14"\n', "", "filled_by", "no D3.1 table"),
        ('slug = "measurement"', 'slug = "Measurement"', "message[0].slug", "lower-case"),
        ('slug = "measurement"', 'slug = "x-answer"', "message[0].slug", "-answer"),
        ('slug = "measurement"', 'slug = "command"', "message[1].slug", "stands twice"),
        ('kind = "measurement"', 'kind = "measuring"', "message[0].kind", "measuring"),
        ('[["CommercialESS", "SMX"]]', '[["SMX", "CommercialESS"]]', "message[0].direction", "does not say"),
        ('[["CommercialESS", "SMX"]]', "[]", "message[0].directions", "empty"),
        (
            '[["CommercialESS", "SMX"]]',
            '[["CommercialESS", "SMX"], ["EB", "SMX"]]',
            "message[0].directions",
            "EB sends on",
        ),
        ("min_s = 1, max_s = 10", "max_s = 10", "message[0].period", "expected ['max_s', 'min_s']"),
        ("min_s = 1, max_s = 10", "min_s = 10, max_s = 1", "message[0].period", "in order"),
        ("min_s = 1, max_s = 10", "min_s = 0, max_s = 1", "message[0].period", "positive"),
        ("ESS1/MMXU1.AvPhVPhs", "ESS1/MMXU1", "message[0].variable[0]", "ObjectReference"),
        ("ESS1/MMXU1.AvPhVPhs", "ESS1/MMXU1.TotW", "message[0].variable", "stands 3 times"),
        ('unit = "V"\nwire', 'unit = "Volt"\nwire', "message[0].variable[0]", "unknown unit 'Volt'"),
        ('wire_unit = "V"', 'wire_unit = "kV"', "message[0].variable[0]", "wire_unit: 'V' to 'kV'"),
        (
            "factor = 0.001\nsign = -1",
            "factor = 0.1\nsign = -1",
            "message[0].variable[1]",
            "factor: found 0.1",
        ),
        ("sign = -1", "sign = 2", "message[0].variable[1]", "sign: found 2"),
        ("sign = -1\n", "", "message[0].variable", "as halves"),
        ("sign = -1\nhalf = true", "sign = -1", "message[0].variable[1]", "minimum: expected 0 or more"),
        (
            'name = "power_supplied_to_the_ess"\n',
            "",
            "message[0].variable[1]",
            "name: expected with a reference",
        ),
        ("power_supplied_to_the_ess", "PowerSupplied", "message[0].variable[1]", "lower_snake"),
        (
            "power_supplied_to_the_ess",
            "power_released_from_the_ess",
            "message[0].variable[2].name",
            "is the name of message[0].variable[1] too",
        ),
        ('frame = "generator"\n', "", "message[1].variable[0]", "frame: found none"),
        ("minimum = 0\nmaximum = 1000", "minimum = 1000\nmaximum = 0", "message[0].variable[0]", "less than"),
        ('cdc = "APC"', 'cdc = "APC"\npattern = "("', "message[1].variable[0]", "pattern: expected for text"),
        ('cdc = "APC"', 'cdc = "APC"\nslot_priority = true', "message[1].variable[0]", "slot_priority"),
        (
            'cdc = "APC"',
            'cdc = "APC"\nvalues = [["a", "b"]]',
            "message[1].variable[0]",
            "values: 'a' is no float",
        ),
        ('cdc = "APC"', 'cdc = "APC"\ntype = "boolean"', "message[1].variable[0]", "unit: expected none"),
        ('carrier = "time"', 'carrier = "time"\nname = "t"', "message[0].variable[4]", "has none"),
        ('carrier = "time"', 'carrier = "command"\nname = "cmd.x"', "message[0].variable[4]", "cmd.priority"),
        (
            'carrier = "time"',
            'carrier = "command"\nname = "cmd.priority"',
            "message[0].kind",
            "expected command",
        ),
        ('periodicity = "Every 15 minutes"', "periodicity = 15", "message[1].periodicity", "str"),
        ("period = {", 'per_device = "PV1"\nperiod = {', "message[0].per_device", "['ESS1']"),
        ("period = {", "open = true\nperiod = {", "message[0].variable", "not open"),
        ("[[message]]", "[[message", "(file)", "no TOML"),
    ],
)
def test_a_mistake_is_told_with_file_and_key(old, new, key, words):
    content = files()
    assert old in content[FILE], "the case no longer finds what it breaks"
    content[FILE] = content[FILE].replace(old, new, 1)
    with pytest.raises(CatalogueError) as caught:
        build_catalogue(content)
    assert caught.value.key in key.split("|")
    assert str(caught.value).startswith(f"{caught.value.file}: {caught.value.key}: ")
    assert caught.value.file == FILE
    assert words in str(caught.value)


def test_a_pattern_that_is_no_regular_expression_is_told():
    content = files()
    content["gesscon-gui.toml"] = content["gesscon-gui.toml"].replace('pattern = "(', 'pattern = "((', 1)
    with pytest.raises(
        CatalogueError, match=r"gesscon-gui\.toml: message\[0\]\.variable\[0\]: pattern: .*no regular"
    ):
        build_catalogue(content)


def test_two_interfaces_with_one_number_are_refused():
    content = files()
    content[FILE] = content[FILE].replace("number = 17", "number = 1")
    with pytest.raises(CatalogueError, match=r"dsf-adapter-dsf-se\.toml: number: 1 is the number of commerc"):
        build_catalogue(content)


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ('"commercialess-smx"', '"nonsense"', "filled_by.messages_of", "no interface 'nonsense'"),
        ('"commercialess-smx"', '"gevchcon-smx"', "filled_by.replace", "turns the ends"),
        ('"LibalESS" }', '"Libal" }', "filled_by.replace", "expected ['LibalESS', 'SMX']"),
    ],
)
def test_a_wrong_take_over_is_told(old, new, key, words):
    content = files()
    name = "libaless-smx.toml"
    assert old in content[name]
    content[name] = content[name].replace(old, new, 1)
    with pytest.raises(CatalogueError) as caught:
        build_catalogue(content)
    assert (caught.value.file, caught.value.key) == (name, key)
    assert words in str(caught.value)


def test_a_chain_of_take_overs_and_one_beside_own_messages_are_refused():
    chained = files()
    source = chained["libaless-smx.toml"]
    chained["commercialess-smx.toml"] = (
        source.replace("LibalESS#SMX", "CommercialESS#SMX")
        .replace("number = 26", "number = 17")
        .replace('"commercialess-smx"', '"libaless-smx"')
        .replace('{ CommercialESS = "LibalESS" }', '{ LibalESS = "CommercialESS" }')
    )
    with pytest.raises(CatalogueError, match="takes its messages from another one itself"):
        build_catalogue(chained)
    doubled = files()
    own = doubled["commercialess-smx.toml"].partition("[[message]]")[2].replace("CommercialESS", "LibalESS")
    doubled["libaless-smx.toml"] = source + "\n[[message]]" + own
    with pytest.raises(CatalogueError, match="stands beside"):
        build_catalogue(doubled)


def test_types_of_values():
    kinds = {v.value_type for m in load_catalogue().messages() for v in m.records}
    assert kinds == set(ValueType)
