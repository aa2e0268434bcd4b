"""Find which share of a model's weights and work a narrow type really has: casts, and weights that were replaced."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.built.evidence import ExecutionEvidence
from almaflow.models.work import HALVES, FloatModel
from almaflow.records.shares import percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from almaflow.records import Fidelity, PlannedConversion

NARROW = ("int", "float8", "float16", "bfloat16")
"""How the names of types begin that are narrower than float32."""
CASTS = frozenset({"FP16", "BF16"})
"""Steps that cast the model."""
NOTHING = "no weight was quantised: the quantiser found none that it takes"
HALF = 0.5
"""Where a smaller share of the work than this is narrow, the user is told."""
INT4_LEVELS = 16


def is_narrow(dtype: str) -> bool:
    """Whether a conversion's type is narrower than float32."""
    return dtype.startswith(NARROW)


def shares(before: FloatModel | None, narrow: Iterable[str]) -> tuple[float | None, float | None]:
    """Return the shares of weights and of FLOPs of the parameters of these names, 0 to 1."""
    if before is None:
        return None, None
    names = {before.owner.get(name, name) for name in narrow}
    total = sum(before.elements.values())
    weights = sum(count for name, count in before.elements.items() if name in names) / total if total else None
    work = before.count()
    return weights, work.share_of(names) if work else None


def replaced_evidence(model: torch.nn.Module, dtype: str, before: FloatModel | None) -> ExecutionEvidence:
    """Find the weights that a quantiser replaced by narrower ones, and whether these are of the type that was asked."""
    types = {name: kind for name, weight in model.named_parameters() if (kind := stored_type(weight))}
    runtime = {"quantised_weights": str(len(types))}
    if not types:
        return ExecutionEvidence(runtime, NOTHING, narrow_weights_share=0.0, narrow_work_share=0.0)
    found = sorted(set(types.values()))
    runtime["quantised_types"] = ",".join(found)
    activations = {
        str(kind.name).removeprefix("q")
        for module in model.modules()
        if (kind := getattr(module, "activation_qtype", None)) is not None
    }
    if activations:
        runtime["quantised_activations"] = ",".join(sorted(activations))
    fell_back = None if dtype in found else f"weights are stored as {', '.join(found)}, not as {dtype}"
    weights, work = shares(before, types)
    return ExecutionEvidence(runtime, fell_back, narrow_weights_share=weights, narrow_work_share=work)


def stored_type(weight: torch.Tensor) -> str | None:
    """Return the narrow type of a quantiser's tensor: ``int8``, ``int4``, ``float8_e5m2`` ...; None of a plain one."""
    kind = getattr(weight, "qtype", None)  # quanto's
    if kind is not None:
        return str(kind.name).removeprefix("q")
    target = getattr(weight, "target_dtype", None)  # torchao's, for integers kept one in a byte
    if isinstance(target, torch.dtype):
        return _name(target)
    inner = getattr(weight, "__tensor_flatten__", None)
    if inner is None:
        return None
    low, high = getattr(weight, "quant_min", None), getattr(weight, "quant_max", None)
    levels = high - low + 1 if low is not None and high is not None else math.inf
    if "Int4" in type(weight).__name__ or levels <= INT4_LEVELS:
        return "int4"
    tensors = [getattr(weight, name) for name in inner()[0]]
    return next((found for tensor in tensors if (found := _inner_type(tensor))), None)


def _inner_type(tensor: Any) -> str | None:
    if hasattr(tensor, "__tensor_flatten__"):
        return stored_type(tensor)
    if tensor.dim() > 1 and tensor.element_size() == 1 and tensor.dtype is not torch.bool:
        return "int8" if tensor.dtype is torch.uint8 else _name(tensor.dtype)
    return None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def cast_evidence(model: torch.nn.Module, dtype: str, before: FloatModel | None) -> ExecutionEvidence:
    """Find the weights and the work of a model that was cast to float16 or bfloat16.

    Args:
        model: The model after the cast.
        dtype: The type that it was cast to.
        before: The structure after the cast.
    """
    floating = {name: weight for name, weight in model.named_parameters() if weight.is_floating_point()}
    total = sum(weight.numel() for weight in floating.values())
    narrow = sum(weight.numel() for weight in floating.values() if weight.dtype in HALVES)
    cast = {weight.dtype for weight in floating.values() if weight.dtype in HALVES}
    runtime = {"weights_dtype": ",".join(sorted(map(_name, {weight.dtype for weight in floating.values()})))}
    fell_back = None
    if total and dtype not in set(map(_name, cast)):
        fell_back = f"no weight is {dtype}: they are {runtime['weights_dtype']}"
    work = before.count() if before else None
    return ExecutionEvidence(
        runtime if total else {},
        fell_back,
        narrow_weights_share=narrow / total if total else None,
        narrow_work_share=work.half_share if work else None,
    )


def narrow_note(evidence: ExecutionEvidence, dtype: str) -> tuple[str, ...]:
    """Return the line for users where most of the work is not in the type of the conversion's name."""
    weights, work = evidence.narrow_weights_share, evidence.narrow_work_share
    if evidence.fell_back or work is None or work >= HALF:
        return ()
    of_weights = "" if weights is None else f"{percent(weights)} of the weights and "
    return (f"{of_weights}{percent(work)} of the work in {dtype}",)


def untouched(evidence: ExecutionEvidence, fidelity: Fidelity, planned: PlannedConversion) -> str | None:
    """Return why a conversion with a narrow name fell back: its output is eager's to the bit, and nothing is narrow.

    Rounding to a narrow type leaves a trace. An output of whole numbers need not show it, so such a conversion is
    trusted unless its weights were counted.
    """
    if not is_narrow(planned.dtype) or fidelity.max_abs_diff > 0 or not fidelity.ok:
        return None
    counted = [each for each in (evidence.narrow_weights_share, evidence.narrow_work_share) if each is not None]
    if any(counted) or (not counted and fidelity.equal_share is not None):
        return None
    return f"the output is equal to eager's to the bit, and nothing was found in {planned.dtype}"
