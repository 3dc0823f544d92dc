"""The connector of the ``sunspec`` and ``modbus`` types: one connection, its devices, their pollers."""

from __future__ import annotations

import asyncio
import ssl

from s4g_gateway.errors import TransientError
from s4g_gateway.model import AddCause, Control, ControlAnswer, ControlPoint, ObjectReference, refused
from s4g_gateway.profiles.iec61850_90_7 import FunctionState
from s4g_gateway.runtime.contract import Services, SuppliedDataSet
from s4g_gateway.southbound.modbus_bus import ModbusBus
from s4g_gateway.southbound.modbus_config import ConnectionConfig
from s4g_gateway.southbound.modbus_device import ModbusDevice
from s4g_gateway.southbound.modbus_poller import DevicePoller
from s4g_gateway.southbound.set_points import SetPointStore

# How long a clean stop may take to give set-points back.
RELEASE_TIMEOUT_S = 5.0


class ModbusConnector:
    """A south-bound connector.

    Args:
        config: how the devices are reached.
        devices: the devices behind the connection.
        tls: context where the configuration asks for it.
    """

    def __init__(
        self, config: ConnectionConfig, devices: tuple[ModbusDevice, ...], tls: ssl.SSLContext | None = None
    ) -> None:
        self.devices = devices
        self._config = config
        self._tls = tls
        self._pollers: dict[str, DevicePoller] = {}

    @property
    def supplied(self) -> tuple[SuppliedDataSet, ...]:
        """The DataSets of all devices."""
        return tuple(supplied for device in self.devices for supplied in device.supplied)

    @property
    def controls(self) -> tuple[ControlPoint, ...]:
        """The controllable points of all devices."""
        return tuple(point for device in self.devices for point in device.controls)

    async def run(self, services: Services) -> None:
        """Polls every device until cancelled, then gives set-points back."""
        bus = ModbusBus(
            self._config, clock=services.clock, counters=services.counters, log=services.log, tls=self._tls
        )
        store = SetPointStore(services.state_directory)
        left = await store.load()
        if left:
            services.log.warning("set-points of an earlier run will be released", references=left)
        pollers = [DevicePoller(device, bus, services, store) for device in self.devices]
        self._pollers = {point.reference: poller for poller in pollers for point in poller.device.controls}
        try:
            async with asyncio.TaskGroup() as group:
                for poller in pollers:
                    group.create_task(poller.run(), name=f"{services.name}/{poller.device.config.label}")
        finally:
            self._pollers = {}
            await self._release(pollers, store, services)
            await bus.close()

    async def _release(self, pollers: list[DevicePoller], store: SetPointStore, services: Services) -> None:
        if not store.has_points:
            return
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                for poller in pollers:
                    await poller.release()
        except TimeoutError:
            pass
        if store.has_points:
            services.log.warning(
                "set-points could not be released; the next start will",
                references=tuple(reference for reference, _ in store.items()),
            )

    async def execute(self, control: Control) -> ControlAnswer:
        """Carries out one operate or release that arbitration has let through."""
        poller = self._pollers.get(control.reference)
        if poller is None:
            return refused(AddCause.NOT_SUPPORTED, f"{control.reference} is not controllable now")
        return await poller.execute(control)

    async def read_function(self, reference: ObjectReference, code: str) -> FunctionState:
        """Reads the state of a function from its device.

        Raises:
            TransientError: the device is out of reach.
            PermanentError: it lacks the function.
        """
        poller = self._pollers.get(reference)
        if poller is None:
            raise TransientError(f"{reference} cannot be read now")
        return await poller.read_function(reference, code)
