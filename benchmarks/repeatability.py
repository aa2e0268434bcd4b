"""Does the same work give the same figure in another job, and do the stated intervals keep their word?

The same job is run N times, each in fresh processes (an A/A test). Shown are how much each figure moves from job to job
(CV: standard deviation / mean), which share of all pairs of jobs have intervals that overlap, and the CV of other
estimators of the floor, from the same samples. With --from FILE, which --json has written, nothing is measured.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from processes import run_almaflow
from shared import BenchmarkError, at_least, make_parser, percent, run_script, save, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

EAGER = "EAGER"

FIGURES = {
    "median": "latency_ms",
    "floor": "latency/floor",
    "speedup": "speedup_vs_eager",
    "speedup by floor": "speedup/floor_vs_eager",
}
"""Columns, and the metrics whose CV they show."""

INTERVALS = {
    "medians overlap": ("latency/ci_low", "latency/ci_high"),
    "speedups overlap": ("speedup/vs_eager_ci_low", "speedup/vs_eager_ci_high"),
}

FLOORS = {"minimum": 0, "1st": 1, "5th": 5, "10th": 10, "25th": 25, "50th": 50}
"""Estimators of the floor that are percentiles of the samples."""

FASTEST = "fastest round"
"""One more: the lowest of the rounds' medians."""

Jobs = list[dict[str, dict[str, Any]]]
"""Of each job, by conversion: its metrics, and the percentiles 0 to 100 and the rounds' medians of its samples."""


def main() -> None:
    """Measure, or read what was measured, and show the tables."""
    parser = make_parser(__doc__, overrides="what to measure, such as model=resnet18 tier=2 measure=thorough")
    parser.add_argument("--jobs", type=at_least(2), default=10, help="how often (default: 10)")
    parser.add_argument("--from", dest="stored", type=Path, metavar="FILE", help="figures of earlier jobs")
    arguments = parser.parse_args()
    if arguments.stored:
        jobs = read(arguments.stored)
    else:
        jobs = []
        with TemporaryDirectory(prefix="repeatability-") as scratch:
            for number in range(1, arguments.jobs + 1):
                say(f"job {number} of {arguments.jobs}")
                jobs.append(one_job(arguments.overrides, Path(scratch)))
                save(arguments, {"jobs": jobs})  # what there is so far is not lost
    found = analyse(jobs)
    save(arguments, {"jobs": jobs, "analysis": found})
    present(found)


def read(path: Path) -> Jobs:
    """The figures that ``--json`` has written.

    Raises:
        BenchmarkError: the file has none.
    """
    try:
        jobs: Jobs = json.loads(path.read_text(encoding="utf-8"))["results"]["jobs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"--from {path}: has no figures of repeatability.py ({type(error).__name__})"
        raise BenchmarkError(message) from error
    return jobs


def one_job(overrides: Sequence[str], home: Path) -> dict[str, dict[str, Any]]:
    """The figures of one job; a conversion that failed is told, and left out."""
    import numpy as np

    from almaflow.analysis.rounds import round_medians
    from almaflow.records import Outcome, read_json

    ran = run_almaflow(overrides, home)
    figures = ran.conversions()
    for each in ran.output["conversions"]:
        if each["status"] != "ok":
            say(f"{each['conversion']}: {each['status']}: {each['message']}")
    for directory in sorted((ran.directory / "conversions").iterdir()):
        outcome = read_json(directory / "outcome.json", Outcome)
        if outcome.planned.name in figures:
            samples_ms = json.loads((directory / "samples_ms.json").read_text(encoding="utf-8"))
            figures[outcome.planned.name] |= {
                "percentiles_ms": [float(value) for value in np.percentile(samples_ms, range(101))],
                "round_medians_ms": [each.median_ms for each in round_medians(outcome)],
            }
    return figures


def analyse(jobs: Jobs) -> dict[str, dict[str, Any]]:
    """By conversion: the CV of every figure, the share of overlapping intervals, the CV of every floor.

    Raises:
        BenchmarkError: no conversion ended well in two jobs.
    """
    names = dict.fromkeys(name for job in jobs for name in job)
    found = {}
    for name in names:
        own = [job[name] for job in jobs if name in job]
        beside = [(job[name], job[EAGER]) for job in jobs if name != EAGER and name in job and EAGER in job]
        if len(own) < 2:  # noqa: PLR2004 - one job has nothing to differ from
            continue
        floors = (*FLOORS, FASTEST)
        found[name] = {
            "jobs": len(own),
            "latency_ms": mean(each["latency_ms"] for each in own),
            "cv": {
                column: None if name == EAGER and "speedup" in column else cv([each.get(metric) for each in own])
                for column, metric in FIGURES.items()
            }
            | {"median / control": cv([per_control(each) for each in own])},
            "overlap": {column: overlapping(own, *ends) for column, ends in INTERVALS.items()},
            "floor_cv": {floor: cv([estimate(each, floor) for each in own]) for floor in floors},
            "floor_speedup_cv": {
                floor: cv([estimate(eager, floor) / estimate(each, floor) for each, eager in beside])
                for floor in floors
            },
        }
    if not found:
        message = "no conversion ended well in two jobs, so there is nothing to compare"
        raise BenchmarkError(message)
    return found


def cv(values: Sequence[float | None]) -> float | None:
    """Standard deviation / mean, without unit; None where a value is missing or there is only one."""
    known = [value for value in values if value is not None]
    if len(known) < max(2, len(values)):
        return None
    return stdev(known) / mean(known)


def per_control(figures: dict[str, Any]) -> float | None:
    """The median in units of the control workload that was timed beside it."""
    control_ms = figures.get("machine/control_ms")
    return figures["latency_ms"] / control_ms if control_ms else None


def overlapping(jobs: Sequence[dict[str, Any]], low: str, high: str) -> float | None:
    """The share of pairs of jobs whose intervals have a point in common; None where fewer than two have one."""
    from almaflow.stats import Interval

    intervals = [Interval(job[low], job[high]) for job in jobs if low in job and high in job]
    pairs = [one.overlaps(other) for one, other in itertools.combinations(intervals, 2)]
    return mean(pairs) if pairs else None


def estimate(figures: dict[str, Any], floor: str) -> float:
    """A floor in milliseconds."""
    value: float = min(figures["round_medians_ms"]) if floor == FASTEST else figures["percentiles_ms"][FLOORS[floor]]
    return value


def present(found: dict[str, dict[str, Any]]) -> None:
    """Show it."""
    first = next(iter(found.values()))
    columns = ["conversion", "jobs", "ms", *first["cv"], *first["overlap"]]
    rows = [
        [
            name,
            str(each["jobs"]),
            f"{each['latency_ms']:.3f}",
            *(percent(value, 2) for value in each["cv"].values()),
            *(percent(value, 0) for value in each["overlap"].values()),
        ]
        for name, each in found.items()
    ]
    show("From job to job: CV of the figures, pairs of jobs whose 95% intervals overlap", columns, rows)
    for key, title in (
        ("floor_cv", "CV of other estimators of the floor: percentiles of the samples"),
        ("floor_speedup_cv", "CV of the speedup over eager by these estimators"),
    ):
        rows = [[name, *(percent(value, 2) for value in each[key].values())] for name, each in found.items()]
        show(title, ["conversion", *first[key]], rows)


if __name__ == "__main__":
    run_script(main)
