"""Holds a route in half precision against what rounding costs the model itself: eager PyTorch in the same type.

Rounding costs some models much and others little. A tolerance for all models is too narrow for the first, and hides an
error of a converter in the second.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from almaflow.models.state import ModelState
from almaflow.worker.failures import WrongOutputError
from almaflow.worker.fidelity import TOLERANCE_DB, coarser

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.models.batches import Batch
    from almaflow.records import Fidelity
    from almaflow.worker.check import Checker

    Call = Callable[[Batch], object]

LEAST_DB = {"float16": TOLERANCE_DB["bfloat16"], "bfloat16": TOLERANCE_DB["int8"]}
"""SQNR that is asked however much rounding costs the model: what the next coarser type has to keep."""

CLEARLY_RIGHT_DB = 35.0
"""SQNR from which on a route in half precision is not compared with eager in the same type: 2% of the signal."""

MARGIN_DB = 10.0
"""How much noisier than eager in the same type a route may be: runtimes round between other operators than eager."""


def eased(checker: Checker, call: Call, found: Fidelity) -> Fidelity:
    """Judge a route that is below its tolerance by what eager keeps in the same type, where that is little.

    Args:
        checker: Compares with eager in the model's own type; its ``load`` builds the model once more.
        call: One forward call of the conversion on one batch.
        found: The comparison by the tolerance of the type.

    Returns:
        The comparison that holds: the new one with a note if it is passed, else ``found``.
    """
    dtype = checker.planned.dtype
    met = found.sqnr_db >= found.tolerance_db  # it is a part of the output that is wrong
    if dtype not in LEAST_DB or met or found.sqnr_db < LEAST_DB[dtype] or checker.reference.draws:
        return found
    eager = _of_eager(checker)
    if eager is None:
        return found
    least = max(LEAST_DB[dtype], eager.sqnr_db - MARGIN_DB)
    again = checker.fidelity(call, least_db=least) if least < found.tolerance_db else found
    note = (
        f"rounding costs this model much: in {dtype} eager itself keeps {eager.sqnr_db:.1f} dB, so that {least:.1f} dB "
        f"were asked instead of {found.tolerance_db:g} dB"
    )
    return replace(again, notes=(*again.notes, note)) if again.ok else found


def fault_of_cast(checker: Checker, call: Call, judged: Fidelity | None) -> Exception | None:
    """Return the fault of a route that passes its tolerance, where eager with the same rounding is far better.

    Args:
        checker: As above.
        call: One forward call of the conversion on one batch.
        judged: The comparison by which the route has passed.
    """
    dtype = checker.planned.dtype
    asked = TOLERANCE_DB.get(coarser(checker.task.traits.dtype, dtype), 0.0)
    if dtype not in LEAST_DB or (judged and judged.tolerance_db < asked):
        return None  # eased: it was held against eager in the same type by then
    first = replace(checker, reference=replace(checker.reference, outputs=checker.reference.outputs[:1], sequence=[]))
    found = first.fidelity(call)
    if found.sqnr_db >= CLEARLY_RIGHT_DB:
        return None
    eager = _of_eager(first)
    if eager is None or found.sqnr_db >= eager.sqnr_db - MARGIN_DB:
        return None
    return WrongOutputError(
        f"SQNR {found.sqnr_db:.1f} dB where eager in {dtype} keeps {eager.sqnr_db:.1f} dB: more than rounding"
    )


def _of_eager(checker: Checker) -> Fidelity | None:
    """Compare eager in the type of the conversion; None where it cannot be run in that type."""
    if checker.load is None:
        return None
    dtype: torch.dtype = getattr(torch, checker.planned.dtype)
    try:
        half = checker.load().to(checker.planned.device, dtype)
        state = ModelState(half) if checker.task.traits.keeps_state else None

        def call(batch: Batch) -> object:
            if state:
                state.put_back()
            return half(*[tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in batch])

        with torch.no_grad():
            return checker.fidelity(call)
    except Exception:  # noqa: BLE001 - no kernel in this type, or no memory for two: there is nothing to compare with
        return None
