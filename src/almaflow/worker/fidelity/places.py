"""Makes an output and eager's comparable: dense, complex as pairs, and the places where there are no figures."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pair:
    """One output of one call, eager's and the conversion's; ``judged`` is where figures count, None for everywhere."""

    ref: Tensor
    out: Tensor
    judged: Tensor | None = None


def pair(ref: Tensor, out: Tensor, judged: Tensor | None) -> Pair | str:
    """Return the two in the same form, or what makes them impossible to compare.

    Args:
        ref: Eager's output.
        out: The conversion's.
        judged: True where a place counts, of the shape of the first two dimensions of the outputs that it is for.
    """
    ref, out = _dense(ref), _dense(out)
    if ref.is_complex() or out.is_complex():
        ref, out = _real_pairs(ref), _real_pairs(out)
    if ref.numel() == out.numel() == 1:
        ref, out = ref.reshape(()), out.reshape(())  # runtimes give a number as a tensor of one element
    if ref.shape != out.shape:
        return f"output of shape {tuple(out.shape)} where eager gives {tuple(ref.shape)}"
    counts = None
    if judged is not None and ref.dim() > 1 and ref.shape[:2] == judged.shape:
        counts = judged.cpu().bool().reshape(*judged.shape, *[1] * (ref.dim() - 2)).expand(ref.shape)
    if _all_finite(ref) and _all_finite(out):
        return Pair(ref, out, counts)
    problem = _other_places(ref, out, counts)
    if problem:
        return problem
    finite = ref.isfinite()
    counts = finite if counts is None else counts & finite
    return Pair(ref, out, counts)


def _dense(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor if tensor.layout is torch.strided else tensor.to_dense()


def _real_pairs(tensor: Tensor) -> Tensor:
    """Return real and imaginary parts before the last dimension; some runtimes give them as a last one of two."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.movedim(-1, -2) if tensor.dim() > 1 else tensor


def _all_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    low, high = (figure.item() for figure in torch.aminmax(tensor))  # no copy, and NaN comes through
    return abs(low) < float("inf") and abs(high) < float("inf")


def _other_places(ref: Tensor, out: Tensor, counts: Tensor | None) -> str | None:
    """Name the first kind of value that is not where eager has it."""
    total = ref.numel() if counts is None else int(counts.sum())
    kinds = (("NaN", Tensor.isnan), ("inf", Tensor.isposinf), ("-inf", Tensor.isneginf))
    for name, is_kind in kinds:
        there, here = is_kind(ref), is_kind(out)
        if counts is not None:
            there, here = there & counts, here & counts
        more, fewer = here & ~there, there & ~here
        if more.any():
            beside = next((other for other, is_other in kinds if is_other(ref[more]).all()), "numbers")
            return f"{name} in {int(more.sum())} of {total} places where eager has {beside}"
        if fewer.any():
            return f"other values in {int(fewer.sum())} of {total} places where eager has {name}"
    return None
