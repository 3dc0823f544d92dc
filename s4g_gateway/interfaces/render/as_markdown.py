"""The catalogue as Markdown; ``docs/interfaces.md`` is this text."""

from __future__ import annotations

from collections.abc import Iterator

from s4g_gateway.interfaces.catalogue import Catalogue
from s4g_gateway.interfaces.description import Carrier, Frame, Interface, Kind, Message, Variable

_INTRODUCTION = """# Interfaces

<!-- Written by `s4g interfaces --format markdown`. Change the data files, not this page. -->

Every message between two Storage4Grid components, as D3.1 §4.1 defines it and as this product sends it.

- **Topics** are `s4g/v1/<site>/<node>/<interface>/<message>`, with the slugs below. The node is the sender.
  For a command or a request the node is the addressee and `/<sender>` stands last; a command is answered on
  `<message>-answer`, a request on the message's own topic.
- **Names** are `<site>/<logical device>/<name>`. The logical devices are conventions: PV1 generation, ESS1
  storage, PCC1 grid connection, LOAD1 loads, EV1 charging point with vehicle, ER1 energy router, GEN1 back
  generation, SUB1 sub-meter, S4G1 the component itself. A site may call them otherwise.
- **Signs** are those of the generator frame: positive power leaves the equipment or the site. A record with
  the name of an ObjectReference always has this sign. *Magnitude* means never negative.
- **Units** are D3.1's. A message with `bver` 26 has SenML secondary units (RFC 9100).
- **Arrays** travel as one record per slot, with the slot's start as its time.
- **M** mandatory, **O** optional.
"""
_COLUMNS = ("D3.1", "Name", "Unit", "Type", "Range", "Canonical", "Sign", "M/O")


def render_markdown(catalogue: Catalogue) -> str:
    """Returns the catalogue as one Markdown page."""
    lines = [_INTRODUCTION]
    lines += _table(
        ("No.", "Interface", "Slug", "D3.1", "Messages", "Filled by"),
        (
            (
                "" if interface.number is None else str(interface.number),
                f"[{interface.id}](#{interface.slug})",
                f"`{interface.slug}`",
                interface.table or f"§{interface.section}",
                str(len(interface.messages)),
                interface.filled_by.standard if interface.filled_by else "the table",
            )
            for interface in catalogue
        ),
    )
    for interface in catalogue:
        lines += _interface(interface)
    return "\n".join(lines) + "\n"


def _interface(interface: Interface) -> Iterator[str]:
    yield f'\n## <a id="{interface.slug}"></a>{interface.id}\n'
    place = f"D3.1 §{interface.section}"
    if interface.table and not interface.table.startswith("§"):
        place += f", {interface.table}"
    yield f"{interface.summary[:1].upper()}{interface.summary[1:]}. {place}."
    if interface.information_models:
        yield f"Information model in D3.1's Table 20: {'; '.join(interface.information_models)}."
    if interface.filled_by is not None:
        filled = interface.filled_by
        chosen = f"named in D3.1 {filled.standard_source}" if filled.standard_source else "our choice"
        owner = "Our decision" if filled.marked_as_ours else "D3.1"
        yield f"\nFilled by **{filled.standard}** ({chosen}). {owner}: {filled.decision}"
    for message in interface.messages:
        yield from _message(message)


def _message(message: Message) -> Iterator[str]:
    yield f"\n### {message.name}\n"
    ours = ", ours" if message.ours else ""
    yield f"{message.title} ({message.kind}{ours}): {_sentence(message.description)}"
    facts = [message.direction_text, message.period.text]
    if message.per_device:
        facts.append(f"for each device, here {message.per_device}")
    if message.kind in (Kind.COMMAND, Kind.REQUEST):
        facts.append("topic with sender")
    if not message.open:
        facts.append(f"`bver` {message.senml_version}")
    yield f"{'; '.join(facts)}.\n"
    if message.open:
        yield "Open: its variables are the site's own points."
        return
    yield from _table(_COLUMNS, (_row(variable) for variable in message.variables))


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _row(variable: Variable) -> tuple[str, ...]:
    name = "time of the records" if variable.carrier is Carrier.TIME else f"`{variable.name}`"
    if variable.device:
        name = f"`{variable.device}/{variable.name}`"
    kind = f"{variable.value_type}, array" if variable.array else str(variable.value_type)
    canonical = f"`{variable.reference}`" if variable.reference else "none"
    if variable.factor != 1:
        canonical += f" in {variable.unit} × {variable.factor:g}"
    sign = "" if variable.frame is Frame.NONE else str(variable.frame)
    if variable.half:
        sign = f"{sign}, {'positive' if variable.sign > 0 else 'negative'} half"
    wording = variable.d31 + (f" *({variable.part})*" if variable.part else "")
    if variable.note:
        wording += f"<br>{variable.note}"
    mandatory = "M" if variable.mandatory else "O"
    unit = f"`{variable.wire_unit}`" if variable.wire_unit else ""
    return wording, name, unit, kind, _range(variable), canonical, sign, mandatory


def _range(variable: Variable) -> str:
    if variable.values:
        return ", ".join(f"{literal.value}" for literal in variable.values)
    low, high = variable.wire_range()
    if low is None and high is None:
        return f"`{variable.pattern}`" if variable.pattern else ""
    return f"{'' if low is None else f'{low:g}'} .. {'' if high is None else f'{high:g}'}".strip()


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
