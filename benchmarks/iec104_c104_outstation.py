"""c104 as outstation, in a process of its own; driven by benchmarks/iec104.py. Imports nothing of the product.

Arguments: number of points, send window, ``events`` for time-tagged points or ``present`` for untimed ones.
"""

import json
import resource
import socket
import sys

import c104

SIZE, WINDOW, EVENTS = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "events"
SETPOINTS = range(200_001, 200_009)


def on_setpoint(
    point: c104.Point, previous_info: c104.Information, message: c104.IncomingMessage
) -> c104.ResponseState:
    return c104.ResponseState.SUCCESS


with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
server = c104.Server(ip="127.0.0.1", port=port, tick_rate_ms=100)
server.protocol_parameters.send_window_size = WINDOW
station = server.add_station(common_address=1)
kind = c104.Type.M_ME_TF_1 if EVENTS else c104.Type.M_ME_NC_1
points = [station.add_point(io_address=10001 + i, type=kind) for i in range(SIZE)]
for address in SETPOINTS:
    station.add_point(io_address=address, type=c104.Type.C_SE_NC_1).on_receive(callable=on_setpoint)
for i, point in enumerate(points):
    point.value = float(i)
server.start()
print(port, flush=True)
turn = 0
for line in sys.stdin:
    words = line.split()
    if words[0] == "values":
        turn += 1
        chosen = points[int(words[1]) : int(words[1]) + int(words[2])]
        for i, point in enumerate(chosen):
            point.value = float(turn * 7 + i)
        server.transmit_batch(c104.Batch(cause=c104.Cot.SPONTANEOUS, points=chosen))
    else:
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(
            json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "rss_mb": used.ru_maxrss / 1024}), flush=True
        )
