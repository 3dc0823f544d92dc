"""What controllers say to each other, one object for each message of D3.1's Tables 5 to 12 and 18.

Powers are watts in the generator frame and times are ns since 1970 UTC; kilowatts, seconds and historic signs exist
only on the wire, where the interface catalogue converts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from s4g_gateway.controllers.plan import Plan, PlanAnswer
from s4g_gateway.controllers.series import Series


class RadialSolution(StrEnum):
    """The radial solution codes of Table 5; D3.1 names peak shaving and preventing flicker, the others are ours."""

    PEAK_SHAVING = "peak-shaving"
    VOLTAGE_SMOOTHING = "voltage-smoothing"
    SELF_CONSUMPTION = "self-consumption"
    PRICE = "price"


class EvFunction(StrEnum):
    """The functions of Table 9."""

    AVOID_OVERLOAD = "avoid-overload"
    VOLTAGE_CONTROL = "voltage-control"


@dataclass(frozen=True, slots=True, kw_only=True)
class EssStatus:
    """What the storage of a site is (Table 7, status): sent when it changes.

    Attributes:
        serial_number: device identification.
        radial_id: the DSO's name of the feeder.
        latitude: degrees north; None if unknown.
        longitude: degrees east; None if unknown.
        vendor: its maker.
        model: product name.
        capacity_wh: maximum capacity, >= 0.
        power_max_w: greatest charge and discharge power, >= 0.
        soc_min_pct: 0 to 100.
        soc_max_pct: 0 to 100, above ``soc_min_pct``.
    """

    serial_number: str
    radial_id: str
    vendor: str
    model: str
    capacity_wh: float
    power_max_w: float
    soc_min_pct: float
    soc_max_pct: float
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EssMeasurement:
    """How a site fares (Table 7, measurement): sent every minute.

    Attributes:
        serial_number: device identification.
        time_ns: of the measurement.
        battery_w: DC power, + discharges; None where it is not known now, as with each of the following.
        soc_pct: 0 to 100.
        pcc_w: + exports.
        pcc_var: + injects.
        voltage_v: one or three phase voltages.
        pv_w: >= 0.
        load_w: <= 0 while the household consumes.
        state: DERStateKind.
        errors: the maker's error codes, blank between.
        set_point_time_ns: start of the slot in force; None where there is none.
        request_time_ns: when GESSCon last said something.
        set_point_w: ordered DC power of that slot.
        rank: its strength, 1 to 255.
        accepted: whether the site follows it.
    """

    serial_number: str
    time_ns: int
    battery_w: float | None = None
    soc_pct: float | None = None
    pcc_w: float | None = None
    pcc_var: float | None = None
    voltage_v: tuple[float, ...] = ()
    pv_w: float | None = None
    load_w: float | None = None
    state: int | None = None
    errors: str = ""
    set_point_time_ns: int | None = None
    request_time_ns: int | None = None
    set_point_w: float | None = None
    rank: int | None = None
    accepted: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RadialMeasurement:
    """What a meter on a radial reads (Table 18): sent every minute.

    Attributes:
        serial_number: device identification.
        time_ns: of the measurement.
        power_w: + towards the grid.
        reactive_var: + injects.
        voltage_v: one or three phase voltages.
    """

    serial_number: str
    time_ns: int
    power_w: float
    reactive_var: float
    voltage_v: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RadialCommand:
    """What the aggregator wants of a radial (Table 5, command).

    Attributes:
        command_id: identity.
        radial_id: which radial.
        solution: what is wanted; None where the wire named a code that is none, which is answered with an error.
        start_ns: from when.
        stop_ns: until when.
    """

    command_id: str
    radial_id: str
    solution: RadialSolution | None
    start_ns: int
    stop_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RadialStatus:
    """What GESSCon answers the aggregator (Table 5, status), and sends again when the fleet changes.

    Attributes:
        command_id: of the command.
        set_point_time_ns: start of the slots that follow from it.
        accepted: whether it is being carried out.
        error: why not, or empty.
        ess_status_overview: JSON; one entry for each ESS of the radial.
        ess_bounds_overview: JSON; likewise, power and energy that are left.
    """

    command_id: str
    set_point_time_ns: int
    accepted: bool
    error: str = ""
    ess_status_overview: str = "[]"
    ess_bounds_overview: str = "[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleStatus:
    """What the professional GUI sees of a radial (Table 8).

    Attributes:
        radials_overview: JSON; one entry for each radial.
        radial_solution_code: what is being carried out, empty for nothing.
        ess_status_overview: JSON.
        ess_bounds_overview: JSON.
    """

    radials_overview: str
    radial_solution_code: str
    ess_status_overview: str
    ess_bounds_overview: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvFunctionCall:
    """What the professional GUI asks of GEVChCon (Table 9, command).

    Attributes:
        command_id: identity.
        function: which one.
        radial_id: where.
        timespan_s: for how long from now, > 0.
    """

    command_id: str
    function: EvFunction
    radial_id: str
    timespan_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvFunctionAnswer:
    """What GEVChCon answers (Table 9, status).

    Attributes:
        command_id: of the call.
        accepted: whether it is being carried out.
        error_codes: why not; empty where accepted.
    """

    command_id: str
    accepted: bool
    error_codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargingStatus:
    """What a charging site is (Table 10, status): once a day.

    Attributes:
        serial_number: device identification.
        health: 1 ok, 2 warning, 3 alarm.
        radial_id: the DSO's name of the feeder.
        location: for people.
        vendor: maker.
    """

    serial_number: str
    health: int
    radial_id: str
    location: str = ""
    vendor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargingMeasurement:
    """How charging goes (Table 10, measurement): every 1 to 10 s.

    Attributes:
        time_ns: of the measurement.
        power_w: all points together, <= 0 while charging.
        voltage_v: mean of the phases.
        soc_pct: energy-weighted mean of the cars that tell it; None where none does.
    """

    time_ns: int
    power_w: float
    voltage_v: float
    soc_pct: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargingForecast:
    """The load that charging will be (Table 12, up): once a day.

    Attributes:
        power_w: <= 0 in every slot.
    """

    power_w: Series


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargingLimit:
    """How much charging may take (Table 12 and Table 10, down).

    Attributes:
        command_id: identity.
        power_w: least (most negative) power for each slot, <= 0.
        rank: strength, 1 (strongest) to 255.
    """

    command_id: str
    power_w: Series
    rank: int = 1


SiteMessage = (
    EssStatus | EssMeasurement | PlanAnswer | ChargingStatus | ChargingMeasurement | ChargingForecast
)
"""What comes up from a site to a grid-side controller."""

GridMessage = Plan | ChargingLimit
"""What goes down to a site."""


@dataclass(frozen=True, slots=True)
class FromSite:
    """A message that came up.

    Attributes:
        site: who sent it, as authenticated.
        message: what it says.
    """

    site: str
    message: SiteMessage | RadialMeasurement


@dataclass(frozen=True, slots=True)
class ToSite:
    """A message that is to go down.

    Attributes:
        site: to whom.
        message: what it says.
    """

    site: str
    message: GridMessage
