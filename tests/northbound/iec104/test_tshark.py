"""tshark, an independent decoder, reads what the outstation sent and agrees."""

import json
import os
import shutil
import struct
import subprocess

import pytest

from s4g_gateway.codecs.iec104 import Cause, TypeId
from s4g_gateway.model import DataSet, ValueType
from s4g_gateway.model import quality as q
from s4g_gateway.profiles.iec104 import PointOverride

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

LINKTYPE_RAW = 101
T = 1_700_000_000_123_000_000  # 2023-11-14T22:13:20.123Z


def frames(octets):
    at = 0
    while at < len(octets):
        end = at + octets[at + 1] + 2
        yield octets[at:end]
        at = end


def capture(path, octets):
    """Writes the outstation's frames as one TCP packet each."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LINKTYPE_RAW))
        sequence = 1
        for frame in frames(octets):
            tcp = struct.pack(">HHIIBBHHH", 2404, 40000, sequence, 1, 5 << 4, 0x18, 65535, 0, 0)
            total = 20 + len(tcp) + len(frame)
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, 6, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
            file.write(struct.pack("<IIII", 0, 0, total, total) + ip + tcp + frame)
            sequence += len(frame)


FIELDS = (
    "typeid", "causetx", "addr", "ioa", "numix", "float", "normval", "scalval", "siq.spi", "diq.dpi", "vti.v",
    "bitstring", "bcr.count", "bcr.sq", "qds", "cp56time",
)  # fmt: skip


def dissect(path):
    command = ["tshark", "-r", str(path), "-T", "json"]
    for field in FIELDS:
        command += ["-e", f"iec60870_asdu.{field}"]
    command += ["-e", "_ws.malformed", "-e", "_ws.expert.message"]
    done = subprocess.run(
        command, capture_output=True, check=True, timeout=60, env={**os.environ, "TZ": "UTC"}
    )
    rows = [packet["_source"]["layers"] for packet in json.loads(done.stdout)]
    assert not [row for row in rows if "_ws.malformed" in row]
    return [{key.removeprefix("iec60870_asdu."): value for key, value in row.items()} for row in rows]


async def test_tshark_reads_every_type_as_we_meant_it(kit, tmp_path):
    member = kit.member
    refs = ["SPS", "DPS", "BSC", "BO", "NVA", "SVA", "FLT", "BCR"]
    members = (
        member("ESS1/GGIO1.SPS", ValueType.BOOLEAN, "", "SPS"),
        member("ESS1/GGIO1.DPS", ValueType.BOOLEAN, "", "DPS"),
        member("ESS1/GGIO1.BSC", ValueType.INTEGER, "", "BSC"),
        member("ESS1/GGIO1.BO", ValueType.INTEGER, "", "INS"),
        member("ESS1/GGIO1.NVA"),
        member("ESS1/GGIO1.SVA"),
        member("ESS1/GGIO1.FLT"),
        member("ESS1/GGIO1.BCR", cdc="BCR"),
    )
    points = [
        PointOverride(reference="ESS1/GGIO1.BO", type="M_BO_NA_1"),
        PointOverride(reference="ESS1/GGIO1.NVA", type="M_ME_NA_1", full_scale=1000.0),
        PointOverride(reference="ESS1/GGIO1.SVA", type="M_ME_NB_1", factor=-10.0),
        PointOverride(reference="ESS1/GGIO1.BCR", spontaneous=True),
    ]
    async with kit.serving(tmp_path, [DataSet("d", members)], point=points) as bench:
        master = await kit.RawMaster.connect(bench.port)
        bench.publish(
            [True, True, -5, 0xDEADBEEF, 250.0, 1230.0, -1.5, 4711.0],
            quality=(0, 0, 0, 0, 0, q.INVALID | q.SUBSTITUTED, 0, 0),
            time_ns=T,
        )
        await master.until(lambda: sum(a[2] == 3 for a in master.asdus) == len(refs))
        await master.interrogate()
        master.send(TypeId.C_CI_NA_1, Cause.ACTIVATION, 0, 5)
        await master.until(lambda: any(a[0] == 101 and a[2] == 10 for a in master.asdus))
        await master.close()
    capture(tmp_path / "sent.pcap", master.octets)
    rows = [row for row in dissect(tmp_path / "sent.pcap") if "typeid" in row]

    values = {
        1: ("siq.spi", "1"), 3: ("diq.dpi", "2"), 5: ("vti.v", "-5"), 9: ("normval", "0.25"),
        11: ("scalval", "-123"), 13: ("float", "-1.5"), 15: ("bcr.count", "4711"),
    }  # fmt: skip
    timed = {30: 1, 31: 3, 32: 5, 33: 7, 34: 9, 35: 11, 36: 13, 37: 15}
    ioas = {1: 1001, 3: 1002, 5: 1003, 7: 1004, 9: 10001, 11: 10002, 13: 10003, 15: 30001}
    seen = set()
    for row in rows:
        kind = int(row["typeid"][0])
        base = timed.get(kind, kind)
        if base > 15:
            continue
        seen.add(kind)
        assert row["ioa"] == [str(ioas[base])]
        assert row["addr"] == ["1"]
        cause = 3 if kind in timed else 37 if kind == 15 else 20
        assert row["causetx"] == [str(cause)]
        if base in values:
            field, value = values[base]
            assert [float(item) for item in row[field]] == [float(value)]
        else:
            # tshark shows the four octets as they stand; the standard counts bits from the first one's lowest
            assert int(row["bitstring"][0], 0).to_bytes(4, "big") == (0xDEADBEEF).to_bytes(4, "little")
        if base == 11:
            assert [int(bits, 0) for bits in row["qds"]] == [0xA0]
        if kind in timed:
            assert row["cp56time"][0].startswith("Nov 14, 2023 22:13:20.123")
    assert seen == set(timed) | set(ioas)
    assert [int(row["typeid"][0]) for row in rows if row["typeid"][0] in ("70", "100", "101")] == [
        70, 100, 100, 101, 101,
    ]  # fmt: skip


async def test_tshark_counts_the_objects_of_a_large_interrogation(kit, tmp_path):
    async with kit.serving(tmp_path, [kit.floats(500)]) as bench:
        bench.publish([float(i) for i in range(500)])
        master = await kit.RawMaster.connect(bench.port)
        await master.interrogate()
        await master.close()
    capture(tmp_path / "sent.pcap", master.octets)
    rows = [row for row in dissect(tmp_path / "sent.pcap") if row.get("causetx") == ["20"]]
    values = [float(value) for row in rows for value in row["float"]]
    assert values == [float(i) for i in range(500)]
    assert [int(ioa) for row in rows for ioa in row["ioa"]] == list(range(10001, 10501))
