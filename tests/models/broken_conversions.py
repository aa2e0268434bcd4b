"""Conversions that are broken on purpose, and right ones beside them, as a package of one's own would bring them.

Each runs the model by eager PyTorch and does one thing that real converters have done to somebody. A worker builds them
by their path.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from almaflow.conversions import BuiltModel, ConversionPlugin
from almaflow.records import PlannedConversion

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from almaflow.conversions import BuildInputs

    Model = torch.nn.Module

BROKEN: dict[str, tuple[str, ...]] = {
    "loses_channel": ("perceptron", "conv_norms", "upsamples", "boxes_and_scores", "torchvision_resnet18"),
    "loses_last_place": ("scores_in_last_dimension", "lstm", "gru", "bert"),
    "loses_scores": ("boxes_and_scores", "scores_in_last_dimension", "boxes_and_scores_apart"),
    "loses_output": ("pair", "dictionary", "lstm", "bert"),
    "swaps_rows": ("perceptron", "lstm", "recommender", "einsum"),
    "swaps_outputs": ("same_shapes", "nested"),
    "loses_row": ("perceptron", "boolean_mask"),
    "freezes_branch": ("both_branches", "steps_from_input"),
    "ignores_mask": ("boolean_mask", "pools_unpadded"),
    "ignores_input": ("perceptron", "lstm", "large_offset", "class_only", "one_number"),
    "ignores_second_input": ("other_order", "cross_attention", "scatter_add", "several_types"),
    "biases_class": ("perceptron", "conv_norms", "torchvision_mobilenet_v3_small"),
    "gives_inputs": ("no_parameters", "subtracts", "shared_weights"),
    "gives_inputs_first": ("subtracts", "cross_attention"),
    "answers_late": ("perceptron", "lstm", "class_only"),
    "fills_infinities": ("minus_infinity", "log_of_negative"),
    "shifts_classes": ("class_only", "top_k"),
    "loses_imaginary": ("complex_output",),
    "inverts_mask": ("mask_and_scores",),
    "sorts_wrongly": ("top_k", "best_places"),
    "keeps_none": ("keeps_some", "thinned_out"),
}
"""What is broken, and the models where it matters."""

RIGHT = ("right", "reuses_memory", "adds_noise")
"""Right conversions."""

PASSING = (
    *("perceptron", "conv_norms", "upsamples", "boxes_and_scores", "scores_in_last_dimension", "lstm", "bert"),
    *("same_shapes", "dictionary", "mask_and_scores", "class_only", "top_k", "one_number", "large_offset"),
    *("minus_infinity", "log_of_negative", "complex_output", "subtracts", "counts", "recurrent", "key_cache"),
    *("boolean_mask", "fully_masked_row", "empty_part", "nothing_found", "gives_back_views", "reuses_buffer"),
    *("keeps_some", "thinned_out", "both_branches", "rotary_table", "permuted", "other_order"),
)
"""Models on which each of the right conversions must pass."""


def planned(name: str, dtype: str) -> PlannedConversion:
    """The conversion of this name, judged by the tolerance of ``dtype``."""
    plugin = ConversionPlugin(f"{name.upper()}_AS_{dtype.upper()}", f"{__name__}:{name}", "does one thing", dtype=dtype)
    entry = plugin.entry()
    return PlannedConversion(
        name=entry.name,
        requested=entry.name,
        family=entry.family,
        steps=entry.steps,
        engine=entry.engine,
        device="cpu",
        dtype=entry.dtype,
        input_dtype=entry.input_dtype,
        builder=entry.builder,
        traits=entry.traits,
    )


def _changing(change: Callable[[Tensor], Tensor]) -> Callable[[Model, BuildInputs], BuiltModel]:
    """A builder whose model gives the changed tensors."""

    def build(model: Model, _work: BuildInputs) -> BuiltModel:
        def forward(*inputs: Any, **named: Any) -> Any:
            return tree_map(
                lambda part: change(part) if isinstance(part, torch.Tensor) else part, model(*inputs, **named)
            )

        return BuiltModel(forward, model=model)

    return build


def _put(tensor: Tensor, index: Any, value: Any) -> Tensor:
    changed = tensor.clone()
    changed[index] = value
    return changed


def _channel(tensor: Tensor) -> int:
    return tensor.shape[1] // 2


loses_channel = _changing(lambda t: _put(t, (slice(None), _channel(t)), 0))
loses_last_place = _changing(lambda t: _put(t, (..., -1), 0))
loses_row = _changing(lambda t: _put(t, -1, 0))
swaps_rows = _changing(lambda t: t.flip(0))
biases_class = _changing(lambda t: _put(t, (slice(None), 1), t[:, 1] + t.std()))
fills_infinities = _changing(lambda t: t.nan_to_num(0.0, 1e4, -1e4))
shifts_classes = _changing(lambda t: t if t.is_floating_point() else t + 1)
loses_imaginary = _changing(lambda t: torch.complex(t.real, torch.zeros_like(t.real)))
inverts_mask = _changing(lambda t: ~t if t.dtype is torch.bool else t)
sorts_wrongly = _changing(lambda t: t.flip(1) if t.is_floating_point() else t)
keeps_none = _changing(lambda t: t[:0])
right = _changing(lambda t: t)


@_changing
def loses_scores(tensor: Tensor) -> Tensor:
    """Of boxes and scores the scores are all alike, wherever they are."""
    if tensor.shape[1] == 6:
        return _put(tensor, (slice(None), slice(4, None)), tensor[:, 4:].mean())
    if tensor.shape[-1] == 6:
        return _put(tensor, (..., slice(4, None)), tensor[..., 4:].mean())
    return torch.full_like(tensor, float(tensor.mean())) if tensor.shape[-1] == 2 else tensor


@_changing
def adds_noise(tensor: Tensor) -> Tensor:
    """Right: noise as float32 kernels have it, 120 dB below each value."""
    if not tensor.is_floating_point() or not tensor.numel():
        return tensor
    noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)) * 1e-6
    return torch.where(tensor.isfinite(), tensor + tensor * noise, tensor)


def loses_output(model: Model, _work: BuildInputs) -> BuiltModel:
    """The last tensor of the answer is not given."""
    return BuiltModel(lambda *inputs, **named: tuple(_tensors(model(*inputs, **named))[:-1]), model=model)


def swaps_outputs(model: Model, _work: BuildInputs) -> BuiltModel:
    """The tensors of the answer come in the other order, under the right names."""

    def forward(*inputs: Any, **named: Any) -> Any:
        answer = model(*inputs, **named)
        others = iter(reversed(_tensors(answer)))
        return tree_map(lambda part: next(others) if isinstance(part, torch.Tensor) else part, answer)

    return BuiltModel(forward, model=model)


def freezes_branch(model: Model, work: BuildInputs) -> BuiltModel:
    """The decisions of the first example are kept."""
    traced = torch.jit.trace(model, work.batches[0], check_trace=False)  # type: ignore[no-untyped-call]
    return BuiltModel(traced, model=model)


def ignores_mask(model: Model, _work: BuildInputs) -> BuiltModel:
    """Nothing is masked: everything may be seen, nothing is padded."""

    def forward(first: Tensor, mask: Tensor) -> Any:
        return model(first, torch.ones_like(mask) if mask.dim() > 2 else torch.zeros_like(mask))

    return BuiltModel(forward, model=model)


def ignores_input(model: Model, work: BuildInputs) -> BuiltModel:
    """Every call answers as the first example."""
    answer = model(*work.batches[0])
    return BuiltModel(lambda *_inputs: answer, model=model)


def ignores_second_input(model: Model, work: BuildInputs) -> BuiltModel:
    """The second input is always that of the first example."""
    second = work.batches[0][1].clone()
    return BuiltModel(lambda first, _second, *rest: model(first, second, *rest), model=model)


def gives_inputs(model: Model, _work: BuildInputs) -> BuiltModel:
    """The inputs come back as the answer."""
    return BuiltModel(lambda *inputs: inputs[0] if len(inputs) == 1 else inputs, model=model)


def gives_inputs_first(model: Model, _work: BuildInputs) -> BuiltModel:
    """The inputs come back before the answer, as programs give back what was changed in place."""
    return BuiltModel(lambda *inputs: (*inputs, *_tensors(model(*inputs))), model=model)


def answers_late(model: Model, work: BuildInputs) -> BuiltModel:
    """Each call gives the answer to the one before, as a buffer does that is read too early."""
    last = [model(*work.batches[0])]

    def forward(*inputs: Any) -> Any:
        last.append(model(*inputs))
        return last.pop(0)

    return BuiltModel(forward, model=model)


def reuses_memory(model: Model, _work: BuildInputs) -> BuiltModel:
    """Right: every answer of one size is written to the same memory, as runtimes do."""
    kept: dict[Any, Tensor] = {}

    def forward(*inputs: Any, **named: Any) -> Any:
        numbers = count()

        def same_memory(part: Any) -> Any:
            if not isinstance(part, torch.Tensor):
                return part
            place = kept.setdefault((next(numbers), part.shape, part.dtype), torch.empty_like(part))
            return place.copy_(part)

        return tree_map(same_memory, model(*inputs, **named))

    return BuiltModel(forward, model=model)


def _tensors(answer: Any) -> list[Tensor]:
    return [part for part in tree_leaves(answer) if isinstance(part, torch.Tensor)]
