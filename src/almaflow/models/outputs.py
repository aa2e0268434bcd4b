"""What models give back, as a flat list of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import torch


def flatten_outputs(output: object) -> list[torch.Tensor]:
    """The tensors of a model's output, on the CPU, in the order in which the output holds them.

    Takes a tensor, a numpy array, a number, and tuples, lists, mappings (also the output classes of transformers) and
    dataclasses of those, nested as deep as they are. Quantised tensors come back as floating ones. What holds no
    figures (None, text, caches of a model's own class) is left out beside others.

    Raises:
        TypeError: there is no tensor in it at all.
    """
    found = list(_tensors(output))
    if not found:
        message = f"the output is a {type(output).__name__} without a tensor in it"
        raise TypeError(message)
    return found


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
