"""The schedule of one storage: when to charge and when to discharge so that a site's energy costs least.

In each slot of h hours, with powers in kW::

    bought - sold = load - pv + curtailed + charged - discharged
    energy = energy before + efficiency_charge * charged * h - discharged * h / efficiency_discharge

within the limits of storage, PV and PCC. Cost is what is bought less what is sold, plus wear for each kWh moved. A
PCC limit that load or PV break alone is exceeded by as little as possible, and told as slack.

Source: the model that reproduces Storage4Grid's published day (D4.5 §5 names the constraints and does not write them
out); efficiencies per direction and penalised slack are decided by this project.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from s4g_gateway.controllers.errors import ControllerError
from s4g_gateway.controllers.series import Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_S_PER_H = 3600
# Far above any price of energy: a limit is broken only where nothing else is possible.
_SLACK_PRICE = 1_000.0
# Far below any: of equally good slots the earliest charges.
_TIE_PRICE = 1e-6
_BOUGHT, _SOLD, _CHARGED, _DISCHARGED, _CURTAILED, _ENERGY, _OVER_IMPORT, _OVER_EXPORT = range(8)
_KINDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRequest:
    """What a schedule is wanted for; every tuple has one entry for each slot.

    Attributes:
        start_ns: start of the first slot, ns since 1970 UTC.
        slot_s: length of a slot in whole seconds, >= 1.
        soc_pct: at the start.
        capacity_wh: energy between 0 and 100 %, > 0.
        charge_max_w: >= 0.
        discharge_max_w: >= 0.
        pv_w: >= 0.
        load_w: <= 0.
        buy_price: per kWh.
        sell_price: per kWh, in no slot above ``buy_price``.
        soc_min_pct: 0 to 100; a start below it need only not fall further.
        soc_max_pct: above ``soc_min_pct``.
        efficiency_charge: above 0 to 1.
        efficiency_discharge: above 0 to 1.
        import_limit_w: at the PCC, >= 0; None for none.
        export_limit_w: likewise.
        wear_per_kwh: cost of each kWh charged or discharged, >= 0.
        end_soc_pct: at least this at the end; None for no wish.
        can_curtail: whether PV may be given up.

    Raises:
        ControllerError: a member breaks its limits.
    """

    start_ns: int
    slot_s: int
    soc_pct: float
    capacity_wh: float
    charge_max_w: float
    discharge_max_w: float
    pv_w: tuple[float, ...]
    load_w: tuple[float, ...]
    buy_price: tuple[float, ...]
    sell_price: tuple[float, ...]
    soc_min_pct: float = 0.0
    soc_max_pct: float = 100.0
    efficiency_charge: float = 0.96
    efficiency_discharge: float = 0.96
    import_limit_w: float | None = None
    export_limit_w: float | None = None
    wear_per_kwh: float = 0.0
    end_soc_pct: float | None = None
    can_curtail: bool = True

    def __post_init__(self) -> None:
        columns = {"pv_w": self.pv_w, "load_w": self.load_w}
        columns |= {"buy_price": self.buy_price, "sell_price": self.sell_price}
        if not self.pv_w or len({len(column) for column in columns.values()}) != 1:
            lengths = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
            raise ControllerError(f"expected as many slots everywhere, at least one: found {lengths}")
        for name, column in columns.items():
            for at, value in enumerate(column):
                if not isfinite(value):
                    raise ControllerError(f"{name}[{at}]: found {value}, expected a finite number")
        for at, (buy, sell) in enumerate(zip(self.buy_price, self.sell_price, strict=True)):
            if sell > buy:
                raise ControllerError(f"sell_price[{at}]: found {sell}, expected at most buy_price, {buy}")
        checks = {
            "slot_s": self.slot_s >= 1,
            "capacity_wh": self.capacity_wh > 0,
            "charge_max_w": self.charge_max_w >= 0,
            "discharge_max_w": self.discharge_max_w >= 0,
            "soc_pct": 0 <= self.soc_pct <= 100,
            "soc_min_pct": 0 <= self.soc_min_pct < self.soc_max_pct <= 100,
            "efficiency_charge": 0 < self.efficiency_charge <= 1,
            "efficiency_discharge": 0 < self.efficiency_discharge <= 1,
            "import_limit_w": self.import_limit_w is None or self.import_limit_w >= 0,
            "export_limit_w": self.export_limit_w is None or self.export_limit_w >= 0,
            "wear_per_kwh": self.wear_per_kwh >= 0,
            "end_soc_pct": self.end_soc_pct is None or 0 <= self.end_soc_pct <= self.soc_max_pct,
            "pv_w": min(self.pv_w) >= 0,
            "load_w": max(self.load_w) <= 0,
        }
        for name, good in checks.items():
            if not good:
                raise ControllerError(f"{name}: found {getattr(self, name)}, which is beyond its limits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule.

    Attributes:
        battery_w: power of each slot, + discharges.
        curtailed_w: PV given up in each slot, >= 0.
        soc_pct: at the end of each slot.
        cost: what is bought less what is sold, without wear and penalties.
        purchase_wh: energy bought.
        sale_wh: energy sold.
        over_import_w: greatest power above the import limit, 0 where it holds.
        over_export_w: likewise.
    """

    battery_w: Series
    curtailed_w: Series
    soc_pct: tuple[float, ...]
    cost: float
    purchase_wh: float
    sale_wh: float
    over_import_w: float
    over_export_w: float


