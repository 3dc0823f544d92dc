"""Controls in all four control models: arbitration, audit and the client's own name stand behind each."""

import asyncio

import pytest

from s4g_gateway.model import AddCause, Origin, OriginCategory, refused
from s4g_gateway.security import AccessPolicy, Action, Rule
from s4g_gateway.workers.libiec61850.client import FC
from s4g_gateway.workers.libiec61850.control import ControlObject

MODELS = ("DN1", "SN1", "DE1", "SE1")
REMOTE = Origin(category=OriginCategory.REMOTE_CONTROL, identity="whoever")


def carry_out(peer, reference, value, **more):
    control = ControlObject(peer, reference)
    control.set_origin(REMOTE, **more)
    return control.carry_out(value, termination_timeout_s=60.0)


@pytest.mark.parametrize("device", MODELS)
async def test_a_set_point_reaches_the_device_under_the_clients_name(bench_tools, tmp_path, device):
    serving, client, _ = bench_tools
    reference = f"{device}/DWGC1.WSpt"
    async with serving(tmp_path) as bench, client(bench.port) as peer:
        answer = await asyncio.to_thread(carry_out, peer, reference, 1500.0)
        shown = await asyncio.to_thread(peer.read, f"{reference}.mxVal.f", FC.MX)
    assert answer.accepted
    assert bench.device.seen == [
        (reference, 1500.0, Origin(category=OriginCategory.REMOTE_CONTROL, identity="127.0.0.1"))
    ]
    assert shown == 1500.0
    operated = bench.audit.events[-1]
    assert (operated["principal"], operated["service"], operated["accepted"]) == (
        "127.0.0.1",
        "operate",
        True,
    )


@pytest.mark.parametrize("device", MODELS)
async def test_a_device_that_refuses_gives_its_reason_to_the_client(bench_tools, tmp_path, device):
    serving, client, _ = bench_tools
    async with serving(tmp_path) as bench, client(bench.port) as peer:
        bench.device.answer = refused(AddCause.BLOCKED_BY_PROCESS, "the battery is full")
        answer = await asyncio.to_thread(carry_out, peer, f"{device}/DWGC1.WSpt", 100.0)
    assert (answer.accepted, answer.add_cause) == (False, AddCause.BLOCKED_BY_PROCESS)


@pytest.mark.parametrize("device", MODELS)
async def test_a_value_out_of_range_never_reaches_the_device(bench_tools, tmp_path, device):
    serving, client, _ = bench_tools
    async with serving(tmp_path) as bench, client(bench.port) as peer:
        answer = await asyncio.to_thread(carry_out, peer, f"{device}/DWGC1.WSpt", 90_000.0)
    assert (answer.accepted, answer.add_cause) == (False, AddCause.INCONSISTENT_PARAMETERS)
    assert bench.device.seen == []


async def test_a_slow_device_ends_by_command_termination_and_stalls_nobody(bench_tools, tmp_path):
    serving, client, _ = bench_tools
    async with serving(tmp_path) as bench, client(bench.port) as peer, client(bench.port) as other:
        bench.device.gate = asyncio.Event()
        slow = asyncio.create_task(asyncio.to_thread(carry_out, peer, "DE1/DWGC1.WSpt", 100.0))
        while not bench.device.seen:
            await asyncio.sleep(0.01)
        # longer than the library looks for an early refusal
        for _ in range(50):
            assert await asyncio.to_thread(other.read, "ESS1/LLN0.Beh.stVal", FC.ST) == 1
            await asyncio.sleep(0.02)
        assert not slow.done()
        bench.device.answer = refused(AddCause.TIME_LIMIT_OVER, "no answer")
        bench.device.gate.set()
        answer = await slow
    assert (answer.accepted, answer.add_cause) == (False, AddCause.TIME_LIMIT_OVER)
    assert answer.detail == "negative command termination"


