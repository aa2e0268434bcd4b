"""Profiles whose segments are measured on machines of a fleet: here a fleet of this machine alone."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import job, ok
from tests.support.made_profiles import write_profile
from tests.support.two_graphs import predict

import almaflow
from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet import orders
from almaflow.fleet.segments import FleetSegmentJobs, has_fleet, jobs_of
from almaflow.profiles import measure as measuring
from almaflow.profiles.measure import measure_profile
from almaflow.records import Status
from almaflow.segments.backends import resolve_backends

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from almaflow.records import Job, ModelSpec

QUICK = ("hardware.threads=1", "measure.min_samples=8", "measure.min_time_s=0.05", "measure.max_time_s=0.5")
FLEET = ("fleet=local", *QUICK)


class FakeMachine:
    """A machine of a fleet that answers in another order than it was asked."""

    experiment_name, uri = "almaflow", "sqlite:///nowhere.db"
    machine = "r6i_large"
    conversions: tuple[str, ...] = ("EAGER", "ONNX_CPU")

    def __init__(self, **failures: AlmaflowError) -> None:
        self.failures = failures

    def run(self, models: Sequence[ModelSpec]) -> Iterator[tuple[str, Job | AlmaflowError]]:
        for model in reversed(models):
            assert model.segment is not None
            name = model.segment.segment_id
            made = job(ok("EAGER", 3.0), ok("ONNX_CPU", 1.0))
            yield name, self.failures.get(name) or made


@pytest.fixture
def _untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "track", lambda *_: None)


@pytest.mark.usefixtures("_untracked")
def test_a_segment_without_a_result_there_has_no_time_there() -> None:
    write_profile("ab", "ab", "ab")
    told: list[str] = []
    results = measure_profile("made", None, fleet=[FakeMachine(a=AlmaflowError("its disk is full"))], tell=told.append)
    assert results.elsewhere == ("r6i_large",)
    lost = [each for each in results.figures if each.segment_id == "a"]
    assert [(each.hardware, each.status, each.latency_ms) for each in lost] == [("r6i_large", Status.FAILED, None)] * 2
    assert results.counted_as_eager == {}
    assert any("its disk is full" in line for line in told)


def test_a_machine_that_the_fleet_has_not_is_refused_before_anything_runs() -> None:
    found, _ = resolve_backends(["h100/EAGER"], fleet=True)
    with pytest.raises(UsageError, match=r"backend h100/...: no machine of the fleet is one; it has .*cpu"):
        jobs_of(found, overrides=FLEET)
    with pytest.raises(UsageError, match=r"fleet\.address is required with fleet=ray"):
        jobs_of(found, overrides=["fleet=ray"])
    assert not has_fleet([])
    assert has_fleet(FLEET)


def test_each_machine_has_its_own_conversions_and_hardware() -> None:
    found, _ = resolve_backends(["local/ONNX_CPU", "cpu/JIT_TRACE"], fleet=True)
    here, (there,) = jobs_of(found, overrides=FLEET)
    assert here is not None
    assert isinstance(there, FleetSegmentJobs)
    assert (there.machine, there.conversions) == ("cpu", ("EAGER", "JIT_TRACE"))
    assert here._config.conversions == ["EAGER", "ONNX_CPU"]


@pytest.mark.slow
def test_segments_are_measured_here_and_on_a_fleet_and_the_second_time_nothing_is(stored_home: Path) -> None:
    import torch

    del stored_home
    marked, told = almaflow.accelerate(predict), io.StringIO()
    with almaflow.profile(
        "local/JIT_TRACE", "cpu/JIT_TRACE", measure="quick", overrides=FLEET, print_to=told
    ) as session:
        for number in range(6):
            marked(torch.full((16, 64), float(number)))
    assert "measured 4 of 4 segments" in told.getvalue()
    data = session.report().to_dict()
    (function,) = data["functions"]
    totals = {(each["hardware"], each["conversion"]): each for each in function["totals"]}
    places = {hardware for hardware, _ in totals}
    assert len(places) == 2
    assert "cpu" in places
    assert all(each["ms"] > 0 and each["failures"] == 0 for each in totals.values())
    (note,) = (each for each in data["notes"] if each.startswith("totals of cpu"))
    assert "Python" in note
    kept = list(orders.orders())
    assert {each.order.profile_id for each in kept} == {session.profile_id}
    assert len(kept) == 2

    again: list[str] = []
    found, _ = resolve_backends(["local/JIT_TRACE", "cpu/JIT_TRACE"], fleet=True)
    here, there = jobs_of(found, measure="quick", overrides=["measure.fidelity_inputs=4", *FLEET])
    measure_profile(session.profile_id, here, fleet=there, tell=again.append)
    assert any(line.startswith("measured 0 of 4 segments") for line in again)
    assert len(list(orders.orders())) == 2
    assert session.verify(rounds=2)[0].ok  # in what was measured here
