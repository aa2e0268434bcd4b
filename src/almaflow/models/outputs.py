"""Flattens the outputs of models to lists of tensors, and finds a conversion's outputs by eager's names and kinds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

NUMBER, COMPLEX, MASK, CLASSES, BOXES, SIGNAL = "number", "complex", "mask", "classes", "boxes", "signal"
CORNERS = 4
"""Figures of a box."""
FIGURES = (
    *(torch.Tensor, np.ndarray, np.generic),
    *(bool, int, float, complex, torch.SymBool, torch.SymInt, torch.SymFloat),
)
"""Types of what is compared in an output; exporters have symbols for numbers."""
PIXELS = 2.0
"""A box reaches further than this, in pixels; four figures up to 1 may be anything."""


class Output(NamedTuple):
    """One tensor of a model's output."""

    name: str
    """Its keys and positions in the output, as ``boxes`` or ``0.hidden``; empty where the output is the tensor."""
    is_number: bool
    """Whether it was a number of Python's, which the graph of a runtime may not have."""
    tensor: torch.Tensor


def flatten_outputs(output: object) -> list[torch.Tensor]:
    """Return the tensors of a model's output, on the CPU, in the order in which the output holds them.

    The output may be a tensor, a numpy array, a number, or tuples, lists, mappings (also the output classes of
    transformers) and dataclasses of those, nested to any depth. Quantised and sparse tensors come back as floating and
    dense ones. Parts without figures (None, text, caches of a model's own class) are left out.

    Raises:
        TypeError: there is no tensor in it at all.
    """
    return [each.tensor for each in named_outputs(output)]


def named_outputs(output: object) -> list[Output]:
    """Return what `flatten_outputs` does, with names and kinds; tuples of text, bool and tensor for ``torch.save``.

    Raises:
        TypeError: there is no tensor in it at all.
    """
    found = found_outputs(output)
    if not found:
        message = f"the output is a {type(output).__name__} without a tensor in it"
        raise TypeError(message)
    return found


def found_outputs(output: object) -> list[Output]:
    """Return what `named_outputs` does, or nothing: a model may answer some inputs with nothing at all."""
    return list(_named(output))


def raw_tensors(output: object) -> Iterator[torch.Tensor]:
    """Yield the tensors of an output as they are, on their device and in their own memory."""
    return (figure for _, figure in named_figures(output) if isinstance(figure, torch.Tensor))


def named_figures(output: object, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors, arrays and numbers of an output as they are, nested to any depth, with their names."""
    if isinstance(output, FIGURES):
        yield name, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from named_figures(value, _below(name, key))
    elif isinstance(output, (tuple, list)):
        for position, value in enumerate(output):
            yield from named_figures(value, _below(name, position))
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for field in dataclasses.fields(output):
            yield from named_figures(getattr(output, field.name), _below(name, field.name))


def matched(
    reference: Sequence[tuple[str, bool, torch.Tensor]], found: Sequence[Output]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return eager's tensors and the conversion's that belong to them.

    By name where the conversion gives a mapping with eager's names, else by position. Python's numbers are left out of
    eager's where the conversion has only the tensors. What does not fit is returned as it is, for the check to tell.

    Args:
        reference: Eager's output, from `named_outputs`.
        found: The conversion's output, from `found_outputs`.
    """
    expected = [Output(*each) for each in reference]
    tensors = [each for each in expected if not each.is_number]
    by_name = {each.name: each.tensor for each in found}
    for wanted in (expected, tensors):
        named = len({each.name for each in wanted}) == len(wanted) and all(each.name in by_name for each in wanted)
        if wanted and named and len(wanted) == len(found):
            return [each.tensor for each in wanted], [by_name[each.name] for each in wanted]
    wanted = tensors if tensors and len(tensors) == len(found) != len(expected) else expected
    return [each.tensor for each in wanted], [each.tensor for each in found]


def kind_of(tensors: Sequence[torch.Tensor]) -> str:
    """Return the kind of an output, given its value at each of some calls.

    Returns:
        ``number`` (one element), ``complex``, ``mask`` (booleans, or integers of 0 and 1), ``classes`` (other
        integers), ``boxes`` (floats with four figures last, in pixels, each second pair not before the first), or
        ``signal``.
    """
    first = tensors[0]
    if first.dim() == 0:
        return NUMBER
    if first.is_complex():
        return COMPLEX
    if first.dtype is torch.bool:
        return MASK
    if first.is_floating_point() or first.dtype is torch.uint8:
        return BOXES if first.is_floating_point() and _are_boxes(tensors) else SIGNAL
    values = torch.cat([each.flatten() for each in tensors])
    is_mask = bool(values.numel()) and int(values.amin()) == 0 and int(values.amax()) == 1
    return MASK if is_mask else CLASSES


def _are_boxes(tensors: Sequence[torch.Tensor]) -> bool:
    if any(each.dim() < 2 or each.shape[-1] != CORNERS for each in tensors):  # noqa: PLR2004 - boxes in a list
        return False
    rows = torch.cat([each.reshape(-1, CORNERS) for each in tensors])
    return bool(len(rows)) and bool((rows[:, 2:] >= rows[:, :2]).all()) and float(rows.max()) > PIXELS


def _named(output: object) -> Iterator[Output]:
    for name, figure in named_figures(output):
        if isinstance(figure, torch.Tensor):
            yield from _tensors(figure.detach(), name)
        elif isinstance(figure, (np.ndarray, np.generic)):
            # A copy: a runtime may give the same buffer again.
            yield Output(name, is_number=False, tensor=torch.from_numpy(np.array(figure)))
        else:
            yield Output(name, is_number=True, tensor=torch.tensor(figure))


def _tensors(tensor: torch.Tensor, name: str) -> Iterator[Output]:
    if tensor.is_nested:
        for position, each in enumerate(tensor.unbind()):
            yield from _tensors(each, _below(name, position))
        return
    tensor = plain(tensor)
    tensor = tensor.cpu() if tensor.layout is torch.strided else tensor.to_dense().cpu()
    yield Output(name, is_number=False, tensor=tensor.dequantize() if tensor.is_quantized else tensor)


def plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without the class that a library gave it, such as torchvision's images; wrappers stay."""
    library = type(tensor) not in {torch.Tensor, torch.nn.Parameter} and not hasattr(tensor, "__tensor_flatten__")
    return tensor.as_subclass(torch.Tensor) if library else tensor


def _below(name: str, key: object) -> str:
    # OpenVINO's mappings have objects for keys, with the names of the output in them.
    names = getattr(key, "names", None)
    part = min(names) if isinstance(names, set) and names else str(key)
    return f"{name}.{part}" if name else part
