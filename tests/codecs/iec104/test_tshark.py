"""tshark, a decoder that nobody here wrote, reads our frames of every type and agrees on every column."""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from s4g_gateway.codecs.iec104 import (
    ASDU_TYPES,
    Asdu,
    InformationObject,
    QualityBit,
    TimeTag,
    TypeId,
    encode_asdu,
)
from s4g_gateway.codecs.iec104.apci import U_OCTETS, UFrame, encode_i_frame, encode_s_frame

pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")

PORT = 29404  # not the registered one: only -d makes tshark look
ALL_QUALITIES = [0x00, 0x01, 0x10, 0x20, 0x40, 0x80]


def write_capture(path: Path, frames: Sequence[bytes]) -> None:
    """One Ethernet frame per APDU, from the outstation's port."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        sequence = 1
        for frame in frames:
            tcp = struct.pack(">HHIIBBHHH", PORT, 40000, sequence, 1, 5 << 4, 0x18, 65535, 0, 0)
            size = 20 + len(tcp) + len(frame)
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 64, 6, 0, b"\x0a\0\0\1", b"\x0a\0\0\2")
            packet = bytes(6) + b"\x02\0\0\0\0\1" + b"\x08\x00" + ip + tcp + frame
            file.write(struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet)
            sequence += len(frame)


def dissect(path: Path, fields: Sequence[str]) -> list[dict[str, list[str]]]:
    command = ["tshark", "-r", str(path), "-d", f"tcp.port=={PORT},iec60870_104", "-T", "json"]
    for field in (*fields, "_ws.malformed", "_ws.expert"):
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    rows = [packet["_source"]["layers"] for packet in json.loads(done.stdout)]
    assert not [row for row in rows if "_ws.malformed" in row]
    return rows


def number(text: str) -> int:
    return {"True": 1, "False": 0}[text] if text in ("True", "False") else int(text, 0)


def bits(text: str) -> int:
    """A bitstring is no number: tshark shows its octets in order, we call the first one's lowest bit bit 0."""
    return int.from_bytes(number(text).to_bytes(4, "big"), "little")


# Element: column -> (field, how its text becomes our value).
QDS = ("qds", lambda text: int(text, 0) & 0xF1)
COLUMNS: dict[str, dict[str, tuple[str, Any]]] = {
    "SIQ": {"value": ("siq.spi", number), "quality": ("siq", lambda text: int(text, 0) & 0xF0)},
    "DIQ": {"value": ("diq.dpi", number), "quality": ("diq", lambda text: int(text, 0) & 0xF0)},
    "VTI_QDS": {"value": ("vti.v", number), "qualifier": ("vti.t", number), "quality": QDS},
    "BSI_QDS": {"value": ("bitstring", bits), "quality": QDS},
    "NVA_QDS": {"value": ("normval", lambda text: round(float(text) * 32768)), "quality": QDS},
    "SVA_QDS": {"value": ("scalval", number), "quality": QDS},
    "R32_QDS": {"value": ("float", float), "quality": QDS},
    "BCR": {"value": ("bcr.count", number), "quality": ("bcr.iv", lambda text: 0x80 * number(text))},
    "COI": {"value": ("coi_r", number)},
    "SCO": {"value": ("sco.on", number), "qualifier": ("sco.qu", number), "select": ("sco.se", number)},
    "DCO": {"value": ("dco.on", number), "qualifier": ("dco.qu", number), "select": ("dco.se", number)},
    "RCO": {"value": ("rco.up", number), "qualifier": ("rco.qu", number), "select": ("rco.se", number)},
    "NVA_QOS": {
        "value": ("normval", lambda text: round(float(text) * 32768)),
        "qualifier": ("qos.ql", number),
    },
    "SVA_QOS": {"value": ("scalval", number), "qualifier": ("qos.ql", number), "select": ("qos.se", number)},
    "R32_QOS": {"value": ("float", float), "qualifier": ("qos.ql", number), "select": ("qos.se", number)},
    "BSI": {"value": ("bitstring", bits)},
}
QUALIFIED = {TypeId.C_IC_NA_1: "qoi", TypeId.C_CI_NA_1: "qcc", TypeId.C_RP_NA_1: "qrp"}
LIMITS = {
    "SIQ": (0, 1),
    "DIQ": (0, 3),
    "VTI_QDS": (-64, 63),
    "BSI_QDS": (0, 2**32 - 1),
    "BCR": (-(2**31), 2**31 - 1),
    "COI": (0, 2),
    "SCO": (0, 1),
    "DCO": (0, 3),
    "RCO": (0, 3),
    "BSI": (0, 2**32 - 1),
    "OCTET": (0, 63),
    "WORD": (0, 65535),
}


