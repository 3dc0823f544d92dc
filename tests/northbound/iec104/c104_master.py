"""A c104 master in a process of its own: one JSON request per line in, one JSON answer per line out.

c104 is GPL-3; nothing of the product is imported here, and nothing of it is imported by the product.
"""

import json
import sys
import threading
import time

import c104

EVENTS: list = []
LOCK = threading.Lock()


def on_new_station(client: c104.Client, connection: c104.Connection, common_address: int) -> None:
    connection.add_station(common_address=common_address)


def on_receive(
    point: c104.Point, previous_info: c104.Information, message: c104.IncomingMessage
) -> c104.ResponseState:
    with LOCK:
        EVENTS.append(
            (
                point.station.common_address,
                point.io_address,
                message.type.name,
                message.cot.name,
                plain(message.info.value),
                str(message.info.quality),
            )
        )
    return c104.ResponseState.SUCCESS


def on_new_point(client: c104.Client, station: c104.Station, io_address: int, point_type: c104.Type) -> None:
    point = station.add_point(io_address=io_address, type=point_type)
    point.on_receive(callable=on_receive)


def on_unexpected(connection: c104.Connection, message: c104.IncomingMessage, cause: c104.Umc) -> None:
    with LOCK:
        EVENTS.append((message.common_address, message.io_address, "unexpected", cause.name, None, ""))


def plain(value):
    if isinstance(value, c104.Double):
        return value.name
    if isinstance(value, bool | float | type(None)):
        return value
    try:
        return int(value)
    except TypeError:
        return float(value)


def command(connection, request):
    station = connection.get_station(common_address=request["ca"])
    point = station.get_point(io_address=request["ioa"]) or station.add_point(
        io_address=request["ioa"], type=getattr(c104.Type, request["type"])
    )
    point.command_mode = getattr(c104.CommandMode, request.get("mode", "DIRECT"))
    value = request["value"]
    if request["type"].startswith("C_DC"):
        value = getattr(c104.Double, value)
    elif request["type"].startswith("C_SE_NA"):
        value = c104.NormalizedFloat(value)
    elif request["type"].startswith("C_SE_NB"):
        value = c104.Int16(value)
    elif request["type"].startswith("C_RC"):
        value = getattr(c104.Step, value)
    point.value = value
    return point.transmit(cause=c104.Cot.ACTIVATION)


def take(request):
    """Waits until enough arrived, then returns and forgets it."""
    deadline = time.monotonic() + request.get("timeout_s", 5)
    while time.monotonic() < deadline:
        with LOCK:
            if len(EVENTS) >= request["count"]:
                break
        time.sleep(0.01)
    with LOCK:
        taken = list(EVENTS)
        EVENTS.clear()
    return taken


def main() -> None:
    client = c104.Client(tick_rate_ms=100, command_timeout_ms=5000)
    client.on_new_station(callable=on_new_station)
    client.on_new_point(callable=on_new_point)
    connection = client.add_connection(ip="127.0.0.1", port=int(sys.argv[1]), init=c104.Init.NONE)
    connection.on_unexpected_message(callable=on_unexpected)
    client.start()
    deadline = time.monotonic() + 10
    while not connection.is_connected and time.monotonic() < deadline:
        time.sleep(0.01)
    connection.unmute()  # STARTDT
    print(json.dumps(connection.is_connected), flush=True)
    operations = {
        "interrogate": lambda r: connection.interrogation(common_address=r["ca"]),
        "counters": lambda r: connection.counter_interrogation(common_address=r["ca"]),
        "clock": lambda r: connection.clock_sync(common_address=r["ca"]),
        "test": lambda r: connection.test(common_address=r["ca"]),
        "command": lambda r: command(connection, r),
        "take": take,
    }
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(operations[request["op"]](request)), flush=True)
    client.stop()


main()
