"""Look at what a conversion runs for what its name claims: exported, decomposed, traced, scripted, in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from almaflow.conversions.built.evidence import ExecutionEvidence, together

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = 4
"""Dimensions of what has a channels-last order."""
BESIDE_CORE = ("quantized_decomposed", "higher_order", "_operator", "builtins", "math")
"""Namespaces of what has no core form: casts to and from integers, products of integers, arithmetic on sizes."""


def executable_evidence(steps: tuple[str, ...], runs: Any, model: torch.nn.Module | None) -> ExecutionEvidence:
    """Return what the object that runs shows of these steps; nothing for a step that others answer for.

    Args:
        steps: The steps of the conversion's name.
        runs: ``BuiltModel.executable``.
        model: The module that holds the weights.
    """
    return together([LOOKS[step](runs, model) for step in steps if step in LOOKS])


def _exported(runs: Any, _model: Any) -> ExecutionEvidence:
    if not isinstance(runs, torch.fx.GraphModule):
        return ExecutionEvidence()  # compiled further: the compiler tells what it got
    calls = [node.target for node in runs.graph.nodes if node.op == "call_function"]
    return ExecutionEvidence({"graph_operations": str(len(calls))})


def _decomposed(runs: Any, _model: Any) -> ExecutionEvidence:
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
    return target.namespace == "aten" and target.has_kernel_for_dispatch_key(
        torch._C.DispatchKey.CompositeImplicitAutograd  # noqa: SLF001 - likewise
    )


def _script(kind: str) -> Callable[[Any, Any], ExecutionEvidence]:
    def look(runs: Any, _model: Any) -> ExecutionEvidence:
        if not isinstance(runs, torch.jit.ScriptModule | torch._C.ScriptModule | torch.jit.ScriptFunction):  # noqa: SLF001
            return ExecutionEvidence(fell_back=f"a {type(runs).__name__} runs, not TorchScript")
        return ExecutionEvidence({"torchscript": kind})

    return look


def _channels_last(_runs: Any, model: torch.nn.Module | None) -> ExecutionEvidence:
    if model is None:
        return ExecutionEvidence()
    weights = [weight for weight in model.parameters() if weight.dim() == IMAGES]
    ordered = sum(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    fell_back = f"{len(weights) - ordered} weights kept their order" if ordered < len(weights) else None
    return ExecutionEvidence({"channels_last_weights": f"{ordered} of {len(weights)}"}, fell_back)


LOOKS: dict[str, Callable[[Any, Any], ExecutionEvidence]] = {
    "EXPORT": _exported,
    "RUN_DECOMPOSITION": _decomposed,
    "CHANNELS_LAST": _channels_last,
}