def asdus() -> list[Asdu]:
    dice = random.Random(104)
    made = []
    for kind in ASDU_TYPES.values():
        for turn in range(6):
            sequence = kind.sequence and turn % 2 == 1
            first = dice.randrange(1 << 24) - 5 if turn else 0xFFFFFE
            objects = []
            for at in range(1 if kind.single else 1 + turn % 3):
                low, high = LIMITS.get(kind.element, (-32768, 32767))
                value: float | None = dice.choice((low, high, dice.randint(low, high)))
                if kind.is_float:
                    value = dice.choice((0.0, -1.5, 123456.0, 0.015625))
                elif kind.element == "NONE":
                    value = None
                objects.append(
                    InformationObject(
                        first + at if sequence else dice.randrange(1 << 24),
                        value,
                        dice.choice(ALL_QUALITIES) & (kind.quality.mask if kind.quality else 0),
                        dice.randint(0, kind.qualifier.mask >> kind.qualifier.shift) if kind.qualifier else 0,
                        bool(kind.select and dice.randint(0, 1)),
                        TimeTag(
                            dice.randrange(946_771_200_000, 4_102_358_400_000) * 10**6,
                            *(bool(dice.randint(0, 1)) for _ in range(2)),
                        )
                        if kind.timed
                        else None,
                    )
                )
            if sequence and first + len(objects) > 1 << 24:
                objects = objects[:1]
            made.append(
                Asdu(
                    type_id=kind.type_id,
                    cause=dice.randint(1, 47),
                    common_address=dice.randrange(1 << 16),
                    objects=tuple(objects),
                    sequence=sequence,
                    negative=bool(dice.randint(0, 1)),
                    test=bool(dice.randint(0, 1)),
                    originator=dice.randrange(256),
                )
            )
    return made


def times(row: dict[str, list[str]]) -> list[TimeTag]:
    names = ("year", "month", "day", "hour", "min", "ms", "iv", "gen")
    parts = zip(*(map(number, row[f"iec60870_asdu.cp56time.{name}"]) for name in names), strict=True)
    tags = []
    for year, month, day, hour, minute, ms, invalid, substituted in parts:
        when = datetime(2000 + year, month, day, hour, minute, tzinfo=UTC)
        tags.append(TimeTag((int(when.timestamp()) * 1000 + ms) * 10**6, bool(invalid), bool(substituted)))
    return tags


