import pytest

from s4g_gateway.errors import AccessError, ModelError
from s4g_gateway.model import DataSet, Member, ObjectReference, Reason, Report
from s4g_gateway.model import quality as q
from s4g_gateway.runtime.arbitration import Arbitration
from s4g_gateway.runtime.clock import ManualClock
from s4g_gateway.runtime.contract import SuppliedDataSet
from s4g_gateway.runtime.database import NO_VALUE_YET, RealTimeDatabase
from s4g_gateway.security import Principal, default_policy

VIEWER = Principal(name="viewer", roles=frozenset({"VIEWER"}))
STRANGER = Principal(name="stranger", roles=frozenset())


class NoAudit:
    def record(self, event):
        pass


class NoLedger:
    async def begin(self, command_id, time_ns):
        return None

    async def finish(self, command_id, answer):
        pass


def make(*names, owner="inverter", data_set_name="d"):
    clock = ManualClock()
    policy = default_policy()
    arbitration = Arbitration(clock=clock, policy=policy, audit=NoAudit(), ledger=NoLedger())
    database = RealTimeDatabase(clock=clock, policy=policy, arbitration=arbitration)
    data_set = DataSet(
        data_set_name, tuple(Member(reference=ObjectReference(name), unit="W") for name in names)
    )
    database.add(owner, [SuppliedDataSet(data_set=data_set, period_s=1.0)])
    return clock, database, data_set


A, B, C = "ESS1/MMXU1.TotW", "ESS1/MMXU1.TotVAr", "ESS1/DSTO1.SocEffWhPct"


def test_before_the_first_report_a_point_is_invalid():
    _, database, _ = make(A)
    state = database.read(VIEWER, A)
    assert (state.value, state.quality, state.owner) == (None, NO_VALUE_YET, "inverter")


def test_change_report_names_only_what_changed_and_keeps_times_of_the_rest():
    _, database, data_set = make(A, B, C)
    seen: list[Report] = []
    database.subscribe(VIEWER, [data_set], seen.append)
    database.publish(Report(data_set, (1.0, 2.0, 3.0), (0, 0, 0), 100))
    database.publish(Report(data_set, (1.0, 5.0, 3.0), (0, 0, 0), 200))
    database.publish(Report(data_set, (1.0, 5.0, 3.0), (0, 0, 0), 300))
    database.publish(Report(data_set, (1.0, 5.0, 3.0), (0, 0, q.INVALID), 400))
    assert [(r.positions(), r.values, r.times_ns()) for r in seen] == [
        (range(3), (1.0, 2.0, 3.0), (100, 100, 100)),
        ((1,), (1.0, 5.0, 3.0), (100, 200, 100)),
        ((2,), (1.0, 5.0, 3.0), (100, 200, 400)),
    ]
    assert all(r.reason is Reason.DATA_CHANGE for r in seen)


def test_partial_report_updates_only_included_members():
    _, database, data_set = make(A, B)
    database.publish(Report(data_set, (1.0, 2.0), (0, 0), 100))
    database.publish(Report(data_set, (9.0, 9.0), (q.INVALID, 0), 200, included=b"\x00\x01"))
    assert database.read(VIEWER, A).value == 1.0
    assert database.read(VIEWER, A).quality == q.GOOD
    assert database.read(VIEWER, B).value == 9.0


def test_ageing_to_questionable_then_invalid_and_back():
    clock, database, data_set = make(A)
    seen: list[int] = []
    database.subscribe(VIEWER, [data_set], lambda report: seen.append(report.quality[0]))
    good = Report(data_set, (1.0,), (q.GOOD,), 100)
    database.publish(good)
    clock.advance(3.0)
    database.age()
    clock.advance(1.0)
    database.age()
    clock.advance(60.0)
    database.age()
    database.age()
    database.publish(good)
    assert seen == [q.GOOD, q.QUESTIONABLE | q.OLD_DATA, q.INVALID | q.OLD_DATA, q.GOOD]


def test_a_failing_subscriber_does_not_stop_the_others():
    _, database, data_set = make(A)
    seen = []

    def broken(report):
        raise RuntimeError("broken consumer")

    database.subscribe(VIEWER, [data_set], broken)
    database.subscribe(VIEWER, [data_set], seen.append)
    database.publish(Report(data_set, (1.0,), (0,), 100))
    assert len(seen) == 1


def test_a_closed_subscription_is_silent():
    _, database, data_set = make(A)
    seen = []
    subscription = database.subscribe(VIEWER, [data_set], seen.append)
    subscription.close()
    subscription.close()
    database.publish(Report(data_set, (1.0,), (0,), 100))
    assert seen == []


def test_view_over_members_of_a_site():
    _, database, data_set = make(A, B, C)
    wanted = DataSet("wanted", (data_set.members[2], data_set.members[0]))
    view = database.view(VIEWER, wanted)
    seen: list[Report] = []
    database.subscribe_view(VIEWER, wanted, seen.append)
    database.publish(Report(data_set, (1.0, 2.0, 3.0), (0, 0, q.INVALID), 100))
    database.publish(Report(data_set, (1.0, 7.0, 3.0), (0, 0, q.INVALID), 200))
    assert view.snapshot().values == (3.0, 1.0)
    assert view.snapshot().quality == (q.INVALID, q.GOOD)
    assert [r.positions() for r in seen] == [(0, 1)]


def test_access_is_denied_without_a_role():
    _, database, data_set = make(A)
    for ask in (
        lambda: database.read(STRANGER, A),
        lambda: database.view(STRANGER, data_set),
        lambda: database.subscribe(STRANGER, [data_set], print),
    ):
        with pytest.raises(AccessError, match="stranger may not"):
            ask()
    assert list(database.references(STRANGER)) == []
    assert list(database.references(VIEWER)) == [A]


def test_a_reference_has_one_owner_and_can_be_given_up():
    _, database, data_set = make(A)
    other = DataSet("other", data_set.members)
    with pytest.raises(ModelError, match="supplied by 'inverter' and by 'meter'"):
        database.add("meter", [SuppliedDataSet(data_set=other, period_s=1.0)])
    database.remove("inverter")
    database.add("meter", [SuppliedDataSet(data_set=other, period_s=1.0)])
    assert database.read(VIEWER, A).owner == "meter"
    with pytest.raises(ModelError, match="not supplied"):
        database.publish(Report(data_set, (1.0,), (0,), 1))
