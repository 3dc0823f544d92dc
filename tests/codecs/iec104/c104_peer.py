"""c104 as master or outstation in a process of its own: JSON requests in, JSON answers out, one per line.

c104 is GPL-3: nothing of the product is imported here.
"""

import json
import sys
import threading
import time
from pathlib import Path

import c104

SEEN: list = []
LOCK = threading.Lock()


def note(*item: object) -> None:
    with LOCK:
        SEEN.append(item)


def plain(value: object) -> object:
    if isinstance(value, (c104.Double, c104.Step)):
        return value.name
    if isinstance(value, (bool, float, str, type(None))):
        return value
    if isinstance(value, c104.Byte32):
        return int.from_bytes(bytes(value), "little")
    if isinstance(value, c104.NormalizedFloat):
        return float(value)
    return int(value)  # type: ignore[call-overload]


def on_receive(
    point: c104.Point, previous_info: c104.Information, message: c104.IncomingMessage
) -> c104.ResponseState:
    note(point.io_address, message.type.name, message.cot.name, plain(message.info.value))
    return c104.ResponseState.FAILURE if point.io_address == 99 else c104.ResponseState.SUCCESS


def on_new_station(client: c104.Client, connection: c104.Connection, common_address: int) -> None:
    connection.add_station(common_address=common_address)


def on_new_point(client: c104.Client, station: c104.Station, io_address: int, point_type: c104.Type) -> None:
    station.add_point(io_address=io_address, type=point_type).on_receive(callable=on_receive)


def take(request: dict) -> list:
    """Waits until enough was seen, then returns it."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with LOCK:
            if len(SEEN) >= request["count"]:
                break
        time.sleep(0.005)
    with LOCK:
        taken = list(SEEN)
        SEEN.clear()
    return taken


def command(connection: c104.Connection, request: dict) -> bool:
    station = connection.get_station(common_address=1) or connection.add_station(common_address=1)
    point = station.get_point(io_address=request["ioa"])
    if point is None:
        point = station.add_point(io_address=request["ioa"], type=getattr(c104.Type, request["type"]))
    point.command_mode = (
        c104.CommandMode.SELECT_AND_EXECUTE if request.get("select") else c104.CommandMode.DIRECT
    )
    kind, value = request["type"][:7], request["value"]
    point.value = {
        "C_SC_NA": lambda: bool(value),
        "C_SC_TA": lambda: bool(value),
        "C_DC_NA": lambda: c104.Double.ON if value == 2 else c104.Double.OFF,
        "C_RC_NA": lambda: c104.Step.HIGHER if value == 2 else c104.Step.LOWER,
        "C_SE_NA": lambda: c104.NormalizedFloat(value),
        "C_SE_NB": lambda: c104.Int16(value),
        "C_SE_NC": lambda: value,
        "C_SE_TC": lambda: value,
        "C_BO_NA": lambda: c104.Byte32(value),
    }[kind]()
    return point.transmit(cause=c104.Cot.ACTIVATION)


def master(port: int) -> None:
    client = c104.Client(tick_rate_ms=100, command_timeout_ms=5000)
    client.on_new_station(callable=on_new_station)
    client.on_new_point(callable=on_new_point)
    connection = client.add_connection(ip="127.0.0.1", port=port, init=c104.Init.NONE)
    client.start()
    deadline = time.monotonic() + 10
    while not connection.is_connected and time.monotonic() < deadline:
        time.sleep(0.005)
    connection.unmute()
    serve(
        connection.is_connected,
        {
            "interrogate": lambda r: connection.interrogation(
                common_address=1, qualifier=getattr(c104.Qoi, r.get("qoi", "STATION"))
            ),
            "counters": lambda r: connection.counter_interrogation(common_address=1),
            "clock": lambda r: connection.clock_sync(common_address=1),
            "test": lambda r: connection.test(common_address=1),
            "command": lambda r: command(connection, r),
            "read": lambda r: connection.get_station(1).get_point(r["ioa"]).read(),
            "reconnect": lambda r: (connection.disconnect(), connection.connect()) and True,
            "unmute": lambda r: connection.unmute(),
            "take": take,
        },
    )
    client.stop()


def outstation(port: int) -> None:
    server = c104.Server(ip="127.0.0.1", port=port, tick_rate_ms=100)
    station = server.add_station(common_address=1)
    for address in range(1, 301):
        station.add_point(io_address=address + 1000, type=c104.Type.M_ME_NC_1).value = address / 2
    single = station.add_point(io_address=10, type=c104.Type.M_SP_NA_1)
    single.value = True
    counter = station.add_point(io_address=20, type=c104.Type.M_IT_NA_1)
    counter.value = 7
    for address, kind, mode in (
        (50, c104.Type.C_SC_NA_1, c104.CommandMode.DIRECT),
        (51, c104.Type.C_SE_NC_1, c104.CommandMode.SELECT_AND_EXECUTE),
        (99, c104.Type.C_SC_NA_1, c104.CommandMode.DIRECT),
    ):
        station.add_point(io_address=address, type=kind, command_mode=mode).on_receive(callable=on_receive)
    server.start()
    serve(server.is_running, {"take": take, "change": lambda r: single.transmit(cause=c104.Cot.SPONTANEOUS)})
    server.stop()


def serve(ready: bool, operations: dict) -> None:
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(operations[request["op"]](request)), flush=True)


if __name__ == "__main__":
    assert Path(c104.__file__).exists()
    {"master": master, "outstation": outstation}[sys.argv[1]](int(sys.argv[2]))
