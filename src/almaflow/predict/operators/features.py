"""What the time of an operator depends on, as numbers that are the same for every runtime."""

from __future__ import annotations

from math import log2, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from almaflow.records.operators import Operator, OperatorTensor

FIRST_CHANNELS = 4
"""Most input channels with which a convolution has a kernel of its own in most libraries."""
FEATURES = ("flops", "read", "written", "weights", "rows", "channels", "depth", "last", "window", "step", "tensors")


def class_of(operator: Operator) -> str:
    """Return the class of operators whose times are learnt together: the kind, and of convolutions the variant."""
    kind, weight = operator.kind.rpartition(":")[2], _weight(operator)
    if "conv" not in kind.lower() or weight is None:
        return kind if weight is None or _first(operator) != 1 else f"{kind} vector"
    if _depth(weight) == 1:
        return f"{kind} depthwise"
    if _groups(operator, weight) > 1:
        return f"{kind} grouped"
    if _depth(weight) <= FIRST_CHANNELS:
        return f"{kind} first"
    return f"{kind} pointwise" if _window(weight) == 1 else f"{kind} dense"


def features(operator: Operator) -> list[float]:
    """Return the logarithms of the operator's sizes, in the order of ``FEATURES``."""
    out = next((each for each in operator.outputs if each), None)
    shape = out.shape if out and out.shape else (1,)
    weight = _weight(operator)
    given = next((each for each in operator.inputs if each and not each.constant), None)
    image = len(shape) >= _IMAGE
    places = prod(shape[2:]) * shape[0] if image else prod(shape[:-1])
    before = prod(given.shape[2:]) * given.shape[0] if image and given and len(given.shape) >= _IMAGE else places
    sizes = (
        operator.flops,
        operator.read_bytes,
        operator.written_bytes,
        operator.weight_bytes,
        places,
        shape[1] if image else shape[-1],
        _depth(weight) if weight else (given.shape[-1] if given and given.shape else 1),
        shape[-1],
        _window(weight) if weight else 1,
        before / max(1, places),
        sum(1 for each in operator.inputs if each and not each.constant),
    )
    return [log2(1 + max(0.0, float(each))) for each in sizes]


_IMAGE = 4
"""Dimensions of a batch of images."""


def _weight(operator: Operator) -> OperatorTensor | None:
    constants = [each for each in operator.inputs if each and each.constant and len(each.shape) > 1]
    return max(constants, key=lambda each: each.bytes, default=None)


def _window(weight: OperatorTensor) -> int:
    return prod(weight.shape[-2:]) if len(weight.shape) >= _IMAGE else 1


def _depth(weight: OperatorTensor) -> int:
    return weight.shape[-3] if len(weight.shape) >= _IMAGE else weight.shape[0]


def _groups(operator: Operator, weight: OperatorTensor) -> int:
    if len(weight.shape) > _IMAGE:  # OpenVINO's weights begin with the groups
        return weight.shape[0]
    return int(operator.attributes.get("group", 1))


def _first(operator: Operator) -> int:
    out = next((each for each in operator.outputs if each), None)
    return prod(out.shape[:-1]) if out and out.shape else 0
