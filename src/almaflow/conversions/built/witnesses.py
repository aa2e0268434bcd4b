"""Look at what a conversion runs for what its name claims: exported, decomposed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.built.evidence import ExecutionEvidence, together

if TYPE_CHECKING:
    from collections.abc import Callable

BESIDE_CORE = ("quantized_decomposed", "higher_order", "_operator", "builtins", "math")
"""Namespaces of what has no core form: casts to and from integers, products of integers, arithmetic on sizes."""


def executable_evidence(steps: tuple[str, ...], runs: Any) -> ExecutionEvidence:
    """Return what the object that runs shows of these steps; nothing for a step that others answer for.

    Args:
        steps: The steps of the conversion's name.
        runs: ``BuiltModel.executable``.
    """
    return together([LOOKS[step](runs) for step in steps if step in LOOKS])


def _exported(runs: Any) -> ExecutionEvidence:
    if not isinstance(runs, torch.fx.GraphModule):
        return ExecutionEvidence()  # compiled further: the compiler tells what it got
    calls = [node.target for node in runs.graph.nodes if node.op == "call_function"]
    return ExecutionEvidence({"graph_operations": str(len(calls))})


def _decomposed(runs: Any) -> ExecutionEvidence:
    if not isinstance(runs, torch.fx.GraphModule):
        return ExecutionEvidence(fell_back="no exported graph runs, so nothing was decomposed")
    outside = sorted({str(node.target) for node in runs.graph.nodes if node.op == "call_function" and _composite(node)})
    fell_back = f"operators that are not core ones are left: {', '.join(outside[:5])}" if outside else None
    return ExecutionEvidence({"operators_beside_core": str(len(outside))}, fell_back)


def _composite(node: torch.fx.Node) -> bool:
    """Whether a node calls an operator that PyTorch would take apart by itself."""
    target = node.target
    if not isinstance(target, torch._ops.OpOverload):  # noqa: SLF001 - PyTorch has no public name for it
        return str(getattr(target, "namespace", getattr(target, "__module__", ""))) not in BESIDE_CORE
    if target.namespace != "aten" or torch.Tag.core in target.tags:
        return False
    return target.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd)  # noqa: SLF001 - likewise


LOOKS: dict[str, Callable[[Any], ExecutionEvidence]] = {
    "EXPORT": _exported,
    "RUN_DECOMPOSITION": _decomposed,
}
