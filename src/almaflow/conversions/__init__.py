"""The conversions: what each is and needs, whether it can run here, and how it is built.

``catalogue`` says what there is, turns a request into entries, and plans what can run on this machine; it does not
import torch. The rest belongs into a worker process: ``build`` builds a conversion, with ``alma`` or from the steps of
``native``, and makes a ``ConvertedModel`` of the ``built.BuiltModel`` that it gets from either.

A package that brings conversions of its own finds here what it needs: ``ConversionPlugin`` for its entry point,
``BuildInputs`` and ``BuiltModel`` for its builder.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from almaflow.conversions.built.model import BuildInputs, BuiltModel
    from almaflow.conversions.catalogue.plugins import ConversionPlugin

__all__ = ["BuildInputs", "BuiltModel", "ConversionPlugin"]

_HOMES = {"BuildInputs": "built.model", "BuiltModel": "built.model", "ConversionPlugin": "catalogue.plugins"}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for, and nothing else with it."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
