"""Scored runs as accuracy over time takes them, read from the store."""

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


def scored_history(uris: Iterable[str], tell: Callable[[str, int], None], *, fresh: bool = False) -> list[ScoredRun]:
    """All measurements of the stores, with everything that was said of them.

    Args:
        uris: Resolved stores; one that is named twice counts once.
        tell: Is told of a store how many runs were read from it so far.
        fresh: Read all again, instead of what is new.

    Raises:
        TrackingError: a store cannot be reached or read.
    """
    found: list[ScoredRun] = []
    for uri in dict.fromkeys(uris):
        runs = scored_runs(uri, partial(tell, uri), fresh=fresh)
        with tempfile.TemporaryDirectory(prefix="almaflow-rescored-") as scratch:
            later = rescored(uri, scratch)
        found += [
            replace(run, said=(*run.said, *later[run.run_id].values())) if run.run_id in later else run for run in runs
        ]
    return found
