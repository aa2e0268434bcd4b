"""Plans of sweeps on fleets that are not there."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from click.testing import CliRunner
from tests.support.fleet_world import made_machine, made_order

from almaflow.cli.fleet_plan import plan as plan_command
from almaflow.errors import UsageError
from almaflow.fleet.durations import BASE_S, READY_S, Estimate, WantedJob, estimate
from almaflow.fleet.engines.simulated import DELIVERY_S, SimulatedFleet
from almaflow.fleet.plan import HANDOVER_S, PlannedJob, plan
from almaflow.records import MeasureSpec
from almaflow.tracking.durations import JobDuration

WANTED = WantedJob("net", 1, 1, "small", 2, MeasureSpec(min_time_s=1.0, rel_precision=None), ("1.0",))
KNOWN = JobDuration("net", 1, 1, "small", 2, ("1.0",), 40.0)


def job(kind: str | None, seconds: float) -> PlannedJob:
    return PlannedJob("", kind, Estimate(seconds, seconds / 2, seconds * 2, "given"))


def test_twelve_equal_jobs_on_three_machines_take_four_turns() -> None:
    made = plan([job("small", 60.0)] * 12, {"small": 3}, {"small": 3.0}, None)
    turn = 60.0 + HANDOVER_S + DELIVERY_S
    assert made.seconds == pytest.approx(4 * turn, abs=5 * DELIVERY_S)
    assert made.low_s == pytest.approx(4 * (turn - 30), abs=5 * DELIVERY_S)
    assert made.high_s == pytest.approx(4 * (turn + 60), abs=5 * DELIVERY_S)
    assert made.alone_s == pytest.approx(12 * (60.0 + HANDOVER_S))
    (kind,) = made.kinds
    assert kind.jobs == 12
    assert kind.busy_usd == pytest.approx(3.0 * 12 * (60.0 + HANDOVER_S) / 3600)
    assert kind.held_usd == pytest.approx(3 * 3.0 * kind.ends_s / 3600)


def test_each_kind_has_its_own_jobs_and_any_machine_takes_the_others() -> None:
    made = plan([job("small", 10.0), job("large", 100.0), job(None, 10.0)], {"small": 1, "large": 1}, {}, None)
    assert {kind.kind: kind.jobs for kind in made.kinds} == {"small": 2, "large": 1}
    assert [kind.busy_usd for kind in made.kinds] == [None, None]


def test_a_quota_lets_machines_idle() -> None:
    jobs = [job("small", 60.0)] * 4
    assert plan(jobs, {"small": 4}, {}, 1).seconds > 3.9 * plan(jobs, {"small": 4}, {}, None).seconds


def test_a_job_that_no_planned_machine_may_run_is_refused() -> None:
    with pytest.raises(UsageError, match="hardware=huge: no machine of the fleet is one; it has small"):
        plan([job("huge", 1.0)], {"small": 2}, {}, None)


def test_simulated_machines_run_one_order_at_a_time_and_each_order_once() -> None:
    fleet = SimulatedFleet(
        [made_machine("m0", "small"), made_machine("m1", "small")], lambda order, _: order.number + 1
    )
    for number in range(9):
        fleet.submit(made_order(number))
    fleet.run()
    assert sorted(fleet.results) == sorted(f"order-{number}" for number in range(9))
    for machine_id in fleet.machines:
        mine = sorted(
            (each.started_at, each.ended_at) for each in fleet.results.values() if each.machine_id == machine_id
        )
        assert all(one[1] <= following[0] for one, following in pairwise(mine))


def test_the_same_job_on_the_same_hardware_comes_before_everything_else() -> None:
    other = replace(KNOWN, hardware="large", seconds=10.0)
    known = [other, *(replace(KNOWN, seconds=seconds) for seconds in (40.0, 50.0, 30.0))]
    assert estimate(WANTED, known) == Estimate(40.0, 30.0, 50.0, "as the same job took before")


def test_without_that_it_is_the_same_job_elsewhere_then_other_jobs_then_a_rule() -> None:
    elsewhere = estimate(WANTED, [replace(KNOWN, hardware="large")])
    assert (elsewhere.seconds, elsewhere.source) == (40.0, "as the same job took on other hardware")
    other = estimate(WANTED, [replace(KNOWN, model="other", conversions=4, seconds=BASE_S + 80.0)])
    assert (other.seconds, other.source) == (BASE_S + 40.0, "as other jobs took, by the number of conversions")
    ruled = estimate(WANTED, [replace(KNOWN, settings=("9.0",))])
    assert ruled.seconds == BASE_S + 2 * (READY_S + 1.0)
    assert ruled.low_s < ruled.seconds < ruled.high_s
    assert "by rule" in ruled.source


@pytest.mark.parametrize(
    ("machines", "line"),
    [("r6i_large", "write KIND=N"), ("r6i_large=0", "write KIND=N"), ("nothing=1", "no such hardware config")],
)
def test_machines_that_are_not_written_as_a_kind_and_a_number_are_refused(machines: str, line: str) -> None:
    result = CliRunner().invoke(plan_command, ["model=simple", "--machines", machines])
    assert isinstance(result.exception, UsageError)
    assert line in str(result.exception)


@pytest.mark.slow
def test_a_sweep_is_planned_by_its_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("almaflow.tracking.durations.job_durations", lambda *_: [])
    arguments = ["-m", "model=simple", "hardware=r6i_large,t4", "tier=1", "--machines", "r6i_large=2,t4=1", "--json"]
    result = CliRunner().invoke(plan_command, arguments)
    assert result.exception is None, result.output
    data = json.loads(result.stdout)
    assert [each["kind"] for each in data["jobs"]] == ["r6i_large", "t4"]
    assert {each["kind"]: each["jobs"] for each in data["kinds"]} == {"r6i_large": 1, "t4": 1}
    assert data["low_s"] < data["seconds"] < data["high_s"]
    shown = CliRunner().invoke(plan_command, [each for each in arguments if each != "--json"])
    assert "2 jobs on 3 machines: about" in shown.stdout
    assert "times of 2 jobs: by rule" in shown.stdout
