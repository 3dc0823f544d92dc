"""A process image in memory, and a bench on which masters and an outstation talk without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from s4g_gateway.codecs.iec104 import (
    AsduReceived,
    Closed,
    CommandPoint,
    CommandRefused,
    FreezeMode,
    GroupConfig,
    Link,
    LinkParameters,
    Outstation,
    OutstationConfig,
    OutstationEvent,
    Role,
    TypeId,
    pack_asdus,
)

START_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z


@dataclass
class MemoryImage:
    """Points by (common address, object address)."""

    points: dict[tuple[int, int], tuple[TypeId, float, int]] = field(default_factory=dict)
    groups: dict[tuple[int, int], int] = field(default_factory=dict)
    counters: dict[tuple[int, int], int] = field(default_factory=dict)
    frozen: dict[tuple[int, int], int] = field(default_factory=dict)
    commands: dict[tuple[int, int], CommandPoint] = field(default_factory=dict)
    common_addresses: set[int] = field(default_factory=lambda: {1})
    can_freeze: bool = True

    def interrogate(self, common_address: int, group: int) -> Iterator[bytes]:
        for key, (type_id, value, quality) in self.points.items():
            if key[0] == common_address and group in (0, self.groups.get(key)):
                yield from pack_asdus(
                    type_id, common_address, 1, addresses=[key[1]], values=[value], qualities=quality
                )

    def interrogate_counters(self, common_address: int, group: int) -> Iterator[bytes]:
        for key, value in self.counters.items():
            if key[0] == common_address and group in (0, self.groups.get(key)):
                shown = self.frozen.get(key, value)
                yield from pack_asdus(TypeId.M_IT_NA_1, common_address, 1, addresses=[key[1]], values=[shown])

    def freeze_counters(self, common_address: int, group: int, mode: FreezeMode, utc_ns: int) -> bool:
        if not self.can_freeze:
            return False
        for key in [k for k in self.counters if k[0] == common_address and group in (0, self.groups.get(k))]:
            if mode is not FreezeMode.RESET:
                self.frozen[key] = self.counters[key]
            if mode is not FreezeMode.FREEZE:
                self.counters[key] = 0
        return True

    def read(self, common_address: int, address: int) -> bytes | None:
        point = self.points.get((common_address, address))
        if point is None:
            return None
        return pack_asdus(
            point[0], common_address, 1, addresses=[address], values=[point[1]], qualities=point[2]
        )[0]

    def command_point(self, common_address: int, address: int) -> CommandPoint | None:
        return self.commands.get((common_address, address))


class Peer:
    """A master of one link that speaks raw ASDUs."""

    def __init__(self, bench: Bench, group: str, name: str, parameters: LinkParameters) -> None:
        self.bench = bench
        self.number = bench.outstation.open_link(group, bench.now, peer=name)
        self.link = Link(Role.CONTROLLING, parameters, bench.now)
        self.received: list[str] = []
        self.closed: Closed | None = None
        self.deaf = False

    def start(self) -> Peer:
        self.link.start(self.bench.now)
        self.bench.exchange()
        return self

    def stop(self) -> None:
        self.link.stop(self.bench.now)
        self.bench.exchange()

    def ask(self, *asdus: str) -> list[str]:
        """Sends ASDUs given in hex, returns what came back, in hex."""
        for asdu in asdus:
            self.link.send(bytes.fromhex(asdu), self.bench.now)
        self.bench.exchange()
        return self.take()

    def take(self) -> list[str]:
        taken, self.received = self.received, []
        return taken

    def lose(self) -> None:
        self.bench.outstation.receive_eof(self.number, self.bench.now, self.bench.utc_ns)
        self.bench.peers.remove(self)


class Bench:
    """One outstation, its masters, and the time."""

    def __init__(self, config: OutstationConfig, image: MemoryImage) -> None:
        self.now = 0.0
        self.outstation = Outstation(config, image)
        self.image = image
        self.peers: list[Peer] = []
        self.history: list[OutstationEvent] = []
        # Apart, since the answers say nearly the same.
        self.refusals: list[OutstationEvent] = []

    @property
    def utc_ns(self) -> int:
        return START_NS + round(self.now * 1_000_000_000)

    def connect(self, group: str = "scada", name: str = "m", **parameters: float) -> Peer:
        peer = Peer(self, group, name, LinkParameters(**parameters))  # type: ignore[arg-type]
        self.peers.append(peer)
        return peer

    def master(self, group: str = "scada", name: str = "m") -> Peer:
        peer = self.connect(group, name).start()
        peer.take()
        return peer

    def exchange(self) -> None:
        moved = True
        while moved:
            moved = False
            for peer in self.peers:
                up = b"" if peer.deaf else peer.link.data_to_send()
                if up:
                    self.outstation.receive_data(peer.number, up, self.now, self.utc_ns)
                down = b"" if peer.deaf else self.outstation.data_to_send(peer.number, self.now)
                if down:
                    peer.link.receive_data(down, self.now)
                for event in peer.link.events():
                    if isinstance(event, AsduReceived):
                        peer.received.append(event.asdu.hex(" "))
                    elif isinstance(event, Closed):
                        peer.closed = event
                moved = moved or bool(up or down)
        for event in self.outstation.events():
            (self.refusals if isinstance(event, CommandRefused) else self.history).append(event)

    def wait(self, seconds: float) -> None:
        """Lets time pass, with every deadline on the way."""
        end = self.now + seconds
        while True:
            deadlines = [self.outstation.next_deadline(), *(p.link.next_deadline() for p in self.peers)]
            step = min((time for time in deadlines if time is not None), default=end)
            self.now = max(self.now, min(step, end))
            self.outstation.handle_deadline(self.now, self.utc_ns)
            for peer in self.peers:
                peer.link.handle_deadline(self.now)
            self.exchange()
            if step > end or self.now >= end:
                self.now = end
                return

    def publish(self, *asdus: str, groups: tuple[str, ...] | None = None) -> None:
        self.outstation.publish([bytes.fromhex(asdu) for asdu in asdus], self.utc_ns, groups=groups)
        self.exchange()

    def answer(self, token: int, accepted: bool = True) -> bool:
        found = self.outstation.answer_command(token, accepted, self.now, self.utc_ns)
        self.exchange()
        return found

    def terminate(self, token: int, accepted: bool = True, returned: tuple[str, ...] = ()) -> bool:
        found = self.outstation.terminate_command(
            token, self.now, self.utc_ns, accepted=accepted, returned=map(bytes.fromhex, returned)
        )
        self.exchange()
        return found

    def events(self) -> list[OutstationEvent]:
        history, self.history = self.history, []
        return history


MakeBench = Callable[..., Bench]


@pytest.fixture
def image() -> MemoryImage:
    return MemoryImage()


@pytest.fixture
def make_bench(image: MemoryImage) -> MakeBench:
    """A bench; keywords go into the outstation's configuration."""

    def make(**config: object) -> Bench:
        settings: dict[str, object] = {
            "groups": (GroupConfig(name="scada"),),
            "end_of_initialisation": "never",
            **config,
        }
        return Bench(OutstationConfig(**settings), image)  # type: ignore[arg-type]

    return make


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()
