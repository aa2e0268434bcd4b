"""How far an output may be from eager's, by the arithmetic that it was computed in."""

from __future__ import annotations

from dataclasses import dataclass

IDENTICAL_DB = 200.0
"""SQNR of outputs that are equal to the bit, in place of infinity; float32 itself resolves about 150 dB."""

TF32 = "tf32"
"""Arithmetic that GPUs use for float32 in convolutions by default: 10 bits of mantissa, as in float16."""
TENSOR_CORES_SINCE = 8
"""Major compute capability of the first GPUs that have TF32, those of the Ampere generation."""

TOLERANCE_DB = {"float64": 50.0, "float32": 50.0, TF32: 25.0, "float16": 25.0, "bfloat16": 15.0, "int8": 8.0}
"""Least SQNR by the arithmetic of the conversion. Measured on random, normalised weights: float32 runtimes keep 110
to 129 dB, TF32 46 (inductor beside eager, resnet50 on an H100), float16 35 to 58, bfloat16 19 to 41, INT8 with one
scale an activation tensor 11 to 28; mobilenet_v2 is the low end of each, since it amplifies noise over its depth."""

TOLERANCE_OTHER_DB = 3.0
"""Least SQNR of 4 bits and fewer and of the float8 types, which are lossy by intent: signal above noise."""

LEAST_CORRELATION = {"float64": 0.99, "float32": 0.99}
LEAST_CORRELATION_OTHER = 0.3
"""Least correlation of the part that differs between inputs. Noise as strong as that signal leaves 0.7; ignoring the
input leaves 0, give or take 0.03 over four rows of a thousand logits."""

LEAST_EQUAL = {"float64": 0.99, "float32": 0.99, TF32: 0.95, "float16": 0.95, "bfloat16": 0.9, "int8": 0.7}
LEAST_EQUAL_OTHER = 0.5
"""Least share of equal elements of integers and booleans. These come from comparing figures (the largest logit, a
threshold), and a narrower type decides the close calls another way."""

RESOLUTION = {"float64": 1e-6, "float32": 1e-6, TF32: 1e-3, "float16": 1e-3, "bfloat16": 8e-3, "int8": 8e-3}
RESOLUTION_OTHER = 0.06
"""Noise of a single rounding as a share of the magnitude: what a part that hardly varies may lose of its variation."""


@dataclass(frozen=True)
class Tolerance:
    """What is asked of one arithmetic."""

    dtype: str
    least_db: float
    least_correlation: float
    least_equal: float
    resolution: float


def tolerance_of(dtype: str) -> Tolerance:
    """Return what is asked of an output that was computed in this type."""
    return Tolerance(
        dtype,
        TOLERANCE_DB.get(dtype, TOLERANCE_OTHER_DB),
        LEAST_CORRELATION.get(dtype, LEAST_CORRELATION_OTHER),
        LEAST_EQUAL.get(dtype, LEAST_EQUAL_OTHER),
        RESOLUTION.get(dtype, RESOLUTION_OTHER),
    )


def arithmetic(dtype: str, device: str) -> str:
    """Return the type that a conversion really computes in: ``tf32`` where the GPU rounds float32 to it."""
    import torch

    if dtype != "float32" or device != "cuda" or torch.cuda.get_device_capability()[0] < TENSOR_CORES_SINCE:
        return dtype
    return TF32 if torch.backends.cudnn.allow_tf32 else dtype


def coarser(first: str, second: str) -> str:
    """Return the type of which less is asked: of a bfloat16 model that a float32 route runs, ``bfloat16``."""
    order = (*TOLERANCE_DB, "")
    rank = {name: place for place, name in enumerate(order)}
    return max(first, second, key=lambda name: rank.get(name, rank[""]))
