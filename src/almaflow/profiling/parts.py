"""Names of the parts of a model's time, the same for predictions and profilers. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PARTS = {
    "convolution": "conv",
    "attention": "attention sdpa scaleddotproduct",
    "matrix product": "matmul mm gemm linear inner_product innerproduct fullyconnected addmv dot",
    "normalisation": "norm mvn",
    "softmax": "softmax",
    "pooling": "pool upsample interpolate resize",
    "reduction": "reduce reduction mean sum amax argmax max min",
    "lookup": "gather embedding index",
    "copy": "copy clone cat reorder transpose permute reshape pad slice split concat stack roll tile broadcast shuffle "
    "contiguous fill memory strided view expand",
}
"""Fragments of operator names, in lower case, by part; the first part with a fragment in the name counts."""
ELEMENTWISE = "elementwise"
POINTWISE = frozenset(["maximum", "minimum", "add_relu", "clamp_min", "clamp_max"])

_WORDS = {part: tuple(words.split()) for part, words in PARTS.items()}


def part_of(name: str) -> str:
    """Return the part that an operator belongs to.

    Args:
        name: Its name in PyTorch, ONNX, OpenVINO or inductor: ``aten::addmm``, ``FusedConv``, ``cpp_fused_mean_0``.
    """
    short = name.rpartition("::")[2].lower()
    if short in POINTWISE:
        return ELEMENTWISE
    for part, words in _WORDS.items():
        if any(word in short for word in words):
            return part
    return ELEMENTWISE


def by_part(times: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Sum the milliseconds of each part, the longest first; parts that take none are left out.

    Args:
        times: Name and milliseconds of each operator.
    """
    totals: dict[str, float] = {}
    for name, time_ms in times:
        totals[part_of(name)] = totals.get(part_of(name), 0.0) + time_ms
    return {part: total for part, total in sorted(totals.items(), key=lambda item: -item[1]) if total > 0}
