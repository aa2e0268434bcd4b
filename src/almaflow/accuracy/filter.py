"""What the stores measured and what predictors said of it, then and afterwards, as far as a filter lets it through."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from almaflow.errors import UsageError
from almaflow.tracking.accuracy.runs import judged_runs
from almaflow.tracking.accuracy.rescored import rescored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from almaflow.records import JudgedRun


@dataclass(frozen=True)
class Filter:
    """Which measurements and predictors are meant; nothing given lets all through.

    Names are patterns of the shell, in any case: ``resnet*``.
    """

    models: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()
    predictors: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    since: float | None = None
    """Seconds since the epoch."""
    named: bool = False
    """Only predictors that the job asked for."""

    def fits(self, run: JudgedRun) -> bool:
        """Whether the measurement is meant."""
        return (
            (self.since is None or run.at >= self.since)
            and _fits(run.model, self.models)
            and _fits(run.hardware, self.hardware)
            and _fits(run.conversion, self.conversions)
            and (not self.experiments or run.experiment in self.experiments)
        )

    def through(self, run: JudgedRun) -> JudgedRun:
        """The run with what is meant of what was said: nothing of one that is not, which may be others' eager."""
        if not self.fits(run):
            return replace(run, said=())
        said = (each for each in run.said if _fits(each.predictor, self.predictors))
        return replace(run, said=tuple(each for each in said if each.named or not self.named))


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def moment_of(text: str) -> float:
    """Seconds since the epoch of ``2026-11-26``, of a time in ISO 8601, or of ``30d`` ago.

    Raises:
        UsageError: it is none of these.
    """
    if found := re.fullmatch(r"(\d+)d", text.strip()):
        return (datetime.now(UTC) - timedelta(days=int(found[1]))).timestamp()
    try:
        made = datetime.fromisoformat(text.strip())
    except ValueError as error:
        message = f"--since {text}: write a day such as 2026-11-26, or 30d for the last thirty days"
        raise UsageError(message) from error
    return (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()


def judgements(uris: Iterable[str], tell: Callable[[str, int], None], *, fresh: bool = False) -> list[JudgedRun]:
    """All measurements of the stores, with everything that was said of them.

    Args:
        uris: Resolved stores; one that is named twice counts once.
        tell: Is told of a store how many runs were read from it so far.
        fresh: Read all again, instead of what is new.

    Raises:
        TrackingError: a store cannot be reached or read.
    """
    found: list[JudgedRun] = []
    for uri in dict.fromkeys(uris):
        runs = judged_runs(uri, partial(tell, uri), fresh=fresh)
        with tempfile.TemporaryDirectory(prefix="almaflow-rescored-") as scratch:
            later = rescored(uri, scratch)
        found += [
            replace(run, said=(*run.said, *later[run.run_id].values())) if run.run_id in later else run for run in runs
        ]
    return found
