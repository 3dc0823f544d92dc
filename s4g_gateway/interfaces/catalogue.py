"""The interface catalogue: all 28 interfaces of D3.1, read from the data files beside this module.

Source: Storage4Grid D3.1 §4.1, Tables 3 to 20.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from types import MappingProxyType

from s4g_gateway.interfaces._file import FileRules, InterfaceFile, read_file
from s4g_gateway.interfaces.description import Direction, FilledBy, Interface, Message
from s4g_gateway.interfaces.errors import CatalogueError

_ABOUT = "SOURCE.toml"


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """All interfaces, in the order of D3.1's numbers, the unnumbered one last.

    Attributes:
        interfaces: the descriptions.
        by_slug: the same by their slug.
    """

    interfaces: tuple[Interface, ...]
    by_slug: Mapping[str, Interface] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_slug = {interface.slug: interface for interface in self.interfaces}
        object.__setattr__(self, "by_slug", MappingProxyType(by_slug))

    def __iter__(self) -> Iterator[Interface]:
        return iter(self.interfaces)

    def __len__(self) -> int:
        return len(self.interfaces)

    def interface(self, name: str) -> Interface:
        """Returns an interface by its slug or by D3.1's name.

        Raises:
            KeyError: there is none; the message lists the slugs.
        """
        for interface in self.interfaces:
            if name in (interface.slug, interface.id):
                return interface
        raise KeyError(f"no interface {name!r}; the catalogue has {', '.join(self.by_slug)}")

    def message(self, name: str) -> Message:
        """Returns a message by interface and message slug, such as ``lessag-eb/measurement``.

        Raises:
            KeyError: there is none.
        """
        interface, _, message = name.partition("/")
        return self.interface(interface).message(message)

    def messages(self) -> Iterator[Message]:
        """Yields every message of every interface."""
        for interface in self.interfaces:
            yield from interface.messages


def build_catalogue(files: Mapping[str, str]) -> Catalogue:
    """Builds a catalogue from the text of its data files.

    Args:
        files: text of each file by its name, such as ``lessag-eb.toml``.

    Returns:
        The catalogue.

    Raises:
        CatalogueError: the first finding, with file and key.
    """
    read: dict[str, InterfaceFile] = {}
    numbers: dict[int, str] = {}
    for name in sorted(files):
        loaded = read_file(name, files[name])
        number = loaded.interface.number
        if number is not None and numbers.setdefault(number, name) != name:
            raise CatalogueError(name, "number", f"{number} is the number of {numbers[number]} too")
        read[loaded.interface.slug] = loaded
    interfaces = [_complete(loaded, read) for loaded in read.values()]
    interfaces.sort(key=lambda interface: (interface.number is None, interface.number or 0, interface.id))
    return Catalogue(tuple(interfaces))


@cache
def load_catalogue() -> Catalogue:
    """Returns the catalogue of this product; read and checked once.

    Raises:
        CatalogueError: a data file of the installation is damaged.
    """
    folder = resources.files(__package__) / "data"
    names = [entry.name for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return build_catalogue(
        {name: (folder / name).read_text(encoding="utf-8") for name in names if name != _ABOUT}
    )


def _complete(loaded: InterfaceFile, read: Mapping[str, InterfaceFile]) -> Interface:
    """Adds the messages that an interface takes over from another one."""
    interface, filled = loaded.interface, loaded.interface.filled_by
    if filled is None or not filled.messages_of:
        return interface
    source = read.get(filled.messages_of)
    if source is None:
        raise CatalogueError(
            loaded.file, "filled_by.messages_of", f"no interface {filled.messages_of!r} in the catalogue"
        )
    _check_replacement(loaded, source, filled)
    taken = tuple(
        _taken_over(message, interface.slug, loaded.replace) for message in source.interface.messages
    )
    return replace(interface, messages=interface.messages + taken)


def _check_replacement(loaded: InterfaceFile, source: InterfaceFile, filled: FilledBy) -> None:
    result = {loaded.replace.get(end, end) for end in source.interface.ends}
    if result != set(loaded.interface.ends):
        raise CatalogueError(
            loaded.file,
            "filled_by.replace",
            f"turns the ends of {filled.messages_of} into {sorted(result)}, "
            f"expected {sorted(loaded.interface.ends)}",
        )
    rules = FileRules(loaded.file)
    if source.interface.filled_by is not None and source.interface.filled_by.messages_of:
        rules.fail(
            "filled_by.messages_of", f"{filled.messages_of} takes its messages from another one itself"
        )
    if loaded.interface.messages:
        rules.fail("message", f"stands beside filled_by.messages_of = {filled.messages_of!r}; expected one")


def _taken_over(message: Message, slug: str, names: Mapping[str, str]) -> Message:
    hops = tuple(
        Direction(sender=names.get(hop.sender, hop.sender), receiver=names.get(hop.receiver, hop.receiver))
        for hop in message.directions
    )
    text = " → ".join([hops[0].sender, *(hop.receiver for hop in hops)])
    return replace(message, interface=slug, directions=hops, direction_text=text, ours=True)
