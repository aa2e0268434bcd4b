"""Describe the conversions, check whether each can run here, and build it.

``catalogue`` says what there is, turns a request into entries, and plans what can run on this machine; it does not
import torch. The rest runs in a worker process: ``build`` builds a conversion with ``alma`` or from the steps of
``native``, and wraps the ``built.BuiltModel`` of either in a ``ConvertedModel``.

A package that brings conversions of its own imports from here: ``ConversionPlugin`` for its entry point,
``BuildInputs``, ``BuiltModel`` and ``ExecutionEvidence`` for its builder.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from almaflow.conversions.built.evidence import ExecutionEvidence
    from almaflow.conversions.built.model import BuildInputs, BuiltModel
    from almaflow.conversions.catalogue.plugins import ConversionPlugin

__all__ = ["BuildInputs", "BuiltModel", "ConversionPlugin", "ExecutionEvidence"]

_MODULES = {
    "BuildInputs": "built.model",
    "BuiltModel": "built.model",
    "ConversionPlugin": "catalogue.plugins",
    "ExecutionEvidence": "built.evidence",
}


def __getattr__(name: str) -> Any:
    """Import only the module of the name that is used."""
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
