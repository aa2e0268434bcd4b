"""What a list of timings says: its middle, its spread, and only the percentiles that it can carry."""

from __future__ import annotations

from almaflow.stats.samples import FLOOR_SAMPLES, PERCENTILE_SAMPLES, Summary, not_told_apart, summary

__all__ = ["FLOOR_SAMPLES", "PERCENTILE_SAMPLES", "Summary", "not_told_apart", "summary"]