def solve_schedule(request: ScheduleRequest) -> Schedule:
    """Returns the cheapest schedule.

    Raises:
        ControllerError: the extra ``planning`` is missing, or there is no schedule, such as where ``end_soc_pct``
            is out of reach.
    """
    try:
        import highspy
        import numpy as np
    except ImportError as error:
        raise ControllerError("planning needs HiGHS: pip install 's4g-gateway[planning]'") from error
    solver = highspy.Highs()
    solver.silent()
    solver.setOptionValue("threads", 1)
    solver.passModel(_model(request, highspy, np))
    solver.run()
    status = solver.getModelStatus()
    if status != highspy.HighsModelStatus.kOptimal:
        raise ControllerError(f"no schedule: {solver.modelStatusToString(status)}")
    return _schedule(request, np.asarray(solver.getSolution().col_value), np)


def _model(request: ScheduleRequest, highspy: Any, np: Any) -> Any:
    """Returns the model: 8 columns a slot, kind by kind, and a row of balance and one of energy for each slot."""
    slots = len(request.pv_w)
    hours = request.slot_s / _S_PER_H
    lower, upper, cost = _columns(request, highspy.kHighsInf, np)
    # Where getting rid of energy pays, an LP would burn it by charging and discharging at one time.
    pays = np.asarray(request.buy_price) < 0
    if not request.can_curtail:
        pays |= (np.asarray(request.sell_price) < 0) | (request.export_limit_w is not None)
    exclusive = np.flatnonzero(pays)
    at = np.arange(slots)
    entries = [
        (at, _BOUGHT, 1.0),
        (at, _SOLD, -1.0),
        (at, _CHARGED, -1.0),
        (at, _DISCHARGED, 1.0),
        (at, _CURTAILED, -1.0),
        (at, _OVER_IMPORT, 1.0),
        (at, _OVER_EXPORT, -1.0),
        (slots + at, _CHARGED, -request.efficiency_charge * hours),
        (slots + at, _DISCHARGED, hours / request.efficiency_discharge),
        (slots + at, _ENERGY, 1.0),
    ]
    rows = [row for row, _, _ in entries] + [slots + at[1:]]
    columns = [kind * slots + at for _, kind, _ in entries] + [_ENERGY * slots + at[:-1]]
    values = [np.full(slots, value) for _, _, value in entries] + [np.full(slots - 1, -1.0)]
    needed = -(np.asarray(request.load_w) + np.asarray(request.pv_w)) / 1000
    start = np.zeros(slots)
    start[0] = request.soc_pct / 100 * request.capacity_wh / 1000
    row_lower, row_upper = [needed, start], [needed, start]
    if exclusive.size:
        count = exclusive.size
        base, switch = 2 * slots + np.arange(count), _KINDS * slots + np.arange(count)
        charge, discharge = request.charge_max_w / 1000, request.discharge_max_w / 1000
        rows += [base, base, base + count, base + count]
        columns += [_CHARGED * slots + exclusive, switch, _DISCHARGED * slots + exclusive, switch]
        values += [np.ones(count), np.full(count, -charge), np.ones(count), np.full(count, discharge)]
        row_lower.append(np.full(2 * count, -highspy.kHighsInf))
        row_upper += [np.zeros(count), np.full(count, discharge)]
        lower = np.concatenate([lower, np.zeros(count)])
        upper = np.concatenate([upper, np.ones(count)])
        cost = np.concatenate([cost, np.zeros(count)])
    row, column = np.concatenate(rows), np.concatenate(columns)
    order = np.lexsort((row, column))
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(cost), sum(map(len, row_upper))
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, lower, upper
    lp.row_lower_, lp.row_upper_ = np.concatenate(row_lower), np.concatenate(row_upper)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = lp.num_col_, lp.num_row_
    lp.a_matrix_.start_ = np.searchsorted(column[order], np.arange(len(cost) + 1)).astype(np.int32)
    lp.a_matrix_.index_ = row[order].astype(np.int32)
    lp.a_matrix_.value_ = np.concatenate(values)[order]
    if exclusive.size:
        whole, real = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
        lp.integrality_ = [real] * (_KINDS * slots) + [whole] * exclusive.size
    return lp


