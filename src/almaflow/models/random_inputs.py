"""Draws random tensors for the inputs that a configuration lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from almaflow.records import InputSpec


def draw(spec: InputSpec, batch_size: int, generator: torch.Generator) -> torch.Tensor:
    """Draw one input: floating and complex ones from the normal distribution, integer ones uniform from their range.

    In a bool tensor no row along the last dimension is True or False all over, where it has more than one element: as
    a mask it would hide everything, and what attention then answers is not defined.

    Raises:
        UsageError: the element type is none that can be drawn, or the range does not fit it.
    """
    dtype = getattr(torch, spec.dtype, None)
    if not isinstance(dtype, torch.dtype):
        message = f"model.inputs: {spec.dtype} is not an element type that almaflow can draw"
        raise UsageError(message)
    shape = full_shape(spec, batch_size)
    if dtype.is_complex:
        return torch.randn(shape, generator=generator, dtype=dtype)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    if dtype is torch.bool:
        drawn = torch.randint(0, 2, shape, generator=generator).to(dtype)
        return _mixed_rows(drawn, generator) if spec.shape and shape[-1] > 1 else drawn
    limits = torch.iinfo(dtype)
    high = limits.max + 1 if spec.high is None and dtype is torch.uint8 else spec.high
    if high is None or not limits.min <= spec.low < high <= limits.max + 1:
        message = (
            f"model.inputs: an input of {spec.dtype} needs low < high within the type's range; "
            f"it has low={spec.low} high={spec.high}"
        )
        raise UsageError(message)
    return torch.randint(spec.low, high, shape, generator=generator, dtype=dtype)


def full_shape(spec: InputSpec, batch_size: int) -> tuple[int, ...]:
    """Return the input's shape with the batch dimension, where it has one."""
    if spec.batch_dim is None:
        return spec.shape
    return (*spec.shape[: spec.batch_dim], batch_size, *spec.shape[spec.batch_dim :])


def _mixed_rows(flags: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turn one element of each row that is the same all over."""
    turned = torch.randint(0, flags.shape[-1], (*flags.shape[:-1], 1), generator=generator)
    mixed = flags.scatter(-1, turned, ~flags.gather(-1, turned))
    uniform = flags.all(-1, keepdim=True) | ~flags.any(-1, keepdim=True)
    return torch.where(uniform, mixed, flags)
