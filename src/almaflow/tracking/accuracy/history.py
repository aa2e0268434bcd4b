"""Read the scored runs of several stores, with the predictions that were made afterwards."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from almaflow.tracking.accuracy.rescored import rescored
from almaflow.tracking.accuracy.runs import scored_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from almaflow.records import ScoredRun


def scored_history(uris: Iterable[str], notify: Callable[[str, int], None], *, fresh: bool = False) -> list[ScoredRun]:
    """Read all measurements of the stores, with all predictions of them.

    Args:
        uris: Resolved stores; one that is named twice counts once.
        notify: Called with a store and the number of runs that were read from it so far.
        fresh: Read all again, instead of what is new.

    Raises:
        TrackingError: a store cannot be reached or read.
    """
    scored: list[ScoredRun] = []
    for uri in dict.fromkeys(uris):
        runs = scored_runs(uri, partial(notify, uri), fresh=fresh)
        with tempfile.TemporaryDirectory(prefix="almaflow-rescored-") as scratch:
            later = rescored(uri, scratch)
        scored += [
            replace(run, said=(*run.said, *later[run.run_id].values())) if run.run_id in later else run for run in runs
        ]
    return scored
