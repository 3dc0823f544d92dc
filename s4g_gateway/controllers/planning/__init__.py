"""Planning by linear optimisation with HiGHS; needs the extra ``planning``, and no site process loads it."""

from s4g_gateway.controllers.planning.schedule import Schedule, ScheduleRequest, solve_schedule

__all__ = ["Schedule", "ScheduleRequest", "solve_schedule"]
