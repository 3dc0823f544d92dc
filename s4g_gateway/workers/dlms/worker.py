"""The worker's threads: one per line, so that a dead meter delays only those that share its line."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from typing import Any

from s4g_gateway.errors import GatewayError
from s4g_gateway.workers.contract import CallFrame, Channel, StopFrame
from s4g_gateway.workers.dlms.faults import FaultKind, MeterFaultError
from s4g_gateway.workers.dlms.load_profile import read_profile
from s4g_gateway.workers.dlms.plan import MeterPlan, from_builtins
from s4g_gateway.workers.dlms.push import PushListener
from s4g_gateway.workers.dlms.reader import MeterReader


class LineThread(threading.Thread):
    """Reads the meters of one line in turn.

    Args:
        plans: the meters.
        channel: to the gateway.
    """

    def __init__(self, plans: list[MeterPlan], channel: Channel) -> None:
        super().__init__(name=plans[0].line, daemon=True)
        self.readers = {plan.name: MeterReader(plan, channel, exclusive=len(plans) > 1) for plan in plans}
        self._channel = channel
        self._condition = threading.Condition()
        self._calls: deque[CallFrame] = deque()
        self._stopped = False

    def ask(self, frame: CallFrame) -> None:
        """Takes a call for one of the meters; it is answered between two readings."""
        with self._condition:
            self._calls.append(frame)
            self._condition.notify()

    def stop(self) -> None:
        """Ends the thread after what it is doing."""
        with self._condition:
            self._stopped = True
            self._condition.notify()

    def run(self) -> None:
        """Reads until stopped."""
        try:
            while True:
                reader = min(self.readers.values(), key=lambda each: each.due_s)
                with self._condition:
                    if not self._stopped and not self._calls:
                        self._condition.wait(max(0.0, reader.due_s - time.monotonic()))
                    if self._stopped:
                        break
                    frame = self._calls.popleft() if self._calls else None
                if frame is not None:
                    self._answer(frame)
                elif reader.due_s <= time.monotonic():
                    reader.poll()
        finally:
            for reader in self.readers.values():
                reader.close()

    def _answer(self, frame: CallFrame) -> None:
        reader = self.readers[frame.body["device"]]
        try:
            self._channel.reply(frame, read_profile(reader, frame.body["from_ns"], frame.body["to_ns"]))
        except MeterFaultError as fault:
            reader.close()
            self._channel.refuse(frame, str(fault), transient=fault.kind is not FaultKind.REFUSED)
        except GatewayError as error:
            self._channel.refuse(frame, str(error))


def main(channel: Channel) -> None:
    """Reads the meters that ``channel.start`` names until told to stop."""
    # Gurux prints a line for every APDU it deciphers.
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the life of the process
    plan = from_builtins(channel.start)
    lines: dict[str, list[MeterPlan]] = {}
    for meter in plan.meters:
        lines.setdefault(meter.line, []).append(meter)
    threads = [LineThread(plans, channel) for plans in lines.values()]
    by_meter = {name: thread for thread in threads for name in thread.readers}
    info: dict[str, Any] = {"meters": len(plan.meters)}
    if plan.listen_host:
        readers = [reader for thread in threads for reader in thread.readers.values()]
        listener = PushListener(plan.listen_host, plan.listen_port, readers, channel)
        info["push_port"] = listener.port
        listener.start()
    for thread in threads:
        thread.start()
    channel.ready(info)
    while not isinstance(frame := channel.receive(1.0), StopFrame):
        dead = [thread.name for thread in threads if not thread.is_alive()]
        if dead:
            raise GatewayError(f"the thread of {dead[0]} ended")
        if isinstance(frame, CallFrame):
            _dispatch(frame, by_meter, channel)
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.join(1.0)


def _dispatch(frame: CallFrame, by_meter: dict[str, LineThread], channel: Channel) -> None:
    body = frame.body
    if frame.name != "profile" or not isinstance(body, dict):
        channel.refuse(frame, f"{frame.name!r} is no call of this worker")
        return
    thread = by_meter.get(body.get("device", ""))
    if thread is None:
        channel.refuse(frame, f"no meter {body.get('device')!r}; there are {', '.join(by_meter) or 'none'}")
        return
    thread.ask(frame)