def test_tshark_agrees_on_every_type_and_column(tmp_path: Path) -> None:
    made = asdus()
    write_capture(
        tmp_path / "a.pcap", [encode_i_frame(encode_asdu(asdu), at, at * 2) for at, asdu in enumerate(made)]
    )
    wanted = {field for columns in COLUMNS.values() for field, _ in columns.values()}
    fields = [f"iec60870_asdu.{name}" for name in ("typeid", "causetx", "addr", "oa", "nega", "test", "ioa")]
    fields += [f"iec60870_asdu.{name}" for name in ("numix", "sq", *sorted(wanted), *QUALIFIED.values())]
    fields += [f"iec60870_asdu.bcr.{name}" for name in ("sq", "cy", "ca")]
    fields += [
        f"iec60870_asdu.cp56time.{n}" for n in ("ms", "min", "hour", "day", "month", "year", "iv", "gen")
    ]
    fields += ["iec60870_104.tx", "iec60870_104.rx", "iec60870_asdu.rawdata"]
    rows = dissect(tmp_path / "a.pcap", fields)
    assert len(rows) == len(made) == 6 * len(TypeId)
    for at, (asdu, row) in enumerate(zip(made, rows, strict=True)):

        def shown(name: str, row: dict[str, list[str]] = row) -> list[int]:
            return [number(text) for text in row.get(f"iec60870_asdu.{name}", [])]

        assert shown("typeid") == [asdu.type_id]
        assert shown("causetx") == [asdu.cause]
        assert shown("addr") == [asdu.common_address]
        assert shown("oa") == [asdu.originator]
        assert (shown("nega"), shown("test"), shown("sq")) == ([asdu.negative], [asdu.test], [asdu.sequence])
        assert shown("numix") == [len(asdu.objects)]
        assert shown("ioa") == [item.address for item in asdu.objects]
        assert [number(row[f"iec60870_104.{side}"][0]) for side in ("tx", "rx")] == [at, at * 2]
        kind = ASDU_TYPES[asdu.type_id]
        for column, (field, convert) in COLUMNS.get(kind.element, {}).items():
            got = [convert(text) for text in row[f"iec60870_asdu.{field}"]]
            assert got == [getattr(item, column) for item in asdu.objects], (asdu.type_id.name, column)
        if kind.element == "BCR":
            flags = zip(shown("bcr.sq"), shown("bcr.cy"), shown("bcr.ca"), strict=True)
            assert [sq | cy << 5 | ca << 6 for sq, cy, ca in flags] == [
                item.qualifier for item in asdu.objects
            ]
        if asdu.type_id in QUALIFIED:
            assert shown(QUALIFIED[asdu.type_id]) == [asdu.objects[0].value]
        if asdu.type_id in (TypeId.C_TS_NA_1, TypeId.C_TS_TA_1):  # tshark 4.0 shows these as raw octets
            raw = encode_asdu(asdu)[9:].hex()
            assert row.get("iec60870_asdu.rawdata") == [raw]
        elif kind.timed:
            assert times(row) == [item.time for item in asdu.objects]


def test_tshark_agrees_on_s_and_u_frames(tmp_path: Path) -> None:
    frames = [*U_OCTETS.values(), encode_s_frame(0), encode_s_frame(32767)]
    write_capture(tmp_path / "u.pcap", frames)
    rows = dissect(tmp_path / "u.pcap", ["iec60870_104.type", "iec60870_104.utype", "iec60870_104.rx"])
    assert [number(row["iec60870_104.type"][0]) for row in rows] == [3] * 6 + [1] * 2
    assert [number(row["iec60870_104.utype"][0]) << 2 | 3 for row in rows[:6]] == list(UFrame)
    assert [number(row["iec60870_104.rx"][0]) for row in rows[6:]] == [0, 32767]


def test_tshark_names_our_quality_bits(tmp_path: Path) -> None:
    names = {"ov": "OVERFLOW", "bl": "BLOCKED", "sb": "SUBSTITUTED", "nt": "NOT_TOPICAL", "iv": "INVALID"}
    frames = [
        encode_i_frame(
            encode_asdu(
                Asdu(
                    type_id=TypeId.M_ME_NB_1,
                    cause=3,
                    common_address=1,
                    objects=(InformationObject(1, 0, QualityBit[name]),),
                )
            ),
            at,
            0,
        )
        for at, name in enumerate(names.values())
    ]
    write_capture(tmp_path / "q.pcap", frames)
    rows = dissect(tmp_path / "q.pcap", [f"iec60870_asdu.qds.{name}" for name in names])
    found = [[short for short in names if number(row[f"iec60870_asdu.qds.{short}"][0])] for row in rows]
    assert found == [[name] for name in names]
