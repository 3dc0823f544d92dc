"""A worker for tests: does on call what a bad library does."""

import ctypes
import os
import sys
import time

from s4g_gateway.model import ControlAnswer


def main(channel):
    channel.ready(channel.start)
    while True:
        frame = channel.receive()
        match type(frame).__name__:
            case "StopFrame":
                return
            case "ControlFrame":
                channel.answer(frame, ControlAnswer(accepted=True, detail=repr(frame.control)))
            case "ReportFrame":
                channel.call("report", [frame.data_set_index, frame.values, list(frame.positions())])
            case "CallFrame":
                if frame.name in ACTIONS:
                    ACTIONS[frame.name](channel, frame.body)
                if frame.name == "silent":
                    continue
                if frame.name == "refuse":
                    channel.refuse(frame, frame.body)
                    continue
                channel.reply(frame, frame.body)


def crash(channel, body):
    ctypes.string_at(0)


def end(channel, body):
    os._exit(body)


def fail(channel, body):
    raise RuntimeError(body)


def print_lots(channel, body):
    for number in range(body):
        print("out", number)
        print("err", number, file=sys.stderr)
    os.write(1, b"x" * 1_000_000 + b"\n\xff\x00\x1b[31m binary\n")


def sleep(channel, body):
    time.sleep(body)


def hold_interpreter(channel, body):
    ctypes.PyDLL(None).sleep(body)


def garbage(channel, body):
    channel._socket.sendall(body)


def report(channel, body):
    for number in range(body):
        channel.send_report(0, [float(number), number], [0, 0], 1_700_000_000_000_000_000 + number)


def ask(channel, body):
    channel.log("info", "asked", got=channel.call("double", body))
    channel.count("asked_total", 2)
    channel.gauge("depth_m", 1.5)


ACTIONS = {
    name.__name__: name
    for name in (crash, end, fail, print_lots, sleep, hold_interpreter, garbage, report, ask)
}
