"""What the simulated sites share: one house, devices on sockets of their own, and time that moves on."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

from s4g_gateway.simulators.house import House, HouseRatings, HouseState

OnStep = Callable[[HouseState], None]


class DeviceServer(Protocol):
    """A simulated device that listens."""

    host: str

    @property
    def port(self) -> int:
        """Where it listens."""
        ...

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Begins to listen; port 0 takes a free one."""
        ...

    async def stop(self) -> None:
        """Stops; idempotent."""
        ...


class Deployment(ABC):
    """A house whose devices each listen on a port of their own.

    Args:
        seed: the same seed gives the same house.
        time_scale: simulated seconds per real second.
        step_s: real seconds between two steps.
        ratings: what is built into the house.
        start_s: simulated time at the start, s since 1970 UTC; None for now.
        on_step: called after each step, once the devices show it.

    Attributes:
        house: the physics.
        duration_s: simulated seconds of a step.
        servers: the devices' servers by name; subclasses fill it.
    """

    servers: Mapping[str, DeviceServer]

    def __init__(
        self,
        *,
        seed: int = 1,
        time_scale: float = 1.0,
        step_s: float = 0.5,
        ratings: HouseRatings | None = None,
        start_s: float | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        self.house = House(ratings, seed=seed, time_s=time.time() if start_s is None else start_s)
        self.duration_s = step_s * time_scale
        self._step_s = step_s
        self._on_step = on_step
        self._stepping: asyncio.Task[None] | None = None

    @abstractmethod
    def show(self) -> None:
        """Brings what every device shows up to date."""

    async def start(self, host: str = "127.0.0.1", ports: tuple[int, ...] = ()) -> None:
        """Starts the devices.

        Args:
            host: address of all of them.
            ports: one for each server, in order; free ones where there are none.
        """
        self.step()
        for server, port in zip(self.servers.values(), ports or (0,) * len(self.servers), strict=True):
            await server.start(host, port)
        self._stepping = asyncio.create_task(self._run(), name="simulated site")

    async def stop(self) -> None:
        """Stops the devices; idempotent."""
        if self._stepping is not None:
            self._stepping.cancel()
            await asyncio.wait([self._stepping])
            self._stepping = None
        for server in self.servers.values():
            await server.stop()

    def step(self) -> None:
        """Moves the house one step and shows it in every device."""
        state = self.house.step(self.duration_s)
        self.show()
        if self._on_step is not None:
            self._on_step(state)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s += self._step_s
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            self.step()
