"""SenML encode and decode of a 50-point Report beside bare orjson, cbor2, lxml, msgspec and kpn-senml.

``python -m benchmarks.senml [--quick] [--json FILE]``

The Report is that of a site with a grid meter, an inverter and a battery, with values as devices with scale
factors give them (two or three decimals); each call takes the next of 64 such Reports.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import cbor2
import kpn_senml  # type: ignore[import-untyped]
import msgspec
import orjson
from lxml import etree

from benchmarks.harness import BenchRow, compare, main
from s4g_gateway.codecs.senml import Format, Record, decode_pack, encode_pack, resolve
from s4g_gateway.codecs.senml.xml_writing import NAMESPACE
from s4g_gateway.model import DataSet, Member, ObjectReference, Report
from s4g_gateway.profiles.senml import ColumnDecoder, columns_of, compile_decoder, compile_encoder

POINTS = 50
REPORTS = 64
NOW_NS = 1_700_000_000_123_456_789
SITE = "site-1"
UNIT = "records/s"


def data_set() -> DataSet:
    """Returns the 50 points."""
    meter = [("TotW", "W"), ("TotVAr", "var"), ("TotVA", "VA"), ("TotPF", ""), ("Hz", "Hz")]
    phases = [(f"{name}.phs{phase}", unit) for phase in "ABC" for name, unit in PER_PHASE]
    points = [("PCC1/MMXU1." + name, unit) for name, unit in meter + phases]
    points += [("PV1/MMXU1." + name, unit) for name, unit in meter + phases]
    points += [("ESS1/DSTO1.SocEffWhPct", "%"), ("ESS1/MMDC1.Watt", "W"), ("ESS1/MMDC1.Vol", "V")]
    points += [("ESS1/MMDC1.Amp", "A"), ("ESS1/STMP1.Tmp", "Cel"), ("PCC1/MMTR1.SupWh", "Wh")]
    points += [(f"PV1/MMDC{n}.{name}", unit) for n in (1, 2) for name, unit in [("Watt", "W"), ("Vol", "V")]]
    assert len(points) == POINTS
    return DataSet("site", tuple(Member(reference=ObjectReference(r), unit=u) for r, u in points))


PER_PHASE = [("W", "W"), ("VAr", "var"), ("PhV", "V"), ("A", "A"), ("PF", "")]


def reports(members: DataSet) -> list[Report]:
    """Returns Reports with changing values."""
    source = random.Random(1)
    values = [
        tuple(round(source.uniform(-5000, 5000), source.choice((2, 3))) for _ in range(POINTS))
        for _ in range(REPORTS)
    ]
    return [Report(members, row, (0,) * POINTS, NOW_NS + i * 10**9) for i, row in enumerate(values)]


def through(function: Callable[[Any], object], inputs: Sequence[Any]) -> Callable[[], object]:
    """Returns a call that takes the next input each time."""
    following = cycle(inputs).__next__
    return lambda: function(following())


def lxml_encode(records: list[dict[str, Any]]) -> bytes:
    """Builds and serialises the document as one does with lxml."""
    root = etree.Element(f"{{{NAMESPACE}}}sensml", nsmap={None: NAMESPACE})
    for record in records:
        element = etree.SubElement(root, f"{{{NAMESPACE}}}senml")
        for label, value in record.items():
            element.set(label, value if isinstance(value, str) else repr(value))
    return etree.tostring(root)


class TypedRecord(msgspec.Struct):
    """What msgspec is told of a record."""

    bn: str | None = None
    bt: float | None = None
    bver: int | None = None
    n: str | None = None
    u: str | None = None
    v: float | None = None
    t: float | None = None


def kpn_encoder(records: list[dict[str, Any]], method: str) -> Callable[[Report], object]:
    """Returns what a user of kpn-senml does: sets each value, then renders."""
    pack = kpn_senml.SenmlPack(SITE + "/")
    for record in records:
        pack.add(kpn_senml.SenmlRecord(record["n"], unit=record.get("u"), value=0.0))
    entries = list(pack._data)

    def encode(report: Report) -> object:
        pack.base_time = 1.7e9
        for entry, value in zip(entries, report.values, strict=True):
            entry.value = value
        return getattr(pack, method)()

    return encode


def foreign_packs(
    packs: Sequence[bytes], form: Format, *, shuffled: bool = False, ratio: str | None = "/"
) -> list[bytes]:
    """Returns the same records as another encoder lays them out: other order, full names, shortest numbers.

    Args:
        packs: ours.
        form: representation.
        shuffled: another order in each pack.
        ratio: unit of pure numbers, None for none.
    """
    source = random.Random(2)
    result = []
    order = list(range(POINTS))[::-1]
    for pack in packs:
        records = resolve(decode_pack(pack, form), 0.0)
        if shuffled:
            source.shuffle(order)
        time_s = records[0].time_s
        foreign = [
            Record(
                base_time_s=None if number else time_s,
                name=records[at].name,
                unit=records[at].unit or ratio,
                value=records[at].value,
            )
            for number, at in enumerate(order)
        ]
        result.append(encode_pack(foreign, form))
    return result


def rows(quick: bool = False) -> list[BenchRow]:
    """Runs the benchmark."""
    members = data_set()
    ready = reports(members)
    packs = {}
    for form in Format:
        encoder = compile_encoder(members, site=SITE, form=form)
        packs[form] = [encoder.encode(report) for report in ready]
    dicts = [orjson.loads(pack) for pack in packs[Format.JSON]]
    maps = [cbor2.loads(pack) for pack in packs[Format.CBOR]]
    assert [dict(e.attrib).keys() for e in etree.fromstring(lxml_encode(dicts[0]))] == [
        dict(e.attrib).keys() for e in etree.fromstring(packs[Format.XML][0])
    ]

    def beside(name: str, ours: Any, peer: Any, peer_name: str, target: float | None = None) -> BenchRow:
        return compare(
            name, ours, peer, peer_name=peer_name, unit=UNIT, work=POINTS, target=target, quick=quick
        )

    def encode(form: Format) -> Callable[[], object]:
        return through(compile_encoder(members, site=SITE, form=form).encode, ready)

    found = [
        beside("encode JSON", encode(Format.JSON), through(orjson.dumps, dicts), "orjson, ready dicts", 0.6),
        beside("encode CBOR", encode(Format.CBOR), through(cbor2.dumps, maps), "cbor2, ready maps", 10),
        beside("encode XML", encode(Format.XML), through(lxml_encode, dicts), "lxml, built and written", 20),
        beside(
            "encode JSON", encode(Format.JSON), through(kpn_encoder(dicts[0], "to_json"), ready), "kpn-senml"
        ),
        beside(
            "encode CBOR", encode(Format.CBOR), through(kpn_encoder(dicts[0], "to_cbor"), ready), "kpn-senml"
        ),
    ]
    some = [
        Report(members, r.values, (*r.quality[:40], *(3,) * 10), r.time_ns, included=b"\1\0" * 25)
        for r in ready
    ]
    unusual = [[dict(record) for record in orjson.loads(pack)] for pack in unusual_packs(members, some)]
    found.append(
        compare(
            "encode JSON, half the points, some bad",
            through(compile_encoder(members, site=SITE, form=Format.JSON).encode, some),
            through(orjson.dumps, unusual),
            peer_name="orjson, ready dicts",
            unit=UNIT,
            work=len(unusual[0]),
            quick=quick,
        )
    )
    typed = msgspec.json.Decoder(list[TypedRecord]).decode
    peers: dict[Format, tuple[Callable[[bytes], object], str]] = {
        Format.JSON: (typed, "msgspec, typed"),
        Format.CBOR: (cbor2.loads, "cbor2.loads"),
        Format.XML: (etree.fromstring, "lxml parse"),
    }
    targets: dict[Format, tuple[float, float | None]] = {
        Format.JSON: (0.7, None),
        Format.CBOR: (3.0, 0.4),
        Format.XML: (1.5, 0.25),
    }

    def decode(form: Format) -> Callable[[bytes], object]:
        decoder = compile_decoder(members, site=SITE, form=form).decode
        return lambda pack: decoder(pack, NOW_NS)

    for form in Format:
        peer, peer_name = peers[form]
        ours, theirs = through(decode(form), packs[form]), through(peer, packs[form])
        found.append(beside(f"decode {form.upper()}, our layout", ours, theirs, peer_name, targets[form][0]))
    for form in Format:
        peer, peer_name = peers[form]
        bound = targets[form][1]
        if form is Format.JSON:
            partly = unusual_packs(members, some)
            found.append(
                compare(
                    "decode JSON, half the points, some bad",
                    through(decode(form), partly),
                    through(peer, partly),
                    peer_name=peer_name,
                    unit=UNIT,
                    work=len(unusual[0]),
                    quick=quick,
                )
            )
        kinds: list[tuple[str, dict[str, Any], float | None]] = [
            ("foreign layout", {}, bound),
            ("foreign, pure numbers without unit", {"ratio": None}, None),
            ("foreign, another order each time", {"shuffled": True}, None),
        ]
        for kind, options, asked in kinds:
            foreign = foreign_packs(packs[form], form, **options)
            ours, theirs = through(decode(form), foreign), through(peer, foreign)
            found.append(beside(f"decode {form.upper()}, {kind}", ours, theirs, peer_name, asked))
    for form in Format:
        peer, peer_name = peers[form]
        general = ColumnDecoder(columns_of(members, site=SITE), form).decode_generally
        ours = through(partial(general, now_ns=NOW_NS), packs[form])
        found.append(
            beside(f"decode {form.upper()}, general way", ours, through(peer, packs[form]), peer_name)
        )
    return found


def unusual_packs(members: DataSet, some: Sequence[Report]) -> list[bytes]:
    """Returns packs of partial Reports with quality, in JSON."""
    encoder = compile_encoder(members, site=SITE, form=Format.JSON)
    return [encoder.encode(report) for report in some]


if __name__ == "__main__":
    main("SenML beside bare libraries", rows)
