"""Topics: ``s4g/v1/<site>/<node>/<interface>/<message>``, for what is asked of a node ``/<sender>`` after it.

=========  =====================================================================  ======================
what       topic                                                                  who publishes
=========  =====================================================================  ======================
state      ``s4g/v1/<site>/<node>/<interface>/<message>``                         node
command    ``s4g/v1/<site>/<node>/<interface>/<message>/<sender>``                sender, to node
answer     ``s4g/v1/<site>/<node>/<interface>/<message>-answer``                  node
request    ``s4g/v1/<site>/<node>/<interface>/<message>/<sender>``                sender, to node
=========  =====================================================================  ======================

The answer to a request is the state topic of the same message. So a client publishes under its own name only:
as the node, or as the last part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from s4g_gateway.interfaces.catalogue import load_catalogue
from s4g_gateway.interfaces.description import ANSWER_SUFFIX, Interface, Kind, Message
from s4g_gateway.interfaces.errors import TopicError

ROOT = "s4g/v1"
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9-]{0,62}"
"""What a site, a node and a sender match."""

_NAME = re.compile(NAME_PATTERN + r"\Z")


class TopicKind(StrEnum):
    """What a topic carries."""

    STATE = "state"
    COMMAND = "command"
    ANSWER = "answer"
    REQUEST = "request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic taken apart.

    Attributes:
        site: name of the site.
        node: the sender; for commands and requests the addressee.
        interface: slug of the interface.
        message: the message's description, for an answer that of its command.
        kind: what it carries.
        sender: who commands or asks, empty otherwise.
    """

    site: str
    node: str
    interface: str
    message: Message
    kind: TopicKind
    sender: str = ""

    @property
    def publisher(self) -> str:
        """The client that publishes here: the only one a broker should let."""
        return self.sender or self.node

    def __str__(self) -> str:
        slug = self.message.slug + (ANSWER_SUFFIX if self.kind is TopicKind.ANSWER else "")
        parts = [ROOT, self.site, self.node, self.interface, slug]
        return "/".join(parts + ([self.sender] if self.sender else []))


def topic(
    site: str, node: str, interface: Interface | str, message: Message | str, *, sender: str | None = None
) -> str:
    """Returns a topic.

    Args:
        site: name of the site.
        node: the sender; for commands and requests the addressee.
        interface: an interface or its slug.
        message: a message or its slug; ``<slug>-answer`` for the answer to a command.
        sender: who commands or asks; None for anything else.

    Raises:
        TopicError: a name breaks its pattern, the catalogue has no such message, or a command has no sender
            or another message has one.
    """
    slug = interface if isinstance(interface, str) else interface.slug
    name = message if isinstance(message, str) else message.slug
    text = "/".join([ROOT, site, node, slug, name, *([] if sender is None else [sender])])
    return str(parse_topic(text))


def parse_topic(text: str) -> Topic:
    """Takes a topic apart.

    Raises:
        TopicError: as ``topic``, or the text has another form.
    """
    parts = text.split("/")
    if "/".join(parts[:2]) != ROOT or len(parts) not in (6, 7):
        raise TopicError(f"{text!r}: expected {ROOT}/<site>/<node>/<interface>/<message>[/<sender>]")
    site, node, slug, name = parts[2:6]
    sender = parts[6] if len(parts) == 7 else None
    for part, value in (("site", site), ("node", node), ("sender", sender)):
        if value is not None and _NAME.match(value) is None:
            raise TopicError(f"{text!r}: {part} is {value!r}, expected {NAME_PATTERN}")
    interface = load_catalogue().by_slug.get(slug)
    if interface is None:
        raise TopicError(f"{text!r}: the catalogue has no interface {slug!r}")
    plain = name.removesuffix(ANSWER_SUFFIX)
    message = next((message for message in interface.messages if message.slug == plain), None)
    if message is None:
        known = ", ".join(message.slug for message in interface.messages) or "none"
        raise TopicError(f"{text!r}: {interface.id} has no message {name!r}; it has {known}")
    kind = _kind(text, message, answer=plain != name, sent=sender is not None)
    return Topic(site=site, node=node, interface=slug, message=message, kind=kind, sender=sender or "")


def _kind(text: str, message: Message, *, answer: bool, sent: bool) -> TopicKind:
    if answer:
        if message.kind is not Kind.COMMAND or sent:
            raise TopicError(f"{text!r}: expected an answer to commands only, and without sender")
        return TopicKind.ANSWER
    if message.kind is Kind.COMMAND:
        if not sent:
            raise TopicError(f"{text!r}: {message.name} is a command, expected its sender last")
        return TopicKind.COMMAND
    if sent:
        if message.kind is not Kind.REQUEST:
            raise TopicError(f"{text!r}: {message.name} is no command, expected no sender")
        return TopicKind.REQUEST
    return TopicKind.STATE


def topic_filter(
    site: str = "+", node: str = "+", interface: str = "+", message: str = "+", *, sender: str | None = None
) -> str:
    """Returns an MQTT topic filter; ``+`` stands for any.

    Args:
        site: a site's name.
        node: a node's name.
        interface: an interface's slug.
        message: a message's slug.
        sender: a sender's name, for commands and requests; None for everything else.

    Raises:
        TopicError: a name breaks its pattern.
    """
    parts = [site, node, interface, message, *([] if sender is None else [sender])]
    for part in parts:
        if part != "+" and _NAME.match(part) is None:
            raise TopicError(f"{part!r} in a topic filter: expected + or {NAME_PATTERN}")
    return "/".join([ROOT, *parts])
