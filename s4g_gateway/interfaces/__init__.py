"""The interface catalogue: every message between two Storage4Grid components, described once.

Codecs, topics, access rights, documentation and conformance tests are derived from it.
Source: Storage4Grid D3.1 §4.1.
"""

from s4g_gateway.interfaces.catalogue import Catalogue, build_catalogue, load_catalogue
from s4g_gateway.interfaces.commands import Command, CommandAnswer
from s4g_gateway.interfaces.controls import command_controls
from s4g_gateway.interfaces.description import (
    Carrier,
    Direction,
    FilledBy,
    Frame,
    Interface,
    Kind,
    Literal,
    Message,
    Period,
    PeriodKind,
    Variable,
    interface_slug,
)
from s4g_gateway.interfaces.errors import CatalogueError, CommandError, MessageError, TopicError
from s4g_gateway.interfaces.messages import MessageBinding, WireField, bind_message, message_data_set
from s4g_gateway.interfaces.plans import plan_columns, plan_reports
from s4g_gateway.interfaces.topics import Topic, TopicKind, parse_topic, topic, topic_filter

__all__ = [
    "Carrier",
    "Catalogue",
    "CatalogueError",
    "Command",
    "CommandAnswer",
    "CommandError",
    "Direction",
    "FilledBy",
    "Frame",
    "Interface",
    "Kind",
    "Literal",
    "Message",
    "MessageBinding",
    "MessageError",
    "Period",
    "PeriodKind",
    "Topic",
    "TopicError",
    "TopicKind",
    "Variable",
    "WireField",
    "bind_message",
    "build_catalogue",
    "command_controls",
    "interface_slug",
    "load_catalogue",
    "message_data_set",
    "parse_topic",
    "plan_columns",
    "plan_reports",
    "topic",
    "topic_filter",
]
