"""Small functions that a session records, and what tests of it share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from almaflow.segments.accelerate import accelerate

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.segments.session import ProfilingSession


ISOLATED = hasattr(torch._dynamo.eval_frame, "_get_total_cache_entry_count")
"""Whether this PyTorch tells the graphs of a session from the application's own."""


def aside(function: Callable[..., None]) -> Callable[..., None]:
    """Keep a function out of graphs, so that each call of it ends one."""
    made: Callable[..., None] = torch._dynamo.disable(function)  # type: ignore[no-untyped-call]
    return made


def calls_of(session: ProfilingSession) -> list[Any]:
    return session.calls.ended()


@accelerate
def alone(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1


def one_layer(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(layer(x))
