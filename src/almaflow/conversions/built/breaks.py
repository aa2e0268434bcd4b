"""Find what of a model ran outside of the graphs that torch.compile made of it, and where dynamo broke off."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils._python_dispatch import TorchDispatchMode

from almaflow.conversions.built.evidence import ExecutionEvidence
from almaflow.models.work import count_call
from almaflow.records.shares import percent

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from almaflow.models.batches import Batch

ALL = 0.99
"""With all products and a larger share of FLOPs than this outside of what was compiled, eager ran the model."""
PLACES = 3
"""So many graph breaks are named."""


def breaks_evidence(compiled: Callable[..., Any], model: torch.nn.Module, batch: Batch) -> ExecutionEvidence:
    """Count the FLOPs that eager PyTorch still computes when the compiled model is called.

    Calls both once. Nothing is known on a PyTorch whose compiled graphs do not run while operators are counted.
    """
    places = graph_breaks()
    where = f": {'; '.join(places[:PLACES])}" if places else ""
    where += f"; and {len(places) - PLACES} more" if len(places) > PLACES else ""
    known = ExecutionEvidence(notes=(f"dynamo broke the model into parts{where}",) if places else ())
    if not hasattr(TorchDispatchMode, "ignore_compile_internals"):
        return known
    try:
        outside, whole = count_call(compiled, batch, outside=True), count_call(model, batch)
    except Exception:  # noqa: BLE001 - code that minds being watched; the share is unknown then
        return known
    if not whole.flops:
        return known
    share = min(outside.flops / whole.flops, 1.0)
    run_outside = f"{percent(share)} of the FLOPs run outside of what was compiled"
    if outside.products:
        line = f"dynamo left {outside.products} of {whole.products} products to eager{where}; {run_outside}"
    else:
        line = f"dynamo broke the model into parts{where}; {run_outside}"
    everything = share > ALL and outside.products >= whole.products
    notes = (line,) if not everything and (outside.products or places) else ()
    return ExecutionEvidence(fell_back=line if everything else None, notes=notes, outside_share=share)


def graph_breaks() -> list[str]:
    """Return the places where dynamo broke off, as ``folder/file.py:12 in forward: why``, each once."""
    from torch._dynamo.utils import graph_break_reasons

    found = []
    for each in graph_break_reasons:
        place = each.user_stack[-1] if each.user_stack else None
        at = f"{'/'.join(Path(place.filename).parts[-2:])}:{place.lineno} in {place.name}: " if place else ""
        found.append(at + _reason(each.reason))
    return list(dict.fromkeys(found))


def _reason(text: str) -> str:
    """Return the first line of dynamo's reason, with the function that it speaks of."""
    first = text.strip().partition("\n")[0].rstrip(".")
    named = re.search(r"<function (\S+) at 0x", text)
    return f"{first} ({named.group(1).rpartition('.')[2]})" if named and "<function" not in first else first
