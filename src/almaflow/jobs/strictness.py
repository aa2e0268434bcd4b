"""What ``strict=true`` does not let pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.records import Status

if TYPE_CHECKING:
    from almaflow.records import Job, Outcome

EVERYTHING = 3
"""The tier that also lists what no single machine can run."""


def shortfalls(job: Job) -> list[Outcome]:
    """Return the outcomes that make a strict job fail: those that failed, could not be evaluated, or cannot run here.

    What cannot run here does not count where nobody asked for it: tier 3 lists the whole catalogue.
    """
    listed_only = job.tier == EVERYTHING and not job.config.get("conversions")
    lacking = {Status.FAILED} if listed_only else {Status.FAILED, Status.UNAVAILABLE}
    return [
        each for each in job.outcomes if each.status in lacking or (each.measurement and each.measurement.quality_error)
    ]
