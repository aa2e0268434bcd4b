"""Configuration: the YAML files of ``conf/``, their types and ranges, and what they come to on this machine.

Only this room and the command line know Hydra and OmegaConf. A name is loaded on first use, so that a command which
only lists files pays for neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from almaflow.config.composition import compose
    from almaflow.config.explain import explain
    from almaflow.config.files import GROUPS, choices, conf_dir
    from almaflow.config.overrides import expand, override, quote_numbers
    from almaflow.predict.configured import resolve_predictors
    from almaflow.config.resolve import (
        describe_hardware,
        obstacle,
        resolve_hardware,
        resolve_learnt,
        resolve_measure,
        resolve_model,
    )
    from almaflow.config.schema import JobConfig
    from almaflow.config.store import register
    from almaflow.config.validation import plain, validate

__all__ = [
    "GROUPS",
    "JobConfig",
    "choices",
    "compose",
    "conf_dir",
    "describe_hardware",
    "expand",
    "explain",
    "obstacle",
    "override",
    "plain",
    "quote_numbers",
    "register",
    "resolve_hardware",
    "resolve_learnt",
    "resolve_measure",
    "resolve_model",
    "resolve_predictors",
    "validate",
]

_HOMES = {
    "GROUPS": "files",
    "JobConfig": "schema",
    "choices": "files",
    "compose": "composition",
    "conf_dir": "files",
    "describe_hardware": "resolve",
    "expand": "overrides",
    "explain": "explain",
    "obstacle": "resolve",
    "override": "overrides",
    "plain": "validation",
    "quote_numbers": "overrides",
    "register": "store",
    "resolve_hardware": "resolve",
    "resolve_learnt": "resolve",
    "resolve_measure": "resolve",
    "resolve_model": "resolve",
    "resolve_predictors": "predictors",
    "validate": "validation",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use, and keep it."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # over the submodule of the same name, which the import has just bound
    return value
