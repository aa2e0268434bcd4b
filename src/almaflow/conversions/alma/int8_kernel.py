"""Refuse layers that PyTorch's int8 kernel for CPUs reads beyond the end.

quanto multiplies bfloat16 activations by int8 weights with ``torch._weight_int8pack_mm``. That kernel loads 16 values
at once, from aligned addresses, and checks neither: a row of another length ends the process, or is answered with what
lies behind it (PyTorch 2.14, optimum-quanto 0.2.7).
"""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor

    from almaflow.conversions.alma.build_context import AlmaBuild

VALUES_AT_ONCE = 16
"""What the kernel loads of each row, whatever is left of it."""


def guard_int8_kernel(_building: AlmaBuild) -> AbstractContextManager[Any]:
    """Check what quanto gives to the kernel; the guard stays, since it is the calls that meet the kernel."""
    module = importlib.import_module("optimum.quanto.library.qbytes_mm")
    module.qbytes_int8pack_mm = guarded(module.qbytes_int8pack_mm)  # type: ignore[attr-defined]
    return nullcontext()


def guarded(kernel: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return the kernel behind a check of what it takes.

    The guarded kernel raises NotImplementedError for rows that the kernel reads beyond the end, or from an address that
    it may not load from.
    """

    @wraps(kernel)
    def checked(activations: Tensor, weights: Tensor, scales: Tensor) -> Tensor:
        if weights.shape[-1] % VALUES_AT_ONCE:
            message = (
                f"PyTorch's kernel for bfloat16 activations and int8 weights takes layers whose number of inputs is a "
                f"multiple of {VALUES_AT_ONCE}, not {weights.shape[-1]}: convert the model to float32 first"
            )
            raise NotImplementedError(message)
        if any(tensor.data_ptr() % (VALUES_AT_ONCE * tensor.element_size()) for tensor in (activations, weights)):
            message = "PyTorch's kernel for bfloat16 activations and int8 weights takes aligned memory only"
            raise NotImplementedError(message)
        return kernel(activations, weights, scales)

    return checked
