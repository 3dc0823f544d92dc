"""What every address meant, so that stored events never tell of another point after a change of the site."""

from __future__ import annotations

import struct
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final, Self

from s4g_gateway.profiles.iec104 import SignalList

_ROW: Final = struct.Struct("<HI8s")
SUFFIX: Final = ".addresses"


@dataclass(frozen=True, slots=True)
class AddressBook:
    """Station, address and a digest of reference, type and scaling of every monitored point.

    Attributes:
        rows: 14 octets for each.
        digest: names the content.
    """

    rows: bytes
    digest: str

    @classmethod
    def of(cls, signal_list: SignalList) -> Self:
        """Returns the book of a signal list."""
        rows = b"".join(
            _ROW.pack(
                signal.common_address,
                signal.ioa,
                blake2b(
                    f"{signal.reference} {signal.type_id:d} {signal.scaling}".encode(), digest_size=8
                ).digest(),
            )
            for signal in signal_list.signals
        )
        return cls(rows, blake2b(rows, digest_size=8).hexdigest())

    def unchanged_since(self, older: AddressBook) -> AbstractSet[tuple[int, int]]:
        """Returns the (common address, object address) that mean the same in both."""
        before = dict.fromkeys(_ROW.iter_unpack(older.rows))
        return {row[:2] for row in _ROW.iter_unpack(self.rows) if row in before}

    def write(self, folder: Path) -> None:
        """Puts the book into a folder, under its digest.

        Raises:
            OSError: the disk refuses.
        """
        path = folder / (self.digest + SUFFIX)
        if not path.exists():
            partial = path.with_suffix(".part")
            partial.write_bytes(self.rows)
            partial.replace(path)

    @classmethod
    def read(cls, folder: Path, digest: str) -> AddressBook | None:
        """Returns the book of that digest, None where there is none that is whole."""
        try:
            rows = (folder / (digest + SUFFIX)).read_bytes()
        except OSError:
            return None
        whole = len(rows) % _ROW.size == 0 and blake2b(rows, digest_size=8).hexdigest() == digest
        return cls(rows, digest) if whole else None

    def delete_others(self, folder: Path) -> None:
        """Deletes every other book of the folder.

        Raises:
            OSError: the disk refuses.
        """
        for path in folder.glob(f"*{SUFFIX}"):
            if path.stem != self.digest:
                path.unlink(missing_ok=True)
