"""The three representations and their media types."""

from __future__ import annotations

from enum import StrEnum

from s4g_gateway.errors import LocalProtocolError


class Format(StrEnum):
    """A representation of SenML; EXI is not among them.

    Source: RFC 8428 §12.3 (media types), §12.4 (CoAP Content-Formats).
    """

    JSON = "json"
    CBOR = "cbor"
    XML = "xml"

    @property
    def media_type(self) -> str:
        """Media type of a pack."""
        return f"application/senml+{self.value}"

    @property
    def stream_media_type(self) -> str:
        """Media type of a SensML stream."""
        return f"application/sensml+{self.value}"

    @property
    def content_format(self) -> int:
        """CoAP Content-Format number of a pack; that of a stream is one higher."""
        return {"json": 110, "cbor": 112, "xml": 310}[self.value]


def format_of(media_type: str) -> Format:
    """Returns the representation a media type names; parameters after ``;`` are ignored.

    Raises:
        LocalProtocolError: it names none of ours.
    """
    essence = media_type.partition(";")[0].strip().lower()
    for form in Format:
        if essence in (form.media_type, form.stream_media_type):
            return form
    known = ", ".join(form.media_type for form in Format)
    raise LocalProtocolError(f"media type {media_type!r}; expected one of {known}")
