"""Writes the graph that a conversion made of the model, with shapes, and the places where dynamo broke off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from almaflow.records.export import GRAPHS
from almaflow.worker.error_text import described

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch

MOST_CHARACTERS = 5_000_000
"""Of one graph, which is for people."""


def write_graphs(directory: Path, converted: ConvertedModel, batch: Batch) -> None:
    """Write the graphs to a file of a worker's directory; none where the conversion has no graph.

    It comes last: to show dynamo's graphs, the model is traced once more, which drops what was compiled.
    """
    try:
        parts = list(_graphs(converted, batch))
    except Exception as error:  # noqa: BLE001 - whatever a printer raises: the measurement stands without it
        parts = [("the graph cannot be shown", described(error))]
    if parts:
        text = "\n\n".join(f"# {title}\n{_cut(graph)}" for title, graph in parts)
        (directory / GRAPHS).write_text(f"{text}\n", encoding="utf-8")


def _graphs(converted: ConvertedModel, batch: Batch) -> Iterator[tuple[str, str]]:
    built = converted.built
    script = next((graph for graph in map(_script_graph, (built.executable, built.forward)) if graph), None)
    if built.program is not None:
        yield "what torch.export made", _code(built.program.graph_module)
    elif isinstance(built.executable, torch.fx.GraphModule):
        yield "what runs", _code(built.executable)
    elif script is not None:
        yield "what TorchScript runs", str(script)
    for path in built.files[:1]:
        if path.suffix == ".onnx":
            yield "the ONNX file, without weights", _onnx(path)
    if converted.traits.dynamo and built.model is not None:
        yield from _of_dynamo(built.model, batch)


def _script_graph(runs: Any) -> torch.Graph | None:
    """Return the graph of a TorchScript module, method or function; None of anything else."""
    graph = getattr(runs, "inlined_graph", None) or getattr(runs, "graph", None)
    return graph if isinstance(graph, torch.Graph) else None


def _of_dynamo(model: torch.nn.Module, batch: Batch) -> Iterator[tuple[str, str]]:
    found: Any = torch._dynamo.explain(model)(*batch)  # noqa: SLF001 - documented under this name
    for number, graph in enumerate(found.graphs, 1):
        yield f"graph {number} of {len(found.graphs)} that dynamo made", _code(graph)
    for number, each in enumerate(found.break_reasons, 1):
        stack = "\n".join(f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in each.user_stack)
        yield f"graph break {number}: {each.reason}", stack


def _code(graph: torch.fx.GraphModule) -> str:
    return str(graph.print_readable(print_output=False))


def _onnx(path: Path) -> str:
    import onnx
    import onnx.printer

    model = onnx.load(path, load_external_data=False)
    del model.graph.initializer[:]
    return str(onnx.printer.to_text(model))


def _cut(text: str) -> str:
    rest = len(text) - MOST_CHARACTERS
    return text if rest <= 0 else f"{text[:MOST_CHARACTERS]}\n... {rest} more characters"
