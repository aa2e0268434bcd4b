"""Compares a conversion's output with eager's on the same inputs.

It has to meet two conditions. The signal-to-quantisation-noise ratio, SQNR = 10 log10(sum ref^2 / sum (ref - out)^2)
in dB, must reach a tolerance that depends on the arithmetic. And the part that differs between inputs (each output
element less its mean over the rows) must correlate with that of eager: a network with random weights answers nearly
the same logits to every input, so that a conversion that ignores its input would pass on SQNR alone. Several outputs
are judged one by one, since a large one would hide that a small one is wrong.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from almaflow.records import Fidelity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

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


def arithmetic(dtype: str, device: str) -> str:
    """Return the type that a conversion really computes in: ``tf32`` where the GPU rounds float32 to it."""
    import torch

    if dtype != "float32" or device != "cuda" or torch.cuda.get_device_capability()[0] < TENSOR_CORES_SINCE:
        return dtype
    return TF32 if torch.backends.cudnn.allow_tf32 else dtype


def compare(references: Sequence[Sequence[Tensor]], outputs: Sequence[Sequence[Tensor]], dtype: str) -> Fidelity:
    """Judge the outputs of several calls against eager's.

    Args:
        references: For each call, eager's output tensors on the CPU; the first dimension is the batch.
        outputs: For each call, the conversion's output tensors, likewise.
        dtype: The arithmetic type of the conversion, which sets the tolerance.
    """
    import torch

    tolerance = TOLERANCE_DB.get(dtype, TOLERANCE_OTHER_DB)
    least = LEAST_CORRELATION.get(dtype, LEAST_CORRELATION_OTHER)
    problem = _mismatch(references, outputs)
    if problem:
        return Fidelity(0.0, 0.0, 0.0, None, 0, tolerance, ok=False, reason=problem)
    ref = [torch.cat([_rows(call[i]) for call in references]) for i in range(len(references[0]))]
    out = [torch.cat([_rows(call[i]) for call in outputs]) for i in range(len(references[0]))]
    if any(not torch.isfinite(o[torch.isfinite(r)]).all() for r, o in zip(ref, out, strict=True)):
        return Fidelity(0.0, 0.0, 0.0, None, ref[0].shape[0], tolerance, ok=False, reason="NaN or infinite values")
    flat_ref, flat_out = torch.cat([r.flatten() for r in ref]), torch.cat([o.flatten() for o in out])
    finite = torch.isfinite(flat_ref)
    if not finite.any():
        nothing = "eager's own output has no finite value to compare with"
        return Fidelity(0.0, 0.0, 0.0, None, ref[0].shape[0], tolerance, ok=False, reason=nothing)
    pairs = list(zip(ref, out, strict=True))
    sqnr = min(_sqnr_db(r, o) for r, o in pairs)
    varying = min((v for r, o in pairs if (v := _varying_correlation(r, o)) is not None), default=1.0)
    reason: str | None = None
    if sqnr < tolerance:
        reason = f"SQNR {sqnr:.1f} dB is below the {tolerance:g} dB asked of {dtype}"
    elif varying < least:
        reason = f"what differs between inputs correlates with eager's by {varying:.2f}, less than {least:g}"
    return Fidelity(
        max_abs_diff=(flat_ref - flat_out)[finite].abs().max().item(),
        cosine=min(_cosine(*_finite(r, o)) for r, o in pairs),
        sqnr_db=sqnr,
        top1_agreement=_top1(ref[0], out[0]),
        rows=ref[0].shape[0],
        tolerance_db=tolerance,
        ok=reason is None,
        reason=reason,
    )


def _mismatch(references: Sequence[Sequence[Tensor]], outputs: Sequence[Sequence[Tensor]]) -> str | None:
    for ref, out in zip(references, outputs, strict=True):
        if not out:
            return "no output"
        if len(ref) != len(out):
            return f"{len(out)} outputs where eager gives {len(ref)}"
        for r, o in zip(ref, out, strict=True):
            if r.shape != o.shape:
                return f"output of shape {tuple(o.shape)} where eager gives {tuple(r.shape)}"
    return None


def _rows(tensor: Tensor) -> Tensor:
    import torch

    tensor = tensor.detach()
    tensor = torch.view_as_real(tensor).double() if tensor.is_complex() else tensor.double()
    # Not -1: there may be no rows, as when a detector finds nothing.
    return tensor.reshape(1, 1) if tensor.dim() == 0 else tensor.reshape(len(tensor), math.prod(tensor.shape[1:]))


def _finite(ref: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """Flatten both where eager's values are finite, and scale them so that no square leaves float64's range."""
    import torch

    finite = torch.isfinite(ref)
    ref, out = ref[finite], out[finite]
    scale = ref.abs().max() if ref.any() else torch.tensor(1.0)
    return ref / scale, out / scale


def _sqnr_db(ref: Tensor, out: Tensor) -> float:
    import torch

    ref, out = _finite(ref, out)
    signal, noise = ref.square().sum(), (ref - out).square().sum()
    if noise == 0:
        return IDENTICAL_DB
    if signal == 0:
        return -IDENTICAL_DB
    return float(max(-IDENTICAL_DB, min(IDENTICAL_DB, 10 * torch.log10(signal / noise).item())))


def _varying_correlation(ref: Tensor, out: Tensor) -> float | None:
    """Correlate the parts that differ between rows; None where eager's rows are all the same."""
    import torch

    if len(ref) < 2:  # noqa: PLR2004 - one row differs from nothing
        return None
    varying_ref, varying_out = ref - ref.mean(dim=0), out - out.mean(dim=0)
    if not (ref != ref[0])[torch.isfinite(varying_ref)].any():
        return None
    return _cosine(*_finite(varying_ref, varying_out))


def _cosine(first: Tensor, second: Tensor) -> float:
    """Return the cosine similarity; 1 for two zero vectors and 0 for one (torch's own floors small norms)."""
    norms = float(first.norm() * second.norm())
    if norms == 0:
        return float(bool(first.norm() == second.norm()))
    return max(-1.0, min(1.0, float(first @ second) / norms))


def _top1(ref: Tensor, out: Tensor) -> float | None:
    if ref.shape[1] < 2 or not len(ref):  # noqa: PLR2004 - one value a row has no largest
        return None
    return float((ref.argmax(dim=1) == out.argmax(dim=1)).double().mean().item())