async def test_operate_without_select_is_refused(bench_tools, tmp_path):
    serving, client, _ = bench_tools

    def operate(peer):
        return ControlObject(peer, "SE1/DWGC1.WSpt").operate(100.0)

    async with serving(tmp_path) as bench, client(bench.port) as peer:
        answer = await asyncio.to_thread(operate, peer)
    assert (answer.accepted, answer.add_cause) == (False, AddCause.OBJECT_NOT_SELECTED)
    assert bench.device.seen == []


async def test_a_selection_keeps_others_out_until_it_is_cancelled(bench_tools, tmp_path):
    serving, client, until = bench_tools
    reference = "SE1/DWGC1.WSpt"
    async with serving(tmp_path) as bench, client(bench.port) as first, client(bench.port) as second:
        holder = await asyncio.to_thread(ControlObject, first, reference)
        holder.set_origin(REMOTE)
        assert (await asyncio.to_thread(holder.select, 10.0)).accepted
        answer = await asyncio.to_thread(carry_out, second, reference, 20.0)
        assert not answer.accepted
        assert (await asyncio.to_thread(holder.cancel)).accepted
        await until(lambda: [event["service"] for event in bench.audit.events].count("cancel") == 1)
        assert (await asyncio.to_thread(carry_out, second, reference, 20.0)).accepted
    assert [value for _, value, _ in bench.device.seen] == [20.0]


async def test_a_selection_of_a_client_that_goes_away_is_given_back(bench_tools, tmp_path):
    serving, client, until = bench_tools
    reference = "SE1/DWGC1.WSpt"
    async with serving(tmp_path) as bench:
        async with client(bench.port) as first:
            assert (await asyncio.to_thread(lambda: ControlObject(first, reference).select(10.0))).accepted
        async with client(bench.port) as second:
            await until(lambda: carry_out(second, reference, 20.0).accepted)


async def test_a_test_command_is_accepted_and_not_carried_out(bench_tools, tmp_path):
    serving, client, _ = bench_tools
    async with serving(tmp_path) as bench, client(bench.port) as peer:
        answer = await asyncio.to_thread(lambda: carry_out(peer, "DE1/DWGC1.WSpt", 5.0, test=True))
    assert answer.accepted
    assert bench.device.seen == []


async def test_a_client_without_the_right_is_refused_and_reads_only_its_own(bench_tools, tmp_path):
    serving, client, until = bench_tools
    policy = AccessPolicy(
        (
            Rule(
                roles=frozenset({"SCADA"}),
                actions=frozenset({Action.READ, Action.SUBSCRIBE}),
                references=("PCC1/*",),
            ),
            Rule(roles=frozenset({"ENGINEER"}), actions=frozenset(Action)),
        )
    )
    tables = (
        {"name": "scada", "identities": ("127.0.0.1",), "roles": ("SCADA",)},
        {"name": "engineer", "identities": ("10.0.0.1",), "roles": ("ENGINEER",)},
    )
    from s4g_gateway.northbound.iec61850 import ClientTable
    from s4g_gateway.workers.libiec61850.values import DataAccessError, DataError

    denied = DataError(DataAccessError.OBJECT_ACCESS_DENIED)
    async with (
        serving(tmp_path, policy=policy, client=tuple(ClientTable(**table) for table in tables)) as bench,
        client(bench.port) as peer,
    ):
        bench.publish([4200.0, -1500.0])
        await until(lambda: peer.read("PCC1/MMXU1.TotW.mag.f", FC.MX) == -1500.0)
        answer = await asyncio.to_thread(carry_out, peer, "DE1/DWGC1.WSpt", 5.0)
        hidden = await asyncio.to_thread(peer.read, "ESS1/DSTO1.EffWh", FC.MX)
        inside = await asyncio.to_thread(peer.read, "ESS1/DSTO1.EffWh.mag.f", FC.MX)
        members = await asyncio.to_thread(peer.read_data_set, "ESS1/LLN0.MX01")
    assert (answer.accepted, answer.add_cause) == (False, AddCause.NO_ACCESS_AUTHORITY)
    assert (hidden, inside) == (denied, denied)
    assert members == (denied,)
    assert bench.device.seen == []
