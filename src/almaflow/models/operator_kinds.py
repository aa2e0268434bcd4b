"""Classes of operators by what limits them, and the sizes of their matrix products. Does not import torch."""

from __future__ import annotations

import math
from typing import Any

_FREE = (
    "alias as_strided chunk detach diagonal expand lift_fresh narrow permute select slice split split_with_sizes "
    "squeeze t transpose unbind unfold unsqueeze view _unsafe_view _reshape_alias empty empty_like movedim "
    "sym_size _assert_tensor_metadata _assert_async empty_strided new_empty is_same_size"
)
FREE = frozenset(_FREE.split())
"""Operators that neither read nor write the elements."""

JOINABLE = frozenset({"elementwise", "batch_norm"})
"""Classes of operators that compilers fuse into the operation that made their input."""

_BY_NAME = {
    "batch_norm": "native_batch_norm _native_batch_norm_legit_no_training _native_batch_norm_legit cudnn_batch_norm "
    "_batch_norm_no_update batch_norm",
    "layer_norm": "native_layer_norm native_group_norm _fused_rms_norm",
    "softmax": "_softmax _log_softmax _safe_softmax",
    "pool": "max_pool2d_with_indices max_pool2d avg_pool2d _adaptive_avg_pool2d adaptive_max_pool2d "
    "upsample_nearest2d upsample_bilinear2d",
    "reduction": "mean sum amax amin max min argmax argmin prod std var var_mean norm linalg_vector_norm any all "
    "cumsum topk sort",
    "gather": "embedding index index_select gather scatter scatter_ index_put index_put_ index_copy roll",
    "copy": "clone cat copy_ copy _to_copy constant_pad_nd fill_ stack repeat full full_like zeros ones zeros_like "
    "ones_like new_zeros new_ones new_full arange scalar_tensor pixel_shuffle channel_shuffle native_channel_shuffle "
    "contiguous",
}
_KINDS = {name: kind for kind, names in _BY_NAME.items() for name in names.split()}
_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "addmv", "mv", "dot"})
_RECURRENT = "mkldnn_rnn_layer"
"""A kernel of eager PyTorch for all steps of an LSTM's layer."""
_CONVOLUTIONS = frozenset({"convolution", "_convolution", "mkldnn_convolution", "cudnn_convolution"})

POINTWISE, DEPTHWISE, GROUPED = "conv_pointwise", "conv_depthwise", "conv_grouped"


def kind_of(name: str, args: tuple[Any, ...]) -> str:
    """Return the class of an operator.

    Args:
        name: Its name in ``aten``.
        args: Its arguments, tensors replaced by their shapes.
    """
    if name in _CONVOLUTIONS:
        return _convolution_kind(args)
    if name in _PRODUCTS or name == _RECURRENT:
        return "matmul"
    if "attention" in name:
        return "attention"
    return _KINDS.get(name, "elementwise")


def _convolution_kind(args: tuple[Any, ...]) -> str:
    image, weight, groups = args[0], args[1], args[8]
    if groups == image[1] and groups > 1:
        return DEPTHWISE
    if groups > 1:
        return GROUPED
    return POINTWISE if all(size == 1 for size in weight[2:]) else "conv"


def product_sizes(name: str, args: tuple[Any, ...], _kwargs: dict[str, Any], output: Any) -> dict[str, int]:
    """Return rows ``m``, columns ``n`` and length ``k`` of an operator's matrix product, and their number (``groups``).

    Args:
        name: Its name in ``aten``.
        args: Its arguments, tensors replaced by their shapes.
        output: Its output, likewise.

    Returns:
        An empty dict where the operator is no product. A convolution also has its ``kernel``, the elements of one
        filter's window, and its ``stride``; a pool has its ``kernel`` alone.
    """
    if _KINDS.get(name) == "pool":
        return {"kernel": _pooled(name, args, output)}
    if name in _CONVOLUTIONS:
        weight, stride, groups = args[1], args[3], args[8]
        window = math.prod(weight[2:])
        rows = output[0] * math.prod(output[2:])
        sizes = {"m": rows, "n": weight[0] // groups, "k": weight[1] * window, "groups": groups}
        return sizes | {"kernel": window, "stride": max(stride)}
    if name == _RECURRENT:  # of each step's input and state with the weights of all gates
        (steps, batch, _), (gates, wide), (_, state) = args[:3]
        return {"m": steps * batch, "n": gates, "k": wide + state, "groups": 1}
    if name not in _PRODUCTS:
        return {}
    left, right = (args[1], args[2]) if name in {"addmm", "baddbmm", "addmv"} else (args[0], args[1])
    groups = left[0] if len(left) == 3 else 1  # noqa: PLR2004 - a batch of matrices
    columns = right[-1] if len(right) > 1 else 1
    return {"m": left[-2] if len(left) > 1 else 1, "n": columns, "k": left[-1], "groups": groups}


def _pooled(name: str, args: tuple[Any, ...], output: Any) -> int:
    """Return the number of elements that one output comes from; 1 for an upsampling."""
    if "adaptive" in name or name.startswith("upsample"):
        shape = output[0] if isinstance(output[0], tuple) else output
        return int(max(1, math.prod(args[0][2:]) // max(1, math.prod(shape[2:]))))
    window: list[int] = list(args[1])
    return math.prod(window) if len(window) > 1 else window[0] * window[0]


def attention_flops(args: tuple[Any, ...]) -> float:
    """Return the FLOPs of both products of attention; queries, keys and values are (batch, heads, L, width)."""
    query, key, value = args[0], args[1], args[2]
    rows, length = query[-2], key[-2]
    return float(2 * math.prod(query[:-2]) * rows * length * (query[-1] + value[-1]))
