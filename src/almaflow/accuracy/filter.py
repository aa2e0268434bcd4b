"""Select scored runs and their predictions by model, hardware, conversion, predictor and time."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from almaflow.errors import UsageError
from almaflow.records.hardware import machine_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records import ScoredRun


@dataclass(frozen=True)
class Filter:
    """A selection of measurements and predictors; an empty field selects all.

    Names are patterns of the shell such as ``resnet*``; upper and lower case are the same.
    """

    models: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()
    predictors: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    since: float | None = None
    """Seconds since the epoch."""
    named: bool = False
    """Whether only predictors that the job had named are selected."""

    def fits(self, run: ScoredRun) -> bool:
        """Return whether the measurement is selected."""
        return (
            (self.since is None or run.at >= self.since)
            and _fits(run.model, self.models)
            and _fits(run.hardware, self.hardware)
            and _fits(run.conversion, self.conversions)
            and (not self.experiments or run.experiment in self.experiments)
        )

    def through(self, run: ScoredRun) -> ScoredRun:
        """Return the run with the selected predictions only.

        A run that does not fit keeps none. It is not dropped: it may be the eager run that others are compared with.
        """
        if not self.fits(run):
            return replace(run, said=())
        predictions = (each for each in run.said if _fits(each.predictor, self.predictors))
        return replace(run, said=tuple(each for each in predictions if each.named or not self.named))


def by_machine(run: ScoredRun) -> ScoredRun:
    """Return the run with its own machine in the name of its hardware, so that machines of a kind are told apart."""
    return replace(run, hardware=machine_name(run.hardware, run.machine_id or "unknown"))


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)


def moment_of(text: str) -> float:
    """Return the seconds since the epoch of ``2026-11-26``, of a time in ISO 8601, or of ``30d`` ago.

    Raises:
        UsageError: it is none of these.
    """
    if match := re.fullmatch(r"(\d+)d", text.strip()):
        return (datetime.now(UTC) - timedelta(days=int(match[1]))).timestamp()
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        message = f"--since {text}: write a day such as 2026-11-26, or 30d for the last thirty days"
        raise UsageError(message) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
