"""The predictors that a configuration names, made."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError, UsageError
from almaflow.predict import Given, Predictor

if TYPE_CHECKING:
    from almaflow.config.schema import JobConfig

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def resolve_predictors(job: JobConfig) -> tuple[Predictor, ...]:
    """In the order in which they are named; a ``predicted_latency_ms`` comes first where none of them takes it.

    Raises:
        UsageError: one cannot be made, or is no predictor.
    """
    made = [_made(name, entry) for name, entry in job.predictor.items()]
    if job.predicted_latency_ms is not None and not any(isinstance(each, Given) for each in made):
        made.insert(0, Given(job.predicted_latency_ms, job.predicted_energy_j))
    names = [predictor.name for predictor in made]
    if twice := [name for name in names if names.count(name) > 1]:
        message = f"predictor: two of them are called {twice[0]}; give one of them another name"
        raise UsageError(message)
    return tuple(made)


def _made(key: str, entry: object) -> Predictor:
    if not isinstance(entry, dict) or not entry.get("_target_"):
        message = f"predictor.{key}: needs a _target_, the import path of a predictor class"
        raise UsageError(message)
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # a user's own class is found from where the command was started, as workers find models
    try:
        made: Predictor = instantiate(entry)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, AlmaflowError):
            raise cause from error
        first = str(cause).strip().partition("\n")[0]
        message = f"predictor.{key}: {entry['_target_']} cannot be made ({type(cause).__name__}: {first})"
        raise UsageError(message) from error
    lacking = [name for name in ("name", "version", "predict") if not hasattr(made, name)]
    if lacking or not callable(made.predict):
        message = f"predictor.{key}: {entry['_target_']} is no predictor, which has name, version and predict(question)"
        raise UsageError(message)
    if not _NAME.fullmatch(str(made.name)):
        message = f"predictor.{key}: its name is {made.name!r}, and must be of letters, digits, _ . and -"
        raise UsageError(message)
    return made
