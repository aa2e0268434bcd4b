"""Where time goes, in words that a prediction and a profiler share. Knows no torch."""

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
"""What the name of an operator has in it, in lower case, of a part; the first part that fits counts."""
ELEMENTWISE = "elementwise"
POINTWISE = frozenset(["maximum", "minimum", "add_relu", "clamp_min", "clamp_max"])

_WORDS = {part: tuple(words.split()) for part, words in PARTS.items()}


def part_of(name: str) -> str:
    """The part that an operator belongs to.

    Args:
        name: As PyTorch, ONNX, OpenVINO or inductor calls it: ``aten::addmm``, ``FusedConv``, ``cpp_fused_mean_0``.
    """
    short = name.rpartition("::")[2].lower()
    if short in POINTWISE:
        return ELEMENTWISE
    for part, words in _WORDS.items():
        if any(word in short for word in words):
            return part
    return ELEMENTWISE


def by_part(times: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Milliseconds of each part, the longest first; parts that take none are left out.

    Args:
        times: Name and milliseconds of each operator.
    """
    found: dict[str, float] = {}
    for name, time_ms in times:
        found[part_of(name)] = found.get(part_of(name), 0.0) + time_ms
    return {part: total for part, total in sorted(found.items(), key=lambda item: -item[1]) if total > 0}