def _columns(
    request: ScheduleRequest, infinity: float, np: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns lower bound, upper bound and cost of every column, powers in kW and energy in kWh."""
    slots = len(request.pv_w)
    hours = request.slot_s / _S_PER_H
    capacity_kwh = request.capacity_wh / 1000
    lower, upper, cost = (np.zeros((_KINDS, slots)) for _ in range(3))
    upper[:] = infinity
    for kind, limit_w in (
        (_BOUGHT, request.import_limit_w),
        (_SOLD, request.export_limit_w),
        (_CHARGED, request.charge_max_w),
        (_DISCHARGED, request.discharge_max_w),
    ):
        if limit_w is not None:
            upper[kind] = limit_w / 1000
    # Without a limit there is nothing to exceed.
    upper[_OVER_IMPORT] = 0.0 if request.import_limit_w is None else infinity
    upper[_OVER_EXPORT] = 0.0 if request.export_limit_w is None else infinity
    upper[_CURTAILED] = np.asarray(request.pv_w) / 1000 if request.can_curtail else 0.0
    # A storage outside its window comes back when it pays, and goes no further out.
    lower[_ENERGY] = min(request.soc_min_pct, request.soc_pct) / 100 * capacity_kwh
    upper[_ENERGY] = max(request.soc_max_pct, request.soc_pct) / 100 * capacity_kwh
    if request.end_soc_pct is not None:
        lower[_ENERGY, -1] = max(lower[_ENERGY, -1], request.end_soc_pct / 100 * capacity_kwh)
    buy, sell = np.asarray(request.buy_price), np.asarray(request.sell_price)
    late = _TIE_PRICE * np.arange(slots) / slots
    cost[_BOUGHT], cost[_SOLD] = buy * hours, -sell * hours
    cost[_CHARGED] = (request.wear_per_kwh + late) * hours
    cost[_DISCHARGED] = (request.wear_per_kwh + _TIE_PRICE) * hours
    cost[_OVER_IMPORT] = cost[_OVER_EXPORT] = _SLACK_PRICE * hours
    return lower.ravel(), upper.ravel(), cost.ravel()


def _schedule(request: ScheduleRequest, solution: NDArray[np.float64], np: Any) -> Schedule:
    slots = len(request.pv_w)
    hours = request.slot_s / _S_PER_H
    kinds = solution[: _KINDS * slots].reshape(_KINDS, slots)
    net_kw = kinds[_BOUGHT] + kinds[_OVER_IMPORT] - kinds[_SOLD] - kinds[_OVER_EXPORT]
    bought_kw, sold_kw = np.maximum(net_kw, 0.0), np.maximum(-net_kw, 0.0)
    cost = float(np.dot(request.buy_price, bought_kw) - np.dot(request.sell_price, sold_kw)) * hours

    def course(values: NDArray[np.float64]) -> Series:
        return Series(request.start_ns, request.slot_s, tuple((1000 * values).tolist()))

    return Schedule(
        battery_w=course(kinds[_DISCHARGED] - kinds[_CHARGED]),
        curtailed_w=course(kinds[_CURTAILED]),
        soc_pct=tuple((kinds[_ENERGY] / (request.capacity_wh / 1000) * 100).tolist()),
        cost=cost,
        purchase_wh=float(bought_kw.sum()) * hours * 1000,
        sale_wh=float(sold_kw.sum()) * hours * 1000,
        over_import_w=float(kinds[_OVER_IMPORT].max()) * 1000,
        over_export_w=float(kinds[_OVER_EXPORT].max()) * 1000,
    )
