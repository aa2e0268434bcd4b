"""Flattens the outputs of models to lists of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import torch


def flatten_outputs(output: object) -> list[torch.Tensor]:
    """Return the tensors of a model's output, on the CPU, in the order in which the output holds them.

    The output may be a tensor, a numpy array, a number, or tuples, lists, mappings (also the output classes of
    transformers) and dataclasses of those, nested to any depth. Quantised tensors come back as floating ones. Parts
    without figures (None, text, caches of a model's own class) are left out.

    Raises:
        TypeError: there is no tensor in it at all.
    """
    tensors = list(_tensors(output))
    if not tensors:
        message = f"the output is a {type(output).__name__} without a tensor in it"
        raise TypeError(message)
    return tensors


def _tensors(output: object) -> Iterator[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        tensor = output.detach().cpu()
        yield tensor.dequantize() if tensor.is_quantized else tensor
    elif isinstance(output, (np.ndarray, np.generic)):
        yield torch.from_numpy(np.array(output))  # a copy: a runtime may give the same buffer again
    elif isinstance(output, (bool, int, float)):
        yield torch.tensor(output)
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from _tensors(value)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for field in dataclasses.fields(output):
            yield from _tensors(getattr(output, field.name))
