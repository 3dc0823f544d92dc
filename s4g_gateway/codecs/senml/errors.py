"""The one error a SenML decoder raises."""

from __future__ import annotations

from s4g_gateway.errors import DecodeError


class SenmlDecodeError(DecodeError):
    """Bytes that are no SenML, or SenML that breaks a rule.

    Args:
        message: what was expected and what was found.
        record: number of the offending record, from 1; None where the whole pack is meant.
        offset: position of the offending byte, from 0; None where it is not known.
    """

    def __init__(self, message: str, *, record: int | None = None, offset: int | None = None) -> None:
        super().__init__(message if record is None else f"record {record}: {message}", offset=offset)
        self.record = record
