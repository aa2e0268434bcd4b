"""Converts a graph where it runs: in the application's process, with the weights that it has there."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from almaflow.conversions.build import build
from almaflow.conversions.built.model import BuildInputs
from almaflow.models.batches import copied
from almaflow.models.call_form import CallForm
from almaflow.models.examine import examine
from almaflow.models.graph_code import UnderAutocast
from almaflow.models.outputs import found_outputs, matched, named_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.models.batches import Batch
    from almaflow.records import PlannedConversion
    from almaflow.segments.standalone import Standalone

OWN_TYPE = "float32"
"""``input_dtype`` of conversions that do not cast."""


def converted_graph(
    planned: PlannedConversion, alone: Standalone, args: Sequence[Any], autocast: dict[str, str]
) -> Callable[..., tuple[Any, ...]]:
    """Convert a graph, and return what takes its arguments and gives its outputs.

    Args:
        planned: The conversion.
        alone: The graph with its sizes filled in, and its weights, which are copied.
        args: The arguments of a call, which are not changed here.
        autocast: Type of autocast by device type, where it is on.

    Raises:
        Exception: whatever the converter or the runtime raises.
    """
    model = alone.code()
    # Copies: a converter may write to them.
    state = {name: tensor.detach().clone() for name, tensor in alone.weights.items()}
    model.load_state_dict(state, assign=True)
    for device, dtype in autocast.items():
        model = UnderAutocast(model, device, dtype)
    model.eval()
    batch = copied(tuple(args[place].detach() for place in alone.taken))
    found = examine(model, [batch], CallForm.flat(len(batch)).names, seed=0)
    cast = _caster(planned.input_dtype)
    inputs = BuildInputs([cast(copied(batch))], torch.get_num_threads(), traits=found.traits)
    # Exporters print their steps, which are none of the application's output.
    with contextlib.redirect_stdout(io.StringIO()):
        made = build(planned, model, inputs)
        # Of copies, since it may write to them, and give them.
        first, again = made.call(cast(copied(batch))), made.call(cast(copied(batch)))
    expected = found.outputs[0]
    order = _order(expected, first)
    types = [tensor.dtype for _, _, tensor in expected]
    keeps = not _share_memory(first, again)

    def run(*given: Any) -> tuple[Any, ...]:
        answers = [_tensor(each) for _, each in named_figures(made.call(cast(tuple(given[i] for i in alone.taken))))]
        results = list(alone.outputs)
        for place, which, dtype in zip(alone.given, order, types, strict=False):
            answer = answers[which].to(dtype)
            # A runtime that answers in the same memory each time would change what the application still holds.
            results[place] = answer if keeps or answer is not answers[which] else answer.clone()
        for place, which in zip(alone.written, order[len(alone.given) :], strict=True):
            if answers[which].data_ptr() != given[place].data_ptr():  # else it wrote there itself
                given[place].copy_(answers[which])
        return tuple(results)

    return run


def _caster(dtype: str) -> Callable[[Batch], Batch]:
    if dtype == OWN_TYPE:
        return lambda batch: batch
    wanted = getattr(torch, dtype)
    return lambda batch: tuple(each.to(wanted) if each.is_floating_point() else each for each in batch)


def _order(expected: Sequence[Any], output: object) -> list[int]:
    """Return the places of eager's tensors among the figures of a conversion's output."""
    found = found_outputs(output)
    _, ours = matched(expected, found)
    if len(ours) != len(expected):
        message = f"it gives {len(ours)} outputs where eager gives {len(expected)}"
        raise ValueError(message)
    return [next(i for i, each in enumerate(found) if each.tensor is one) for one in ours]


def _tensor(figure: Any) -> torch.Tensor:
    if isinstance(figure, torch.Tensor):
        return figure
    return torch.from_numpy(figure) if isinstance(figure, np.ndarray) else torch.tensor(figure)


def _share_memory(first: object, second: object) -> bool:
    """Whether two answers, both of which are still held, lie in the same memory."""
    places = [{_tensor(each).untyped_storage().data_ptr() for _, each in named_figures(out)} for out in (first, second)]
    return bool((places[0] & places[1]) - {0})
