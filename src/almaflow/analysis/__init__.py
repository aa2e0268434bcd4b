"""The meaning of a job's outcomes: metrics, the best conversion, headroom and recommendations."""

from __future__ import annotations

from almaflow.analysis.metrics import counts, outcome_metrics, timings
from almaflow.analysis.output import to_output
from almaflow.analysis.recommend import Recommendation
from almaflow.analysis.rows import Row
from almaflow.analysis.verdict import Analysis, analyse, job_metrics
from almaflow.records.plan import EAGER, INDUCTOR

__all__ = [
    "EAGER",
    "INDUCTOR",
    "Analysis",
    "Recommendation",
    "Row",
    "analyse",
    "counts",
    "job_metrics",
    "outcome_metrics",
    "timings",
    "to_output",
]
