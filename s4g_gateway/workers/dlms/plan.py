"""What the worker is told at its start: meters, how they are reached, which objects are points."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class PointPlan(msgspec.Struct, frozen=True, kw_only=True):
    """An object that is a point.

    Attributes:
        obis: logical name, as text.
        class_id: interface class.
        attribute: of the value.
        base_name: short name, 0 for none.
        position: in the DataSet.
        factor: 1 or -1: from the meter's sign to the model's.
        units: unit codes that are right; others make the value invalid.
        scaler: power of ten where the object has no scaler-unit of its own; None to read it.
        minimum: smallest plausible value; None for any.
        maximum: greatest plausible value; None for any.
    """

    obis: str
    class_id: int
    attribute: int
    base_name: int
    position: int
    factor: int
    units: list[int]
    scaler: int | None = None
    minimum: float | None = None
    maximum: float | None = None

    @property
    def logical_name(self) -> bytes:
        """The OBIS code as bytes."""
        return obis_bytes(self.obis)


class MeterPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A meter.

    Attributes:
        name: in logs and calls.
        data_set_index: its DataSet.
        host: where to; empty with ``serial_path``.
        port: where to.
        serial_path: serial device; empty with ``host``.
        baud_rate: of the serial line.
        link: how APDUs are carried.
        client_address: ours.
        server_address: the meter's: wrapper port or upper HDLC address.
        physical_address: lower HDLC address; None for none.
        address_bytes: length of its HDLC address; 0 for the shortest.
        short_names: true for short-name referencing.
        mechanism: 0 none, 1 LLS, 5 HLS-GMAC.
        ciphered: true to encrypt and authenticate every APDU.
        password: of LLS.
        encryption_key: of suite 0.
        authentication_key: of suite 0.
        system_title: ours, 8 bytes.
        meter_system_title: the meter's; empty takes the first one seen.
        device_name: logical device name; empty takes the first one seen.
        counter_file: path of its invocation counter.
        counter_obis: where the public client reads the meter's view of our counter; empty for nowhere.
        period_s: between two readings.
        timeout_s: for one answer.
        retry_min_s: wait before the first new attempt; doubles with every failure.
        retry_max_s: longest wait between attempts.
        list_size: most objects in one request.
        profile_obis: of the load profile; empty for none.
        profile_base_name: its short name.
        push_objects: OBIS codes in the order of the meter's DataNotification; empty where it does not push.
        points: its points.
    """

    name: str
    data_set_index: int
    host: str
    port: int
    serial_path: str
    baud_rate: int
    link: Literal["wrapper", "hdlc", "mode-e"]
    client_address: int
    server_address: int
    physical_address: int | None
    address_bytes: int
    short_names: bool
    mechanism: int
    ciphered: bool
    password: bytes
    encryption_key: bytes
    authentication_key: bytes
    system_title: bytes
    meter_system_title: bytes
    device_name: str
    counter_file: str
    counter_obis: str
    period_s: float
    timeout_s: float
    retry_min_s: float
    retry_max_s: float
    list_size: int
    profile_obis: str
    profile_base_name: int
    push_objects: list[str]
    points: list[PointPlan]

    @property
    def line(self) -> str:
        """What only one meter at a time can use: the serial line, or the meter's own connection."""
        return self.serial_path or f"{self.host}:{self.port}"


class WorkerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything.

    Attributes:
        meters: the meters.
        listen_host: where pushed messages are taken; empty for nowhere.
        listen_port: its port; 0 takes a free one.
    """

    meters: list[MeterPlan]
    listen_host: str = ""
    listen_port: int = 0


def to_builtins(plan: WorkerPlan) -> Any:
    """Returns a plan as plain builtins, for the start of the worker."""
    return msgspec.to_builtins(plan, builtin_types=(bytes,))


def from_builtins(start: Any) -> WorkerPlan:
    """Reads what the worker got."""
    return msgspec.convert(start, WorkerPlan)


def obis_bytes(text: str) -> bytes:
    """Returns a checked OBIS code of six numbers with points as bytes."""
    return bytes(map(int, text.split(".")))
