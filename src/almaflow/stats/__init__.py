"""Statistics of timings and of prediction errors: only figures that the samples can carry, with their intervals."""

from __future__ import annotations

from almaflow.stats.batch_search import FoundBatch, Trial, search_batch
from almaflow.stats.changes import FALSE_ALARM_RATE, SHORTEST, Step, steps
from almaflow.stats.errors import (
    NEAR_PCT,
    ErrorSummary,
    Figure,
    Paired,
    error_pct,
    error_summary,
    paired,
    summary_over,
    trend,
)
from almaflow.stats.intervals import Interval, exceeds, hull, independent_draws, median_interval, series_interval
from almaflow.stats.resampling import interval_over_rounds
from almaflow.stats.rounds import (
    UNSURE_FROM,
    Ratio,
    RoundMedian,
    Spread,
    contradicts,
    is_settled,
    is_unsure,
    latency_interval,
    ratio,
    spread_between,
)
from almaflow.stats.samples import FLOOR_SAMPLES, PERCENTILE_SAMPLES, Summary, floor_of, not_told_apart, summary
from almaflow.stats.speedups import SURE, Speedup, TimedRound, is_precise, speedup
from almaflow.stats.stops import calls_at_once, explained_by_stops

__all__ = [
    "FALSE_ALARM_RATE",
    "FLOOR_SAMPLES",
    "NEAR_PCT",
    "PERCENTILE_SAMPLES",
    "SHORTEST",
    "SURE",
    "UNSURE_FROM",
    "ErrorSummary",
    "Figure",
    "FoundBatch",
    "Interval",
    "Paired",
    "Ratio",
    "RoundMedian",
    "Speedup",
    "Spread",
    "Step",
    "Summary",
    "TimedRound",
    "Trial",
    "calls_at_once",
    "contradicts",
    "error_pct",
    "error_summary",
    "exceeds",
    "explained_by_stops",
    "floor_of",
    "hull",
    "independent_draws",
    "interval_over_rounds",
    "is_precise",
    "is_settled",
    "is_unsure",
    "latency_interval",
    "median_interval",
    "not_told_apart",
    "paired",
    "ratio",
    "search_batch",
    "series_interval",
    "speedup",
    "spread_between",
    "steps",
    "summary",
    "summary_over",
    "trend",
]
