"""A worker for tests: does on call what a bad library does."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

from s4g_gateway.errors import GatewayError
from s4g_gateway.model import ControlAnswer

GLIBC = ctypes.PyDLL(None)  # holds the interpreter's lock while it is in C


def main(channel):
    start = channel.start
    if start == "never ready":
        channel.receive()
        return
    if start == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel.ready(start)
    if start == "flood":
        flood(channel)
    while True:
        frame = channel.receive()
        match type(frame).__name__:
            case "StopFrame":
                if start == "farewell":
                    channel.send_report(0, [0.0, 0], [0, 0], 1)
                    channel.call("release", None)
                if start == "stubborn":
                    time.sleep(600)
                return
            case "ControlFrame":
                channel.answer(frame, ControlAnswer(accepted=True, detail=repr(frame.control)))
            case "ReportFrame":
                channel.call("report", [list(channel.report(frame).values), list(frame.positions())])
            case "CallFrame":
                handle(channel, frame)


def flood(channel):
    number = 0
    while not channel.stopping:
        number += 1
        channel.send_report(0, [float(number), number], [0, 0], number)
        frame = channel.receive(0)
        if type(frame).__name__ == "ControlFrame":
            channel.answer(frame, ControlAnswer(accepted=True))


def handle(channel, frame):
    body = frame.body
    reply = body
    match frame.name:
        case "silent":
            return
        case "refuse":
            channel.refuse(frame, body)
            return
        case "refuse for now":
            channel.refuse(frame, body, transient=True)
            return
        case "crash":
            ctypes.string_at(0)
        case "end":
            os._exit(body)
        case "fail":
            raise RuntimeError(body)
        case "print":
            for number in range(body):
                print("out", number)
                print("err", number, file=sys.stderr)
            os.write(1, b"x" * 1_000_000 + b"\n\xff\x00\x1b[31m binary\n")
        case "sleep":
            time.sleep(body)
        case "hold the interpreter":
            GLIBC.sleep(body)
        case "raw":
            channel._socket.sendall(body)
        case "reports":
            for number in range(body):
                channel.send_report(
                    0, [float(number), number], [0, 3], [number, number + 1], included=b"\1\0"
                )
        case "bad report":
            try:
                channel.send_report(0, *body, 1)
            except GatewayError as error:
                reply = str(error)
        case "log":
            for number in range(body):
                channel.log("warning", "said", number=number, event="mine", exc_info=True)
        case "count":
            channel.count("asked_total", 2)
            channel.count("asked_total")
            channel.gauge("depth_m", 1.5)
        case "ask":
            try:
                reply = channel.call(*body, timeout_s=60)
            except GatewayError as error:
                reply = [type(error).__name__, str(error)]
        case "ask much":
            for _ in range(body):
                asking = {"target": channel.call, "args": ("hold", None), "kwargs": {"timeout_s": 600}}
                threading.Thread(**asking, daemon=True).start()
        case "operate":
            reply = operate(channel)
        case "hold":
            channel.call("hold", None, timeout_s=600)
        case "facts":
            reply = {
                "modules": sorted(sys.modules),
                "nice": os.nice(0),
                "session": os.getsid(0),
                "stdin": os.read(0, 1),
                "argv": sys.argv[1:],
            }
        case "child":
            script = "import time; time.sleep(600)"
            child = subprocess.Popen([sys.executable, "-c", script], start_new_session=body)
            reply = child.pid
    channel.reply(frame, reply)


def operate(channel):
    from s4g_gateway.model import Control, Origin, OriginCategory

    answer = channel.operate(
        Control(
            reference="ESS1/DWGC1.WSpt",
            value=2.0,
            origin=Origin(category=OriginCategory.STATION_CONTROL, identity="client"),
            ctl_num=200,
            time_ns=5,
        )
    )
    return [answer.accepted, int(answer.add_cause), answer.detail]
