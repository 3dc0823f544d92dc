"""ObjectReference: the name of every point of a site, ``LDName/LN.DO[.sub]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType

from s4g_gateway.errors import ModelError

ObjectReference = NewType("ObjectReference", str)

_PATTERN = re.compile(
    r"(?P<ld>[A-Za-z][A-Za-z0-9_-]{0,63})/"
    r"(?:(?P<lln0>LLN0)|(?P<prefix>[A-Za-z][A-Za-z0-9_]{0,10}?)??(?P<ln_class>[A-Z]{4})(?P<instance>[0-9]{1,7})?)"
    r"\.(?P<data>[A-Z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)*)\Z"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceParts:
    """An ObjectReference taken apart.

    Attributes:
        logical_device: LDName, such as ``ESS1``.
        prefix: prefix of the LN, often empty.
        ln_class: LN class of four letters, such as ``DSTO``.
        instance: instance number as written, empty for LLN0.
        data: DO and its sub-names, such as ``PhV.phsA``.
    """

    logical_device: str
    prefix: str
    ln_class: str
    instance: str
    data: str

    @property
    def logical_node(self) -> str:
        """The LN's full name, such as ``DSTO1``."""
        return f"{self.prefix}{self.ln_class}{self.instance}"

    @property
    def data_object(self) -> str:
        """The first name of ``data``, such as ``PhV``."""
        return self.data.partition(".")[0]


def parse_reference(text: str) -> ReferenceParts:
    """Takes an ObjectReference apart.

    Args:
        text: such as ``ESS1/DSTO1.SocEffWhPct`` or ``PCC1/MMXU1.PhV.phsA``.

    Returns:
        Its parts.

    Raises:
        ModelError: the text is no ObjectReference.

    Source: IEC 61850-7-2 ObjectReference (clause unverified; the form is fixed by the project's design).
    """
    match = _PATTERN.match(text)
    if match is None:
        raise ModelError(
            f"{text!r} is no ObjectReference; expected LDName/LN.DO[.sub], e.g. ESS1/DSTO1.SocEffWhPct"
        )
    return ReferenceParts(
        logical_device=match["ld"],
        prefix=match["prefix"] or "",
        ln_class=match["lln0"] or match["ln_class"],
        instance=match["instance"] or "",
        data=match["data"],
    )
