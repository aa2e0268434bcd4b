"""What really executed, read from the runtimes themselves after the timed calls."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ExecutionEvidence:
    """What ran, in the runtime's own words, and why it is not what was asked, if it is not."""

    runtime: dict[str, str] = field(default_factory=dict)
    fell_back: str | None = None
    device: str | None = None
    recompiles: int | None = None


def together(found: list[ExecutionEvidence]) -> ExecutionEvidence:
    """All of it in one; of several fall-backs the last, since the more general ones come first."""
    return ExecutionEvidence(
        runtime={key: value for each in found for key, value in each.runtime.items()},
        fell_back=next((each.fell_back for each in reversed(found) if each.fell_back), None),
        device=next((each.device for each in found if each.device), None),
        recompiles=next((each.recompiles for each in found if each.recompiles is not None), None),
    )


def dynamo_graphs() -> int:
    """Graphs that dynamo has handed to a backend so far in this process."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def forget() -> None:
    """Let dynamo's counters start anew."""
    from torch._dynamo.utils import clear_compilation_metrics, counters

    counters.clear()
    clear_compilation_metrics()


def counting_from_reset() -> Any:
    """A patcher under which dynamo's counters start anew where Alma resets dynamo: right before it compiles.

    Otherwise what an export captured before counts as compiled.
    """
    original = importlib.import_module("torch._dynamo").reset

    def reset() -> None:
        original()
        forget()

    return patch("torch._dynamo.reset", reset)


def dynamo_evidence(graphs_before: int) -> ExecutionEvidence:
    """What dynamo captured and compiled before and during the timed calls."""
    from torch._dynamo.utils import counters, get_compilation_metrics

    graphs = dynamo_graphs()
    breaks = sum(counters["graph_break"].values())
    runtime = {"dynamo_graphs": str(graphs), "graph_breaks": str(breaks)}
    frames = get_compilation_metrics()
    runtime["dynamo_nodes"] = str(sum(each.graph_node_count or 0 for each in frames))
    runtime["dynamo_operations"] = str(sum(each.graph_op_count or 0 for each in frames))
    cache = counters["inductor"]
    if cache["fxgraph_cache_hit"] or cache["fxgraph_cache_miss"]:
        runtime["compile_cache"] = "hit" if cache["fxgraph_cache_hit"] and not cache["fxgraph_cache_miss"] else "miss"
    fell_back = None
    if graphs == 0:
        fell_back = "dynamo compiled no graph: eager ran in its place"
    elif counters["frames"]["ok"] < counters["frames"]["total"]:
        failed = counters["frames"]["total"] - counters["frames"]["ok"]
        why = next((each.fail_reason for each in frames if each.fail_reason), "").strip().partition("\n")[0]
        fell_back = f"dynamo could not compile {failed} of {counters['frames']['total']} frames: eager ran them"
        fell_back += f" ({why})" if why else ""
    return ExecutionEvidence(runtime, fell_back, recompiles=graphs - graphs_before)


def onnx_evidence(session: Any, provider: str) -> ExecutionEvidence:
    """Provider and threads of an ONNX Runtime session."""
    providers = session.get_providers()
    threads = session.get_session_options().intra_op_num_threads
    runtime = {"provider": providers[0], "onnxruntime_threads": str(threads)}
    fell_back = None if providers[0] == provider else f"ONNX Runtime took {providers[0]} instead of {provider}"
    return ExecutionEvidence(runtime, fell_back, "cuda" if providers[0].startswith(("CUDA", "Tensorrt")) else "cpu")


def cudagraphs_evidence() -> ExecutionEvidence:
    """Graphs that the cudagraphs backend ran eagerly, since they cannot be replayed."""
    from torch._dynamo.utils import counters

    skipped = int(counters["inductor"]["cudagraph_skips"])
    fell_back = f"{skipped} graphs ran eagerly: CUDA graphs cannot replay them" if skipped else None
    return ExecutionEvidence({"cudagraph_skips": str(skipped)}, fell_back)


def weights_evidence(model: torch.nn.Module) -> ExecutionEvidence:
    """Weights that a quantiser really replaced: they are tensors of a class of its own."""
    plain = {"Parameter", "Tensor"}
    quantised = sum(not {type(each).__name__, type(each.data).__name__} <= plain for each in model.parameters())
    fell_back = None if quantised else "no weight was quantised: the quantiser found none that it takes"
    return ExecutionEvidence({"quantised_weights": str(quantised)}, fell_back)


NOT_COMPUTING = ("getitem", "_assert_tensor_metadata")
"""Operations of a partitioned graph that hand results on or check them."""


def openvino_evidence(precision: str | None = None) -> ExecutionEvidence:
    """Partitions that OpenVINO's torch.compile backend executes, and what it left to PyTorch.

    The backend hands a graph to inductor, or a partition to PyTorch, at any exception and says nothing; what it
    keeps of the graphs that it does run is the only witness.

    Args:
        precision: The one that was asked for, in OpenVINO's words; it takes another on a CPU that cannot compute in it.
    """
    execute: Any = sys.modules.get("openvino.frontend.pytorch.torchdynamo.execute")
    graphs = list(execute.partitioned_modules.values()) if execute else []
    if not graphs:
        instead = "inductor" if _inductor_compiled() else "eager"
        return ExecutionEvidence(
            {"openvino_partitions": "0"}, f"OpenVINO ran nothing of the model, {instead} all of it"
        )
    partitions, outside = _partitioned(graphs)
    given_up = sum(bool(partition.perm_fallback) for partition in partitions)
    runtime = {"openvino_partitions": str(len(partitions)), "openvino_operations_outside": str(len(outside))}
    for compiled in execute.compiled_cache.values():
        runtime["openvino_precision"] = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        runtime["openvino_threads"] = str(compiled.get_property("INFERENCE_NUM_THREADS"))
        runtime["openvino_device"] = ",".join(compiled.get_property("EXECUTION_DEVICES"))
    fell_back = None
    if _inductor_compiled():
        fell_back = f"OpenVINO's backend ran {len(graphs)} graphs and gave others to inductor"
    elif given_up:
        fell_back = f"OpenVINO gave {given_up} of {len(partitions)} partitions back to PyTorch"
    elif outside:
        names = ", ".join(sorted(set(outside))[:5])
        fell_back = f"{len(outside)} operations ran outside OpenVINO: {names}"
    elif precision:
        fell_back = precision_fault(runtime.get("openvino_precision", precision), precision)
    return ExecutionEvidence(runtime, fell_back, "cpu")


def precision_fault(taken: str, asked: str) -> str | None:
    """OpenVINO takes another precision on a CPU that cannot compute in the one that was asked for."""
    return None if taken == asked else f"OpenVINO computes in {taken} on this CPU, not in {asked}"


def _partitioned(graphs: list[Any]) -> tuple[list[Any], list[str]]:
    """The modules that OpenVINO runs in these graphs, and the operations that compute outside them."""
    partitions: list[Any] = []
    outside: list[str] = []
    for graph in graphs:
        for node in graph.graph.nodes:
            module = getattr(graph, str(node.target), None) if node.op == "call_module" else None
            if type(module).__name__ == "OpenVINOGraphModule":
                partitions.append(module)
            elif node.op not in {"placeholder", "output", "get_attr"}:
                outside.append(str(node.target))
    return partitions, [name for name in outside if not any(known in name for known in NOT_COMPUTING)]


def _inductor_compiled() -> bool:
    from torch._dynamo.utils import counters

    return any(counters["inductor"][f"fxgraph_cache_{outcome}"] for outcome in ("hit", "miss", "bypass"))
