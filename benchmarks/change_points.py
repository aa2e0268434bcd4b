"""Which steps in a series almaflow accuracy finds, and how often it finds one where there is none.

Series are made, not measured: a level with noise, and a step after half of the points or before the last five. A step
counts as found where one is within two points of it. Everything is drawn by a fixed seed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from almaflow.stats import FALSE_ALARM_RATE, steps
from shared import at_least, make_parser, run_script, save, show

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

STEPS_PCT = (2, 5, 10, 20)
NOISE_PCT = (1, 3, 5)
COUNTS = (10, 30, 100, 300, 1000)
NEAR = 2
LAST = 5
ALIKE = 0.5
"""Correlation of neighbours, where a machine stays slow for a while."""
SPIKES = 0.05
KINDS = ("normal", "heavy tails", "spikes", "alike")


def main() -> None:
    """Draw, search, and show."""
    parser = make_parser(__doc__)
    parser.add_argument("--series", type=at_least(10), default=300, help="of each kind")
    arguments = parser.parse_args()
    draw = np.random.default_rng(7)
    found: list[dict[str, float | str]] = []
    rows = []
    for where in ("half", "last"):
        for noise in NOISE_PCT:
            for step in STEPS_PCT:
                shares = [_found(draw, count, noise, step, where, arguments.series) for count in COUNTS]
                rows.append([f"{step}% {_name(where)}, noise {noise}%", *(f"{100 * each:.0f}%" for each in shares)])
                found += [
                    {"step_pct": step, "noise_pct": noise, "points": count, "where": where, "found": share}
                    for count, share in zip(COUNTS, shares, strict=True)
                ]
    columns = ["", *(f"{count} points" for count in COUNTS)]
    note = f"false-alarm rate {FALSE_ALARM_RATE:g}; {arguments.series} series each"
    show("Steps that are found", columns, rows, note)
    rows = []
    for kind in KINDS:
        shares = [_alarms(draw, count, kind, 10 * arguments.series) for count in COUNTS]
        rows.append([kind, *(f"{100 * each:.2f}%" for each in shares)])
        found += [{"kind": kind, "points": count, "alarms": share} for count, share in zip(COUNTS, shares, strict=True)]
    note = f"spikes: {SPIKES:.0%} of the points are 30% higher; alike: neighbours with a correlation of {ALIKE:g}"
    show("Series without a step that are given one", columns, rows, note)
    save(arguments, found)


def _name(where: str) -> str:
    return "at half" if where == "half" else f"before the last {LAST}"


def _found(  # noqa: PLR0913, PLR0917 - what is drawn
    draw: Generator, count: int, noise: float, step: float, where: str, series: int
) -> float:
    place = count // 2 if where == "half" else count - LAST
    hits = 0
    for _ in range(series):
        values = _noise(draw, count, noise, "normal")
        values[place:] += math.log1p(step / 100)
        hits += any(abs(each.at - place) <= NEAR for each in steps(values))
    return hits / series


def _alarms(draw: Generator, count: int, kind: str, series: int) -> float:
    return float(np.mean([bool(steps(_noise(draw, count, 3.0, kind))) for _ in range(series)]))


def _noise(draw: Generator, count: int, percent: float, kind: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = draw.standard_normal(count)
    if kind == "heavy tails":  # Student's t of three degrees of freedom, with the same variance
        values = draw.standard_t(3, count) / math.sqrt(3)
    if kind == "alike":
        for index in range(1, count):
            values[index] = ALIKE * values[index - 1] + math.sqrt(1 - ALIKE**2) * values[index]
    values *= percent / 100
    if kind == "spikes":
        values[draw.random(count) < SPIKES] += math.log(1.3)
    return values


if __name__ == "__main__":
    run_script(main)
