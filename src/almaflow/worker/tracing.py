"""Notices whether a converter traced the model: a trace keeps the decisions that the example inputs led to."""

from __future__ import annotations

import importlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from almaflow.records import ModelTraits

TRACERS = ("torch.jit.trace", "torch.jit._get_trace_graph", "torch.export.draft_export")
"""Functions that run a model once and keep the way it took. Draft export is one of them: it takes the values that a
decision needs from the example. Older versions of PyTorch lack some."""


class FrozenDecisionError(NotImplementedError):
    """Raised where tracing kept only one way of a decision by values."""


@contextmanager
def frozen_decisions_raise(traits: ModelTraits) -> Iterator[None]:
    """Watch the converter inside.

    Raises:
        FrozenDecisionError: it traced a model that decides by values.
    """
    if not traits.decides_by_values:
        yield
        return
    traced: list[str] = []
    with ExitStack() as stack:
        for name in filter(_is_there, TRACERS):
            stack.enter_context(patch(name, _noting(name, traced)))
        yield
    if traced:
        places = "; ".join(traits.decides_by_values)
        message = f"tracing keeps only the way that the example took where the model decides by values: {places}"
        raise FrozenDecisionError(message)


def _is_there(name: str) -> bool:
    module, _, attribute = name.rpartition(".")
    return hasattr(importlib.import_module(module), attribute)


def _noting(name: str, traced: list[str]) -> Callable[..., Any]:
    module, _, attribute = name.rpartition(".")
    original = getattr(importlib.import_module(module), attribute)

    def call(*args: Any, **kwargs: Any) -> Any:
        if not (args and isinstance(args[0], torch.jit.ScriptModule)):  # scripted code keeps its decisions
            traced.append(name)
        return original(*args, **kwargs)

    return call
