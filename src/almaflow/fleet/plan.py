"""Plans a sweep on a fleet that is not there: how long it would take, and what it would cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.fleet.broker import Broker
from almaflow.fleet.engines.simulated import SimulatedFleet
from almaflow.records.order import FleetMachine, Order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.fleet.durations import Estimate

HOUR_S = 3600.0
USER = "you"
HANDOVER_S = 4.0
"""Seconds of an order beside its job: a process that starts and imports, and the job that is fetched and recorded."""


@dataclass(frozen=True)
class PlannedJob:
    """One job of the sweep."""

    what: str
    """Its overrides."""
    kind: str | None
    """The kind of machine that it has to run on; None: any."""
    estimate: Estimate


@dataclass(frozen=True)
class KindShare:
    """What the machines of one kind do in a plan."""

    kind: str
    machines: int
    jobs: int
    busy_s: float
    """Of all its machines together."""
    ends_s: float
    """When the last of its jobs ends."""
    price_per_hour: float | None

    @property
    def busy_usd(self) -> float | None:
        """What the machines cost while they measure."""
        return None if self.price_per_hour is None else self.price_per_hour * self.busy_s / HOUR_S

    @property
    def held_usd(self) -> float | None:
        """What the machines cost if all are held until the last job of their kind ends."""
        return None if self.price_per_hour is None else self.price_per_hour * self.machines * self.ends_s / HOUR_S


@dataclass(frozen=True)
class Plan:
    """A sweep on a fleet."""

    seconds: float
    low_s: float
    high_s: float
    """If every job takes as long as the longest earlier one it was estimated from; ``low_s`` the shortest."""
    alone_s: float
    """On one machine after the other."""
    kinds: tuple[KindShare, ...]
    sources: dict[str, int]
    """Number of jobs by what their time was estimated from."""


def plan(
    jobs: Sequence[PlannedJob], machines: Mapping[str, int], prices: Mapping[str, float | None], quota: int | None
) -> Plan:
    """Plan the jobs on so many machines of each kind.

    Raises:
        UsageError: a job asks for a kind that is not among the machines.
    """
    likely = _play(jobs, machines, [job.estimate.seconds for job in jobs], quota)
    kinds = []
    for kind, number in machines.items():
        results = [each for each in likely.results.values() if _kind(each.machine_id) == kind]
        busy = sum(each.ended_at - each.started_at for each in results)
        ends = max((each.ended_at for each in results), default=0.0)
        kinds.append(KindShare(kind, number, len(results), busy, ends, prices.get(kind)))
    return Plan(
        likely.now,
        _play(jobs, machines, [job.estimate.low_s for job in jobs], quota).now,
        _play(jobs, machines, [job.estimate.high_s for job in jobs], quota).now,
        sum(job.estimate.seconds + HANDOVER_S for job in jobs),
        tuple(kinds),
        dict(Counter(job.estimate.source for job in jobs)),
    )


def _play(
    jobs: Sequence[PlannedJob], machines: Mapping[str, int], seconds: Sequence[float], quota: int | None
) -> SimulatedFleet:
    there = [
        FleetMachine(f"{kind}/{number}", (kind,), 0, 0.0, "", "")
        for kind, count in machines.items()
        for number in range(count)
    ]
    broker = Broker(0.0, quota=quota, grace_s=0.0)
    fleet = SimulatedFleet(there, lambda order, _: seconds[order.number] + HANDOVER_S, broker)
    for number, job in enumerate(jobs):
        fleet.submit(Order(f"{number:06}", USER, job.kind, {}, number=number, expected_s=seconds[number]))
    fleet.run()
    return fleet


def _kind(machine_id: str) -> str:
    return machine_id.rpartition("/")[0]
