"""Measures a PyTorch model through every way of deploying it and tracks the figures in MLflow.

Importing the package imports nothing heavy: what is offered here is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from almaflow.moved import find_old_modules

if TYPE_CHECKING:
    from almaflow.api.profile import profile
    from almaflow.api.stored import load_job, load_jobs, load_sweep
    from almaflow.api.validation import validate
    from almaflow.segments.accelerate import accelerate

    __version__: str

_PLACES = {
    "accelerate": "almaflow.segments.accelerate",
    "load_job": "almaflow.api.stored",
    "load_jobs": "almaflow.api.stored",
    "load_sweep": "almaflow.api.stored",
    "profile": "almaflow.api.profile",
    "validate": "almaflow.api.validation",
}
__all__ = ["__version__", "accelerate", "load_job", "load_jobs", "load_sweep", "profile", "validate"]

find_old_modules()


def __getattr__(name: str) -> object:
    """Load a public name on first use, and keep it."""
    value: object
    if name == "__version__":
        value = import_module("almaflow.records.distribution").distribution().version
    elif name in _PLACES:
        value = getattr(import_module(_PLACES[name]), name)
    else:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the lazy names beside the loaded ones."""
    return sorted({*globals(), *__all__})
