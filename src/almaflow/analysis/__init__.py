"""What the outcomes of a job mean: metrics, the best conversion, headroom and recommendations."""

from __future__ import annotations

from almaflow.analysis.job_metrics import job_metrics
from almaflow.analysis.metrics import EAGER, INDUCTOR, counts, outcome_metrics, timings
from almaflow.analysis.output import to_output
from almaflow.analysis.recommend import Recommendation
from almaflow.analysis.rows import Row
from almaflow.analysis.verdict import Analysis, analyse

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
