"""IEC 60870-5-104 without I/O: outstation and master, links, ASDUs.

Nothing here opens a socket or reads a clock: ``now`` is monotonic seconds, ``utc_ns`` is ns since 1970 UTC,
both are given by the caller.

**Octets and objects**

``decode_asdu(data, coder=UTC_TIME) -> Asdu`` and ``encode_asdu(asdu, coder=UTC_TIME) -> bytes`` for one
ASDU with its ``InformationObject`` list; ``decode_columns(data, coder=...) -> Columns`` for many objects as
lists; ``pack_asdus(type_id, common_address, cause, *, addresses, values, qualities=0, times_ns=None,
qualifiers=0, sequence=False, originator=0, coder=UTC_TIME) -> list[bytes]`` packs any number of monitored
objects of one type, in order, into ASDUs of at most 249 octets. Normalized values are raw integers (value /
32768). ``TimeCoder(offset_minutes)`` is the zone of the time tags. Errors: ``DecodeError`` with offset,
``EncodeError``.

**Outstation** ::

    outstation = Outstation(OutstationConfig(groups=(GroupConfig(name="scada"),)), image)
    link = outstation.open_link("scada", now, peer="...")        # a connection was accepted
    outstation.receive_data(link, octets, now, utc_ns)           # or receive_eof(link, now, utc_ns)
    outstation.data_to_send(link, now) -> bytes                  # after every call: for each open link
    outstation.events() -> list[OutstationEvent]                 # after every call
    outstation.next_deadline() -> float | None                   # then handle_deadline(now, utc_ns)

    outstation.publish(asdus, utc_ns, groups=None)               # spontaneous, cyclic, background, return
    outstation.answer_command(token, accepted, now, utc_ns) -> bool            # only when the device answered
    outstation.terminate_command(token, now, utc_ns, accepted=True, returned=()) -> bool    # when it is done
    outstation.group_status(name) -> GroupStatus

``image`` is any object with the methods of ``ProcessImage``: ``common_addresses``, ``interrogate``,
``interrogate_counters``, ``freeze_counters``, ``read``, ``command_point``. Events: ``LinkStarted``,
``LinkStopped``, ``LinkClosed``, ``CommandRequested``, ``CommandReleased``, ``ClockSynchronised``,
``ResetRequested``, ``EventsDropped``.

``data_to_send`` draws replies, buffered events and running interrogations only as far as the window k is
open, so an adapter calls it, writes, waits until the socket has taken it, and calls it again when data came
in.

**Master** ::

    master = Master(MasterConfig(), now); master.start(now)
    master.receive_data(octets, now); master.receive_eof(now); master.data_to_send(now); master.events()
    master.next_deadline(); master.handle_deadline(now)
    master.interrogate(common_address, now, group=0) -> int      # each returns the number of the request
    master.interrogate_counters(common_address, now, group=0, freeze=FreezeMode.READ) -> int
    master.synchronise_clock(common_address, utc_ns, now) -> int
    master.read(common_address, address, now) -> int
    master.test(common_address, counter, utc_ns, now) -> int     # and test_untimed(common_address, now)
    master.reset_process(common_address, qualifier, now) -> int
    master.command(common_address, type_id, InformationObject(...), now, cancel=False, test=False) -> int

Its events: ``TransferStarted``, ``TransferStopped``, ``Closed``, ``DataReceived(columns)``,
``StationInitialised``, ``RequestProgress(request, outcome, done, columns)``, ``AsduIgnored``.

**Link** is the connection alone: ``Link(role, LinkParameters(), now)``, used by both.
"""

from s4g_gateway.codecs.iec104.asdu import Asdu, InformationObject, decode_asdu, encode_asdu
from s4g_gateway.codecs.iec104.columns import Columns, decode_columns, pack_asdus
from s4g_gateway.codecs.iec104.cp56time import UTC_TIME, TimeCoder, TimeTag, tag_of_clock
from s4g_gateway.codecs.iec104.elements import ASDU_TYPES, AsduType
from s4g_gateway.codecs.iec104.header import AsduHeader, answer_to, decode_header, encode_header, with_cause
from s4g_gateway.codecs.iec104.identifiers import (
    BROADCAST_ADDRESS,
    COMMAND_TYPES,
    MAX_ASDU_BYTES,
    MAX_OBJECT_ADDRESS,
    Cause,
    CounterQualifier,
    FreezeMode,
    QualityBit,
    ResetQualifier,
    TypeId,
)
from s4g_gateway.codecs.iec104.link import (
    AsduReceived,
    Closed,
    Link,
    LinkEvent,
    LinkParameters,
    TransferStarted,
    TransferStopped,
)
from s4g_gateway.codecs.iec104.link_states import LinkState, Role
from s4g_gateway.codecs.iec104.master import Master
from s4g_gateway.codecs.iec104.master_events import (
    AsduIgnored,
    DataReceived,
    MasterConfig,
    MasterEvent,
    Outcome,
    RequestProgress,
    StationInitialised,
)
from s4g_gateway.codecs.iec104.outstation.config import EndOfInitialisation, GroupConfig, OutstationConfig
from s4g_gateway.codecs.iec104.outstation.events import (
    ClockSynchronised,
    CommandRefused,
    CommandReleased,
    CommandRequested,
    EventsDropped,
    LinkClosed,
    LinkStarted,
    LinkStopped,
    OutstationEvent,
    RefusalReason,
    ReleaseReason,
    ResetRequested,
)
from s4g_gateway.codecs.iec104.outstation.group import GroupStatus
from s4g_gateway.codecs.iec104.outstation.process_image import CommandMode, CommandPoint, ProcessImage
from s4g_gateway.codecs.iec104.outstation.station import Outstation

__all__ = [
    "ASDU_TYPES",
    "BROADCAST_ADDRESS",
    "COMMAND_TYPES",
    "MAX_ASDU_BYTES",
    "MAX_OBJECT_ADDRESS",
    "UTC_TIME",
    "Asdu",
    "AsduHeader",
    "AsduIgnored",
    "AsduReceived",
    "AsduType",
    "Cause",
    "ClockSynchronised",
    "Closed",
    "Columns",
    "CommandMode",
    "CommandPoint",
    "CommandRefused",
    "CommandReleased",
    "CommandRequested",
    "CounterQualifier",
    "DataReceived",
    "EndOfInitialisation",
    "EventsDropped",
    "FreezeMode",
    "GroupConfig",
    "GroupStatus",
    "InformationObject",
    "Link",
    "LinkClosed",
    "LinkEvent",
    "LinkParameters",
    "LinkStarted",
    "LinkState",
    "LinkStopped",
    "Master",
    "MasterConfig",
    "MasterEvent",
    "Outcome",
    "Outstation",
    "OutstationConfig",
    "OutstationEvent",
    "ProcessImage",
    "QualityBit",
    "RefusalReason",
    "ReleaseReason",
    "RequestProgress",
    "ResetQualifier",
    "ResetRequested",
    "Role",
    "StationInitialised",
    "TimeCoder",
    "TimeTag",
    "TransferStarted",
    "TransferStopped",
    "TypeId",
    "answer_to",
    "decode_asdu",
    "decode_columns",
    "decode_header",
    "encode_asdu",
    "encode_header",
    "pack_asdus",
    "tag_of_clock",
    "with_cause",
]
