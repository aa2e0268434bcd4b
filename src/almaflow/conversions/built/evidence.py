"""Read from the runtimes, after the timed calls, what really executed."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import patch

_Value = TypeVar("_Value")

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class ExecutionEvidence:
    """Facts that a runtime reports about its execution, and why it fell back to something else, if it did."""

    runtime: dict[str, str] = field(default_factory=dict)
    fell_back: str | None = None
    device: str | None = None
    recompiles: int | None = None
    notes: tuple[str, ...] = ()
    """What the user should know about the execution, one line each."""
    narrow_weights_share: float | None = None
    narrow_work_share: float | None = None
    outside_share: float | None = None


def together(parts: list[ExecutionEvidence]) -> ExecutionEvidence:
    """Merge evidence; the last of several fall-backs is kept, since the more general ones come first."""
    return ExecutionEvidence(
        runtime={key: value for part in parts for key, value in part.runtime.items()},
        fell_back=next((part.fell_back for part in reversed(parts) if part.fell_back), None),
        device=next((part.device for part in parts if part.device), None),
        recompiles=_first(part.recompiles for part in parts),
        notes=tuple(note for part in parts for note in part.notes),
        narrow_weights_share=_first(part.narrow_weights_share for part in parts),
        narrow_work_share=_first(part.narrow_work_share for part in parts),
        outside_share=_first(part.outside_share for part in parts),
    )


def _first(values: Iterable[_Value | None]) -> _Value | None:
    return next((value for value in values if value is not None), None)


def dynamo_graphs() -> int:
    """Return the number of graphs that dynamo has handed to a backend so far in this process."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def forget() -> None:
    """Reset dynamo's counters."""
    from torch._dynamo.utils import clear_compilation_metrics, counters

    counters.clear()
    clear_compilation_metrics()


def counting_from_reset() -> Any:
    """Return a patcher that resets dynamo's counters whenever Alma resets dynamo: right before it compiles.

    Otherwise graphs that an earlier export captured would count as compiled.
    """
    original = importlib.import_module("torch._dynamo").reset

    def reset() -> None:
        original()
        forget()

    return patch("torch._dynamo.reset", reset)


def dynamo_evidence(graphs_before: int) -> ExecutionEvidence:
    """Return what dynamo captured and compiled before and during the timed calls."""
    from torch._dynamo.utils import counters, get_compilation_metrics

    graphs = dynamo_graphs()
    breaks = sum(counters["graph_break"].values())
    runtime = {"dynamo_graphs": str(graphs), "graph_breaks": str(breaks)}
    frames = get_compilation_metrics()
    runtime["dynamo_nodes"] = str(sum(frame.graph_node_count or 0 for frame in frames))
    runtime["dynamo_operations"] = str(sum(frame.graph_op_count or 0 for frame in frames))
    cache = counters["inductor"]
    if cache["fxgraph_cache_hit"] or cache["fxgraph_cache_miss"]:
        runtime["compile_cache"] = "hit" if cache["fxgraph_cache_hit"] and not cache["fxgraph_cache_miss"] else "miss"
    fell_back = None
    if graphs == 0:
        fell_back = "dynamo compiled no graph: eager ran in its place"
    elif counters["frames"]["ok"] < counters["frames"]["total"]:
        failed = counters["frames"]["total"] - counters["frames"]["ok"]
        why = next((frame.fail_reason for frame in frames if frame.fail_reason), "").strip().partition("\n")[0]
        fell_back = f"dynamo could not compile {failed} of {counters['frames']['total']} frames: eager ran them"
        fell_back += f" ({why})" if why else ""
    return ExecutionEvidence(runtime, fell_back, recompiles=graphs - graphs_before)


def onnx_evidence(session: Any, provider: str) -> ExecutionEvidence:
    """Return the provider and threads of an ONNX Runtime session."""
    providers = session.get_providers()
    threads = session.get_session_options().intra_op_num_threads
    runtime = {"provider": providers[0], "onnxruntime_threads": str(threads)}
    fell_back = None if providers[0] == provider else f"ONNX Runtime took {providers[0]} instead of {provider}"
    return ExecutionEvidence(runtime, fell_back, "cuda" if providers[0].startswith(("CUDA", "Tensorrt")) else "cpu")


def cudagraphs_evidence() -> ExecutionEvidence:
    """Count the graphs that the cudagraphs backend ran eagerly because it could not replay them."""
    from torch._dynamo.utils import counters

    skipped = int(counters["inductor"]["cudagraph_skips"])
    fell_back = f"{skipped} graphs ran eagerly: CUDA graphs cannot replay them" if skipped else None
    return ExecutionEvidence({"cudagraph_skips": str(skipped)}, fell_back)


NOT_COMPUTING = ("getitem", "_assert_tensor_metadata")
"""Operations of a partitioned graph that only pass results on or check them."""


def openvino_evidence(precision: str | None = None) -> ExecutionEvidence:
    """Return the partitions that OpenVINO's torch.compile backend executes, and the operations outside them.

    At any exception the backend silently hands a graph to inductor, or a partition to PyTorch. Only its caches of the
    graphs that it does run tell.

    Args:
        precision: OpenVINO's name of the requested type; a CPU that cannot compute in it takes another.
    """
    execute: Any = sys.modules.get("openvino.frontend.pytorch.torchdynamo.execute")
    graphs = list(execute.partitioned_modules.values()) if execute else []
    if not graphs:
        executor = "inductor" if _inductor_compiled() else "eager"
        return ExecutionEvidence(
            {"openvino_partitions": "0"}, f"OpenVINO ran nothing of the model, {executor} all of it"
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


def precision_fault(actual: str, requested: str) -> str | None:
    """Return the complaint if this CPU cannot compute in the requested precision and OpenVINO took another."""
    return None if actual == requested else f"OpenVINO computes in {actual} on this CPU, not in {requested}"


def _partitioned(graphs: list[Any]) -> tuple[list[Any], list[str]]:
    """Return the modules of these graphs that OpenVINO runs, and the operations that compute outside them."""
    partitions: list[Any] = []
    outside: list[str] = []
    for graph in graphs:
        for node in graph.graph.nodes:
            module = getattr(graph, str(node.target), None) if node.op == "call_module" else None
            if type(module).__name__ == "OpenVINOGraphModule":
                partitions.append(module)
            elif node.op not in {"placeholder", "output", "get_attr"}:
                outside.append(str(node.target))
    return partitions, [name for name in outside if not any(part in name for part in NOT_COMPUTING)]


def _inductor_compiled() -> bool:
    from torch._dynamo.utils import counters

    return any(counters["inductor"][f"fxgraph_cache_{outcome}"] for outcome in ("hit", "miss", "bypass"))
