"""Digests and descriptions by which segments are told apart, whatever PyTorch called them."""

from __future__ import annotations

import hashlib
import json
import re
from types import CodeType
from typing import TYPE_CHECKING, Any

import torch

from almaflow.models.state import content_of
from almaflow.records.profile import Ambient, SegmentTensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DIGITS = 16
"""Hexadecimal digits of an identity."""


def digest(facts: object) -> str:
    """Return the first digits of the SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:DIGITS]


def values_digest(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Hash the names and values of tensors, at about a second per gigabyte."""
    found = hashlib.sha256()
    for name, tensor in tensors:
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(content_of(tensor.detach()))
    return found.hexdigest()[:DIGITS]


def qualified(value: Any) -> str:
    """Return the name of a function or value, with a digest of its code where it is written in Python."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if name is None:
        return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    code = getattr(value, "__code__", None)
    inner = digest(_code_facts(code)) if code else ""
    return f"{getattr(value, '__module__', '')}.{name} {inner}".rstrip()


def _code_facts(code: CodeType) -> list[Any]:
    """Return what a function does: its instructions, and the constants and names that these have by number."""
    constants = [_code_facts(each) if isinstance(each, CodeType) else _constant(each) for each in code.co_consts]
    return [code.co_code.hex(), constants, code.co_names]


def _constant(value: object) -> str:
    """Return a constant as text that is the same in all processes: a set has no order."""
    return str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def ambient() -> Ambient:
    """Return the settings of this thread under which a graph runs."""
    kinds = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    return Ambient(
        grad=torch.is_grad_enabled(),
        inference=torch.is_inference_mode_enabled(),
        autocast={kind: _name(torch.get_autocast_dtype(kind)) for kind in kinds},
        default_dtype=_name(torch.get_default_dtype()),
        matmul_precision=torch.get_float32_matmul_precision(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )


def described(tensors: Sequence[torch.Tensor], before: Sequence[torch.Tensor] = ()) -> tuple[SegmentTensor, ...]:
    """Describe tensors, and which of them share memory with an earlier one.

    Args:
        tensors: Tensors with plain memory.
        before: Tensors that come before them in the count of ``SegmentTensor.shares``.
    """
    every = [*before, *tensors]
    first: dict[int, int] = {}
    start: dict[int, int] = {}
    for index, each in enumerate(every):
        memory = each.untyped_storage().data_ptr()
        first.setdefault(memory, index)
        start[memory] = min(start.get(memory, int(each.storage_offset())), int(each.storage_offset()))
    found = []
    for index, each in enumerate(every):
        memory = each.untyped_storage().data_ptr()
        shares = first[memory] if memory and first[memory] != index else None
        offset = int(each.storage_offset()) - start[memory]
        found.append(
            SegmentTensor(tuple(each.shape), _name(each.dtype), each.stride(), each.device.type, offset, shares)
        )
    return tuple(found[len(before) :])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
