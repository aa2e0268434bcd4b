"""Imports libraries that only some models need."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from almaflow.errors import UsageError
from almaflow.records.distribution import install_line

if TYPE_CHECKING:
    from types import ModuleType


def optional(module: str, extra: str) -> ModuleType:
    """Import a module that an extra of almaflow installs.

    Raises:
        UsageError: it is not installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        message = f"this model needs {library} ({error}): {install_line(extra)}"
        raise UsageError(message) from error
