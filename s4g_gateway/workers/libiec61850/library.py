"""The shared library: where it is found, and the prototypes of what we call.

It comes bundled in the wheel of the extra ``iec61850``, whose Python part is never imported: it holds the
interpreter's lock while it waits, and so deadlocks. ctypes releases that lock during every call.

The prototypes are data, ``data/prototypes.csv``: name, what is returned, what is taken.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from s4g_gateway.errors import ModelError, PermanentError
from s4g_gateway.model.tables import rows

DISTRIBUTION: Final = "pyiec61850-ng"
EXTRA: Final = "iec61850"


class ApplicationError(ctypes.Structure):
    """LastApplError as the library returns it."""

    _fields_ = (("ctl_num", ctypes.c_int), ("error", ctypes.c_int), ("add_cause", ctypes.c_int))


_TYPES: Mapping[str, Any] = MappingProxyType(
    {
        "void": None,
        "pointer": ctypes.c_void_p,
        "text": ctypes.c_char_p,
        "bool": ctypes.c_bool,
        "int": ctypes.c_int,
        "u8": ctypes.c_uint8,
        "u16": ctypes.c_uint16,
        "u32": ctypes.c_uint32,
        "u64": ctypes.c_uint64,
        "i16": ctypes.c_int16,
        "i32": ctypes.c_int32,
        "i64": ctypes.c_int64,
        "f32": ctypes.c_float,
        "f64": ctypes.c_double,
        "int*": ctypes.POINTER(ctypes.c_int),
        "bool*": ctypes.POINTER(ctypes.c_bool),
        "appl_error": ApplicationError,
    }
)


def shared_library(installed: Iterable[Path]) -> Path | None:
    """Returns the one libiec61850 among the files of a distribution, None where there is none.

    Its name carries a hash that changes with every release, so it is looked for by pattern.
    """
    found = [
        path for path in installed if path.parent.name.endswith(".libs") and path.match("libiec61850*.so*")
    ]
    return min(found) if found else None


def library_path() -> Path:
    """Finds the shared library of the installed wheel.

    Raises:
        PermanentError: the wheel is not installed, or holds no library; the message names the extra.
    """
    advice = f"install s4g-gateway[{EXTRA}]"
    try:
        wheel = distribution(DISTRIBUTION)
    except PackageNotFoundError as error:
        raise PermanentError(f"IEC 61850 needs libiec61850: {advice}") from error
    path = shared_library(Path(str(wheel.locate_file(entry))) for entry in wheel.files or ())
    if path is None or not path.exists():
        raise PermanentError(f"{DISTRIBUTION} {wheel.version} holds no libiec61850*.so*: {advice}")
    return path


@cache
def load() -> Any:
    """Returns the loaded library with every prototype set; loaded once.

    Raises:
        PermanentError: it is missing, cannot be loaded, or lacks one of the functions.
    """
    path = library_path()
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise PermanentError(f"{path} cannot be loaded: {error}") from error
    text = (files(__package__) / "data" / "prototypes.csv").read_text(encoding="utf-8")
    set_prototypes(library, text)
    return library


def set_prototypes(library: Any, text: str) -> None:
    """Sets result and argument types of every function in the table.

    Args:
        library: a ``ctypes.CDLL``.
        text: content of ``prototypes.csv``.

    Raises:
        ModelError: an unknown type; the message names the line.
        PermanentError: the library lacks a function.
    """
    for row in rows("prototypes.csv", text, ("name", "returns", "arguments")):
        kinds = [row["returns"], *row["arguments"].split()]
        for kind in kinds:
            if kind not in _TYPES:
                raise row.fail(f"unknown type {kind!r}, expected one of {', '.join(_TYPES)}")
        if "void" in kinds[1:]:
            raise ModelError(f"prototypes.csv line {row.line}: no argument is void")
        try:
            function = getattr(library, row["name"])
        except AttributeError as error:
            raise PermanentError(f"this libiec61850 has no {row['name']}; install the bundled one") from error
        function.restype = _TYPES[kinds[0]]
        function.argtypes = [_TYPES[kind] for kind in kinds[1:]]


def version() -> str:
    """Returns the library's own version, such as ``1.6.1``."""
    text: bytes = load().LibIEC61850_getVersionString()
    return text.decode("ascii", "replace")
