import struct
from pathlib import Path

import pytest

from s4g_gateway.errors import ConfigError, ProfileError
from s4g_gateway.model import AddCause, ValueType
from s4g_gateway.model import quality as q
from s4g_gateway.profiles.modbus import (
    Answer,
    Function,
    Read,
    Write,
    build_table_device,
    load_table,
    operate_table,
    parse_table,
)

EXAMPLE = Path(__file__).with_name("energy_meter.toml")
HOLDING = bytearray(2 * 40)
struct.pack_into(">fHh", HOLDING, 0, 1500.0, 2305, 655)
HOLDING[8:12] = bytes.fromhex("5678 0001")
HOLDING[12:20] = (-9).to_bytes(8, "little", signed=True)
struct.pack_into(">dHH", HOLDING, 20, 50.01, 0b1000, 1)
HOLDING[40:48] = b"SN-42\0\0\0"
HOLDING[60:64] = struct.pack(">i", -70)[2:] + struct.pack(">i", -70)[:2]
struct.pack_into(">H", HOLDING, 64, 20)


@pytest.fixture
def device():
    return build_table_device(load_table(EXAMPLE), "meter")


def answer(read):
    if read.function is Function.READ_HOLDING_REGISTERS:
        return bytes(HOLDING[2 * read.address : 2 * read.end])
    if read.function is Function.READ_INPUT_REGISTERS:
        return struct.pack(">h", -950)
    return b"\x01"


def test_every_type_order_and_place_is_decoded(device):
    measurements, settings = device.decoders()
    report = measurements.decode([answer(read) for read in measurements.reads], 0)
    found = dict(zip(report.data_set.references, report.values, strict=True))
    assert found == {
        "PCC1/MMXU1.TotW": -1500.0,
        "PCC1/MMXU1.PhV.phsA": 230.5,
        "PCC1/GGIO1.AnIn1": 25.5,
        "PCC1/MMTR1.DmdWh": 0x00015678 * 1000.0,
        "PCC1/MMTR1.SupWh": -9.0,
        "PCC1/MMXU1.Hz": 50.01,
        "PCC1/GGIO1.Ind1": True,
        "PCC1/GGIO1.IntIn1": 8,
        "PCC1/GGIO1.IntIn2": 1,
        "PCC1/GGIO1.SPCSO1": True,
        "PCC1/GGIO1.Ind2": True,
        "PCC1/MMXU1.TotPF": -0.95,
        "PCC1/DWGC1.WSpt": 700.0,
        "PCC1/GGIO1.ISCSO1": 2,
    }
    assert set(report.quality) == {q.GOOD}
    assert settings.decode([answer(read) for read in settings.reads], 0).values == ("SN-42",)


def test_few_reads_by_function(device):
    assert device.decoders()[0].reads == (
        Read(7, 1, Function.READ_COILS),
        Read(9, 1, Function.READ_DISCRETE_INPUTS),
        Read(0, 33),
        Read(100, 1, Function.READ_INPUT_REGISTERS),
    )


def test_invalid_and_unknown_states_leave_no_value(device):
    measurements = device.decoders()[0]
    blocks = [answer(read) for read in measurements.reads]
    holding = bytearray(blocks[2])
    holding[4:6] = b"\xff\xff"
    holding[30:32] = b"\0\x07"
    blocks[2] = bytes(holding)
    report = measurements.decode(blocks, 0)
    index = report.data_set.index
    assert report.values[index["PCC1/MMXU1.PhV.phsA"]] is None
    assert report.quality[index["PCC1/MMXU1.PhV.phsA"]] == q.INVALID
    assert report.quality[index["PCC1/GGIO1.IntIn2"]] == q.INVALID | q.OUT_OF_RANGE


def test_members_and_controls_tell_what_the_table_says(device):
    members = {member.reference: member for data_set in device.data_sets for member in data_set.members}
    power = members["PCC1/MMXU1.TotW"]
    assert (power.unit, power.cdc, power.deadband) == ("W", "MV", 10.0)
    assert members["PCC1/GGIO1.Ind1"].value_type is ValueType.BOOLEAN
    assert [(point.reference, point.expires) for point in device.controls] == [
        ("PCC1/GGIO1.SPCSO1", False),
        ("PCC1/DWGC1.WSpt", True),
        ("PCC1/GGIO1.ISCSO1", False),
    ]


def test_logical_devices_can_be_renamed():
    table = load_table(EXAMPLE)
    renamed = build_table_device(table, "m", {"meter": "LOAD1"})
    assert renamed.data_sets[0].references[0] == "LOAD1/MMXU1.TotW"
    with pytest.raises(ProfileError, match="no gauge"):
        build_table_device(table, "m", {"gauge": "LOAD1"})


def drive(exchange, *answers):
    steps = [next(exchange)]
    try:
        for each in answers:
            steps.append(exchange.send(each))
    except StopIteration as end:
        return steps, end.value
    raise AssertionError(steps)


def test_a_set_point_is_written_and_read_back(device):
    data = struct.pack(">i", 120)[2:] + struct.pack(">i", 120)[:2]
    steps, result = drive(operate_table(device, "PCC1/DWGC1.WSpt", -1200.0), Answer(), Answer(data))
    assert steps == [Write(30, data), Read(30, 2)]
    assert result.accepted


