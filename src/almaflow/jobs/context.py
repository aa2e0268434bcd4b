"""The surroundings of a job, handed to each of its stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from almaflow.jobs.request import Request
    from almaflow.jobs.store import JobStore
    from almaflow.measure.progress import Progress
    from almaflow.processes.interrupts import Interrupts


@dataclass(frozen=True)
class JobContext:
    """The surroundings of one job, which stay the same from its first stage to its last."""

    request: Request
    store: JobStore
    progress: Progress
    interrupts: Interrupts
