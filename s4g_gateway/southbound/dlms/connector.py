"""The ``dlms`` connector: DLMS/COSEM meters, read by one worker process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from s4g_gateway.errors import ConfigError, EncodeError, PermanentError, Problem, ProfileError, TransientError
from s4g_gateway.model import NS_PER_S, AddCause, Control, ControlAnswer, ControlPoint, DataSet, refused
from s4g_gateway.profiles.dlms import (
    CompiledMeter,
    canonical_obis,
    compile_meter,
    load_object_map,
    symbol_of,
)
from s4g_gateway.runtime.contract import ConnectorType, Services, SiteContext, SuppliedDataSet
from s4g_gateway.runtime.worker import Worker
from s4g_gateway.southbound.dlms.config import DlmsConfig, DlmsMeterConfig
from s4g_gateway.southbound.dlms.key_files import Secrets, load_secrets
from s4g_gateway.southbound.dlms.listen import listen_address
from s4g_gateway.workers.dlms.hdlc_frame import encode_address
from s4g_gateway.workers.dlms.plan import MeterPlan, WorkerPlan, to_builtins

MODULE = "s4g_gateway.workers.dlms"
PROFILE_TIMEOUT_S = 120.0
_LAST_NS = 4_102_444_800 * NS_PER_S  # the year 2100: more does not fit a COSEM date
_MECHANISMS = {"none": 0, "lls": 1, "hls-gmac": 5}


@dataclass(frozen=True, slots=True)
class ConfiguredMeter:
    """A meter as configured.

    Attributes:
        name: in the site.
        config: its keys.
        compiled: its points.
        secrets: its password or keys.
    """

    name: str
    config: DlmsMeterConfig
    compiled: CompiledMeter
    secrets: Secrets


class DlmsConnector:
    """A south-bound connector.

    Args:
        config: its keys.
        meters: the meters.
    """

    def __init__(self, config: DlmsConfig, meters: tuple[ConfiguredMeter, ...]) -> None:
        self._config = config
        self._meters = meters
        self._worker: Worker | None = None
        self.push_port: int | None = None

    @property
    def supplied(self) -> tuple[SuppliedDataSet, ...]:
        """One DataSet per meter."""
        return tuple(
            SuppliedDataSet(data_set=meter.compiled.data_set, period_s=meter.config.period_s)
            for meter in self._meters
        )

    @property
    def controls(self) -> tuple[ControlPoint, ...]:
        """None: meters are only read."""
        return ()

    async def run(self, services: Services) -> None:
        """Reads the meters until cancelled."""
        plan = self.plan(services.state_directory)
        data_sets: list[DataSet] = [meter.compiled.data_set for meter in self._meters]
        worker = self._worker = Worker(
            MODULE,
            start=to_builtins(plan),
            data_sets=data_sets,
            on_report=services.database.publish,
            on_ready=self._is_ready,
        )
        try:
            await worker.run(services)
        finally:
            self._worker = None

    async def execute(self, control: Control) -> ControlAnswer:
        """Refuses: a meter has no controllable point."""
        return refused(AddCause.NOT_SUPPORTED, f"{control.reference} is not controllable")

    async def ask(self, device: str, question: str, body: Mapping[str, Any]) -> Any:
        """Answers ``profile``: the rows of a meter's load profile, with units.

        Args:
            device: name of a meter in the site.
            question: ``profile``.
            body: ``from_ns`` and ``to_ns``, ns since 1970 UTC.

        Raises:
            PermanentError: another question, no such meter, or the meter refuses.
            TransientError: the meter or the worker does not answer now.
        """
        if question != "profile" or device not in self.devices:
            raise PermanentError(f"{question!r} to {device!r}: expected 'profile' to a meter")
        times = [body.get("from_ns"), body.get("to_ns")]
        if len(body) != 2 or not all(type(each) is int and 0 <= each < _LAST_NS for each in times):
            raise PermanentError("expected from_ns and to_ns, ns since 1970 UTC")
        if self._worker is None:
            raise TransientError("the connector does not run")
        found = await self._worker.call("profile", {"device": device, **body}, timeout_s=PROFILE_TIMEOUT_S)
        for column in found["columns"]:
            column["unit"] = symbol_of(column.pop("unit_code"))
        return found

    @property
    def worker_process_id(self) -> int | None:
        """Process id of the worker while there is one."""
        return None if self._worker is None else self._worker.process_id

    @property
    def devices(self) -> Mapping[str, DataSet]:
        """The meters by name, with their points."""
        return {meter.name: meter.compiled.data_set for meter in self._meters}

    def plan(self, state_directory: Path) -> WorkerPlan:
        """Returns what the worker is told.

        Args:
            state_directory: where invocation counters are kept.
        """
        host, port = listen_address(self._config.listen) if self._config.listen else ("", 0)
        meters = [
            _plan(index, meter, self._config, state_directory) for index, meter in enumerate(self._meters)
        ]
        return WorkerPlan(meters=meters, listen_host=host, listen_port=port)

    def _is_ready(self, info: Any) -> None:
        self.push_port = info.get("push_port")


def _plan(index: int, meter: ConfiguredMeter, config: DlmsConfig, state_directory: Path) -> MeterPlan:
    device, security = meter.config, meter.config.security
    has_counter = security.authentication == "hls-gmac"
    # one counter per key and title; another title starts another file
    counter_file = state_directory / f"{meter.name}.{security.system_title.lower()}.counter"
    return MeterPlan(
        name=meter.name,
        data_set_index=index,
        host=device.host,
        port=device.port,
        serial_path=device.serial.path if device.serial is not None else "",
        baud_rate=device.serial.baud_rate if device.serial is not None else 0,
        link=device.link,
        client_address=device.client_address,
        server_address=device.server_address,
        physical_address=device.physical_address,
        address_bytes=device.address_bytes,
        short_names=device.referencing == "short-names",
        mechanism=_MECHANISMS[security.authentication],
        ciphered=security.ciphered,
        password=meter.secrets.password,
        encryption_key=meter.secrets.encryption_key,
        authentication_key=meter.secrets.authentication_key,
        system_title=bytes.fromhex(security.system_title),
        meter_system_title=bytes.fromhex(security.meter_system_title),
        device_name=device.device_name,
        counter_file=str(counter_file.absolute()) if has_counter else "",
        counter_obis=canonical_obis(security.counter_obis) if security.counter_obis else "",
        period_s=device.period_s,
        timeout_s=config.timeout_s,
        retry_min_s=config.retry_min_s,
        retry_max_s=config.retry_max_s,
        list_size=device.list_size,
        profile_obis=canonical_obis(device.profile_obis) if device.profile_obis else "",
        profile_base_name=device.profile_base_name,
        push_objects=[canonical_obis(obis) for obis in device.push_objects],
        points=list(meter.compiled.points),
    )


def create(name: str, config: DlmsConfig, context: SiteContext) -> DlmsConnector:
    """Compiles the connector; offline.

    Raises:
        ConfigError: everything that is wrong, keys relative to the connector's table.
    """
    problems: list[Problem] = []
    if find_spec("gurux_dlms") is None:
        expected = "the library of DLMS meters: pip install 's4g-gateway[dlms]'"
        problems.append(Problem(file="", key="type", found="no package gurux_dlms", expected=expected))
    meters: list[ConfiguredMeter] = []
    names: dict[str, str] = {}
    for position, device in enumerate(config.device):
        key = f"device[{position}]"
        meter_name = device.name_in_site(name, len(config.device))
        if names.setdefault(meter_name, key) != key:
            expected = f"a name that {names[meter_name]} does not have"
            problems.append(Problem(file="", key=f"{key}.name", found=repr(device.name), expected=expected))
        problems += [_under(key, problem) for problem in _device_problems(device)]
        secrets = Secrets()
        try:
            secrets = load_secrets(device.security, context.directory)
        except ConfigError as error:
            problems += [_under(f"{key}.security", problem) for problem in error.problems]
        compiled = _compiled(meter_name, device, context, key, problems)
        if compiled is not None:
            meters.append(ConfiguredMeter(meter_name, device, compiled, secrets))
    problems += _shared_references(meters)
    if config.retry_min_s > config.retry_max_s:
        expected = f"at most retry_max_s ({config.retry_max_s})"
        problems.append(Problem(file="", key="retry_min_s", found=str(config.retry_min_s), expected=expected))
    if config.listen:
        try:
            listen_address(config.listen, insecure=config.insecure)
        except ProfileError as error:
            problems.append(Problem(file="", key="listen", found=repr(config.listen), expected=str(error)))
    if problems:
        raise ConfigError(problems)
    return DlmsConnector(config, tuple(meters))


def _under(key: str, problem: Problem) -> Problem:
    return problem if problem.file else replace(problem, key=f"{key}.{problem.key}")


def _compiled(
    name: str, device: DlmsMeterConfig, context: SiteContext, key: str, problems: list[Problem]
) -> CompiledMeter | None:
    try:
        object_map = load_object_map(device.meter, context.directory)
        return compile_meter(
            object_map,
            name,
            device.logical_device,
            short_names=device.referencing == "short-names",
            meter_sign=device.meter_sign,
        )
    except ConfigError as error:
        problems += [_under(key, problem) for problem in error.problems]
    except ProfileError as error:
        problems.append(
            Problem(file="", key=f"{key}.meter", found=str(error), expected="an object map that fits")
        )
    return None


def _device_problems(device: DlmsMeterConfig) -> list[Problem]:
    problems = []

    def add(key: str, found: str, expected: str) -> None:
        problems.append(Problem(file="", key=key, found=found, expected=expected))

    if bool(device.host) == (device.serial is not None):
        add("host", "both" if device.host else "neither", "either host or serial")
    if device.serial is not None and device.link == "wrapper":
        add("link", "'wrapper' on a serial line", "hdlc or mode-e")
    if device.link == "wrapper" and device.physical_address is not None:
        add("physical_address", str(device.physical_address), "none: the wrapper has one address")
    if device.link != "wrapper":
        try:
            encode_address(device.server_address, device.physical_address, size=device.address_bytes)
        except EncodeError as error:
            add("address_bytes", str(error), "room for both addresses")
    for key, codes in (
        ("security.counter_obis", (device.security.counter_obis,)),
        ("profile_obis", (device.profile_obis,)),
        ("push_objects", device.push_objects),
    ):
        for code in filter(None, codes):
            try:
                canonical_obis(code)
            except ProfileError as error:
                add(key, repr(code), str(error).partition("; ")[2])
    if device.push_objects and device.serial is not None:
        add("push_objects", "objects of a meter on a serial line", "a host, which messages come from")
    if device.push_objects and device.security.ciphered and not device.security.meter_system_title:
        add("security.meter_system_title", "nothing", "the title by which pushed messages are known")
    return problems


def _shared_references(meters: list[ConfiguredMeter]) -> list[Problem]:
    owners: dict[str, str] = {}
    problems = []
    for position, meter in enumerate(meters):
        for reference in meter.compiled.data_set.references:
            owner = owners.setdefault(reference, meter.name)
            if owner != meter.name:
                expected = f"another logical_device than that of {owner}"
                key = f"device[{position}].logical_device"
                problems.append(Problem(file="", key=key, found=reference, expected=expected))
                break
    return problems


DLMS = ConnectorType(
    config=DlmsConfig, create=create, summary="DLMS/COSEM meters over TCP, HDLC or a serial line"
)
