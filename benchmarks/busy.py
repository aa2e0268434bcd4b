"""What does almaflow say of a job beside a process that computes on all cores, for random spans?

The same job runs undisturbed, then beside the disturbance. The speedups that it shows then are held against those of
the undisturbed jobs: one without a mark should be within a factor of 1.3 of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from processes import run_almaflow
from shared import BenchmarkError, at_least, make_parser, run_script, save, say, seconds, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EAGER = "EAGER"
FLOORS = "speedup/floor_vs_eager"

COMPUTE = """
import os, random, sys, time
draw, span_s, parent = random.Random(int(sys.argv[1])), float(sys.argv[2]), int(sys.argv[3])
while os.getppid() == parent:
    end = time.monotonic() + draw.expovariate(1 / span_s)
    while time.monotonic() < end:
        sum(range(10_000))
    time.sleep(draw.expovariate(1 / span_s))
"""
"""Computes and sleeps by turns; processes with the same seed do so together."""


def main() -> None:
    """Measure, and show what was said of each conversion."""
    parser = make_parser(__doc__, overrides="what to measure, such as model=resnet18 tier=2")
    parser.add_argument("--quiet", type=at_least(1), default=2, help="undisturbed jobs (default: 2)")
    parser.add_argument("--jobs", type=at_least(1), default=10, help="disturbed ones (default: 10)")
    parser.add_argument("--span", type=seconds, default=3.0, help="seconds of a spell, on average (default: 3)")
    arguments = parser.parse_args()
    quiet, disturbed = [], []
    with TemporaryDirectory(prefix="busy-") as scratch:
        for number in range(arguments.quiet):
            say(f"quiet job {number + 1} of {arguments.quiet}")
            quiet.append(run_almaflow(arguments.overrides, Path(scratch)).conversions())
        for number in range(arguments.jobs):
            say(f"disturbed job {number + 1} of {arguments.jobs}")
            with computing(number, arguments.span):
                disturbed.append(run_almaflow(arguments.overrides, Path(scratch)).conversions())
            save(arguments, {"quiet": quiet, "disturbed": disturbed})
    found = judged(quiet, disturbed)
    save(arguments, {"quiet": quiet, "disturbed": disturbed, "judged": found})
    rows = [
        [name, f"{each['truth']:.2f}", ", ".join(each["shown"]), _worst(each["plain"]), _worst(each["marked"])]
        for name, each in found.items()
    ]
    show(
        "Speedups over eager beside a disturbance",
        ["conversion", "quiet", "shown", "furthest off", "furthest off, marked"],
        rows,
        "off: as a factor of the quiet jobs' figure",
    )


@contextmanager
def computing(seed: int, span_s: float) -> Iterator[None]:
    """Keep all processors busy for spells, by one process each."""
    command = [sys.executable, "-c", COMPUTE, str(seed), str(span_s), str(os.getpid())]
    running = [subprocess.Popen(command) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def judged(quiet: Sequence[dict[str, Any]], disturbed: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By conversion: the speedup of the quiet jobs, what was shown of the others, and how far that is off, as factors.

    Raises:
        BenchmarkError: no conversion but eager ended well in the quiet jobs.
    """
    from almaflow.analysis.wording import speedup

    found = {}
    for name in dict.fromkeys(name for each in quiet for name in each if name != EAGER):
        known = [each[name].get("speedup_vs_eager") or each[name].get(FLOORS) for each in quiet if name in each]
        truth = median(value for value in known if value)
        shown = [speedup(each[name], "eager") for each in disturbed if name in each]
        off = [(text, _factor(text, truth)) for text in shown if text not in {"", "-"}]
        found[name] = {
            "truth": truth,
            "shown": shown,
            "plain": [factor for text, factor in off if not text.endswith("~")],
            "marked": [factor for text, factor in off if text.endswith("~")],
        }
    if not found:
        message = "no conversion but eager ended well: name one, as by conversions=[EAGER,ONNX_CPU]"
        raise BenchmarkError(message)
    return found


def _factor(text: str, truth: float) -> float:
    """How far a figure is off; of a range, how far the truth lies outside of it."""
    low, _, high = text.rstrip("~").removesuffix("x").partition("-")
    nearest = min(max(truth, float(low)), float(high or low))
    return max(nearest / truth, truth / nearest)


def _worst(factors: Sequence[float]) -> str:
    return f"{max(factors):.2f}" if factors else ""


if __name__ == "__main__":
    run_script(main)
