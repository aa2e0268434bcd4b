"""Estimates how long a job may take, and says what from.

The nearest earlier jobs count: the same job on the same kind of machine, else on another kind, else other models by the
number of their conversions. Without any, a rule of thumb does.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from almaflow.records import MeasureSpec
    from almaflow.tracking.durations import JobDuration

NEWEST = 10
"""Number of jobs that an estimate is made from, the newest ones."""
ALONE = 1.25
"""A single earlier job repeats within this factor, taken for a machine that others share."""
BASE_S, READY_S = 5.0, 8.0
"""By rule: of a job, and of each conversion until it is timed. Four conversions of resnet18 took 50 s in all."""
RULE = 3.0
"""Factor within which the rule of thumb is right, at best: compiling takes 1 s to minutes."""


@dataclass(frozen=True)
class Estimate:
    """Seconds that a job may take."""

    seconds: float
    low_s: float
    high_s: float
    source: str
    """What it was made from, as a sentence goes on: ``as it took there before``."""


@dataclass(frozen=True)
class WantedJob:
    """What the time of a job depends on."""

    model: str
    batch_size: int
    tier: int
    hardware: str | None
    """Name of its machine in the store; None: any."""
    conversions: int
    measure: MeasureSpec
    settings: tuple[str | None, ...]
    """As in ``JobDuration``."""


def estimate(wanted: WantedJob, known: Sequence[JobDuration]) -> Estimate:
    """Estimate a job from earlier ones, the newest first, or by rule."""
    alike = [each for each in known if each.settings == wanted.settings]
    same = [each for each in alike if _job(each) == (wanted.model, wanted.batch_size, wanted.tier, wanted.conversions)]
    there = [each.seconds for each in same if wanted.hardware in {None, each.hardware}]
    if there:
        return _from(there, "as the same job took before")
    if same:
        return _from([each.seconds for each in same], "as the same job took on other hardware")
    if alike:
        each_s = [BASE_S + max(0.0, each.seconds - BASE_S) * wanted.conversions / each.conversions for each in alike]
        return _from(each_s, "as other jobs took, by the number of conversions")
    measure = wanted.measure
    rounds_s = measure.min_time_s if measure.rel_precision is None else (measure.min_time_s + measure.max_time_s) / 2
    seconds = BASE_S + wanted.conversions * measure.replicates * (READY_S + rounds_s)
    source = f"by rule: {BASE_S:.0f} s, and {READY_S:.0f} s and its rounds for each conversion"
    return Estimate(seconds, seconds / RULE, seconds * RULE, source)


def _job(each: JobDuration) -> tuple[str, int, int, int]:
    return each.model, each.batch_size, each.tier, each.conversions


def _from(seconds: Iterable[float], source: str) -> Estimate:
    newest = list(islice(seconds, NEWEST))
    middle = median(newest)
    if len(newest) == 1:
        return Estimate(middle, middle / ALONE, middle * ALONE, source)
    return Estimate(middle, min(newest), max(newest), source)