def test_release_state_and_coil(device):
    steps, result = drive(operate_table(device, "PCC1/DWGC1.WSpt", None), Answer(), Answer(bytes(4)))
    assert steps[0] == Write(30, bytes(4))
    assert result.accepted
    steps, result = drive(operate_table(device, "PCC1/GGIO1.ISCSO1", 2), Answer(), Answer(b"\0\x14"))
    assert steps[0] == Write(32, b"\0\x14", Function.WRITE_SINGLE_REGISTER)
    assert result.accepted
    steps, result = drive(operate_table(device, "PCC1/GGIO1.SPCSO1", True), Answer(), Answer(b"\xf1"))
    assert steps == [
        Write(7, b"\1", Function.WRITE_SINGLE_COIL),
        Read(7, 1, Function.READ_COILS),
    ]
    assert result.accepted


@pytest.mark.parametrize(
    ("reference", "value", "answers", "cause"),
    [
        ("PCC1/DWGC1.WSpt", 100.0, [Answer(exception=3)], AddCause.INCONSISTENT_PARAMETERS),
        ("PCC1/DWGC1.WSpt", 100.0, [Answer(), Answer(exception=4)], AddCause.BLOCKED_BY_HEALTH),
        ("PCC1/DWGC1.WSpt", 100.0, [Answer(), Answer(bytes(4))], AddCause.ABORTION_DUE_TO_DEVIATION),
        ("PCC1/MMXU1.TotW", 1.0, [], AddCause.NOT_SUPPORTED),
        ("PCC1/GGIO1.SPCSO1", None, [], AddCause.NOT_SUPPORTED),
        ("PCC1/GGIO1.ISCSO1", 7, [], AddCause.INCONSISTENT_PARAMETERS),
        ("PCC1/DWGC1.WSpt", 1e12, [], AddCause.INCONSISTENT_PARAMETERS),
    ],
)
def test_what_does_not_work_is_refused_with_its_cause(device, reference, value, answers, cause):
    exchange = operate_table(device, reference, value)
    if answers:
        _, result = drive(exchange, *answers)
    else:
        with pytest.raises(StopIteration) as end:
            next(exchange)
        result = end.value.value
    assert (result.accepted, result.add_cause) == (False, cause)


ROW = '[[register]]\naddress = 0\ntype = "uint16"\nreference = "A1/GGIO1.AnIn1"\n'


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ('title = "t"\n' + ROW + 'unit = "kW"\n', "register[0].unit", "one of"),
        ('title = "t"\n' + ROW + "colour = 3\n", "register[0]", "format"),
        ('title = "t"\n' + ROW.replace("uint16", "uint8"), "register[0].type", "format"),
        ('title = "t"\n' + ROW.replace("A1/GGIO1.AnIn1", "A1.AnIn1"), "register[0].reference", "ObjectRef"),
        ('title = "t"\n' + ROW.replace("A1/", "{x}/"), "register[0].reference", "ObjectReference"),
        ('title = "t"\n' + ROW + "scale = 0\n", "register[0].scale", "other than 0"),
        ('title = "t"\n' + ROW + "bit = 3\n", "register[0].bit", "no bit number"),
        ('title = "t"\n' + ROW + "count = 3\n", "register[0].count", "strings only"),
        ('title = "t"\n' + ROW.replace("uint16", "bit"), "register[0].bit", "0 to 15"),
        ('title = "t"\n' + ROW + 'place = "coil"\n', "register[0].type", "bit, without"),
        ('title = "t"\n' + ROW + 'place = "input"\nwritable = true\n', "register[0].writable", "holding"),
        ('title = "t"\n' + ROW + "release = 1.0\n", "register[0].release", "writable"),
        ('title = "t"\n' + ROW + "values = { on = 1 }\n", "register[0].values.on", "integer as key"),
        ('title = "t"\n' + ROW + "values = { 1 = 1 }\nscale = 2\n", "register[0].scale", "none of them"),
        ('title = "t"\n' + ROW.replace("address = 0", "address = 65535").replace("uint16", "int32"),
         "register[0].address", "65535"),
        ('title = "t"\n', "", "format"),
        ("title = ", "", "a TOML file"),
    ],
)  # fmt: skip
def test_mistakes_name_file_key_and_what_was_expected(text, key, expected):
    with pytest.raises(ConfigError) as caught:
        parse_table(text.encode(), "t.toml")
    problem = caught.value.problems[0]
    assert (problem.file, problem.key) == ("t.toml", key)
    assert expected in problem.expected


def test_all_mistakes_are_found_at_once():
    text = 'title = "t"\n' + ROW + 'unit = "kW"\n' + ROW.replace("A1/", "") + "scale = 0\n"
    with pytest.raises(ConfigError) as caught:
        parse_table(text.encode(), "t.toml")
    assert [problem.key for problem in caught.value.problems] == [
        "register[0].unit",
        "register[1].scale",
        "register[1].reference",
    ]


def test_contradictions_between_rows_are_found_before_the_device_is_reached():
    twice = parse_table(('title = "t"\n' + ROW + ROW).encode(), "t.toml")
    with pytest.raises(ProfileError, match="mapped twice"):
        build_table_device(twice, "t")
    other = ROW.replace("AnIn1", "AnIn2").replace("uint16", "int32")
    overlap = parse_table(('title = "t"\n' + other + ROW.replace("address = 0", "address = 1")).encode(), "t")
    with pytest.raises(ProfileError, match="overlap"):
        build_table_device(overlap, "t")


def test_a_missing_file_is_a_problem_of_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match="a register table"):
        load_table(tmp_path / "none.toml")
