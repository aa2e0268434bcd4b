"""Read the scored runs of several stores, with the predictions that were made afterwards."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from almaflow.tracking.accuracy.cache import RunCache, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from almaflow.records import ScoredRun
    from almaflow.tracking.accuracy.cache import Later


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
        runs, later = _read(uri, partial(notify, uri), fresh=fresh)
        scored += [
            replace(run, said=(*run.said, *later[run.run_id].values())) if run.run_id in later else run for run in runs
        ]
    return scored


def _read(uri: str, notify: Callable[[int], None], *, fresh: bool) -> tuple[list[ScoredRun], Later]:
    """Read from the cache where the store is as it was then, which spares the seconds of importing MLflow."""
    state = state_of(uri)
    if state is not None and not fresh:
        cached = RunCache(uri).read(wanted=state)
        if cached.state == state:
            return [run for run in cached.runs if run.counts], cached.later
    from almaflow.tracking.accuracy.rescored import rescored
    from almaflow.tracking.accuracy.runs import scored_runs

    with tempfile.TemporaryDirectory(prefix="almaflow-rescored-") as scratch:
        later, complete = rescored(uri, scratch)
    whole = (state, later) if state is not None and complete else None
    return scored_runs(uri, notify, fresh=fresh, whole=whole), later
