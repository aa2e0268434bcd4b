"""The operators of OpenVINO's execution graph, each with the part of the model's own graph that it computes.

OpenVINO's compiled graph says which primitive computes what and in which layout, but not how a window moves or what an
operation was fused with. So each executed operator is described by the piece of the model that lies between it and the
executed operators before it, which compiled by itself gives the same operator again.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from almaflow.records.operators import Operator, OperatorGraph, OperatorTensor
from almaflow.worker.operators.openvino_pieces import Described, Piece, cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from almaflow.records import ModelSpec, PlannedConversion

MOVED = frozenset({"Reorder"})
"""Kinds that OpenVINO adds between layouts; they are part of no piece."""
NOT_RUN = frozenset({"Const", "Input", "Output"})
VIEWS = frozenset({"Reshape"})
"""Kinds whose output OpenVINO lays where their input is."""
CHANNELS_LAST = {"acdb": "channels_last"}


def graph(spec: ModelSpec, planned: PlannedConversion, threads: int, directory: Path) -> OperatorGraph:
    """Convert and compile the model as its conversion does, and return what would be executed."""
    import openvino
    import torch

    from almaflow.conversions.build import build
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.models.build import build_example
    from almaflow.worker.threads import set_threads

    set_threads(threads)
    example = build_example(spec, 1)
    compiled: list[Any] = []
    original = openvino.Core.compile_model

    def keep(core: Any, model: Any, *others: Any, **named: Any) -> Any:
        compiled.append(original(core, model, *others, **named))
        return compiled[-1]

    with torch.no_grad(), patch.object(openvino.Core, "compile_model", keep):
        build(planned, example.model, BuildInputs(example.batches, threads))
    model = openvino.Core().read_model(directory / "model.xml")
    versions = {"openvino": openvino.__version__, "torch": torch.__version__}
    return OperatorGraph(planned.name, read(model, compiled[-1].get_runtime_model()), versions)


def operators_of(path: Path, threads: int) -> tuple[Operator, ...]:
    """Return what OpenVINO would execute of an ONNX file."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    return read(model, core.compile_model(model, "CPU", settings).get_runtime_model())


def read(model: Any, executed: Any) -> tuple[Operator, ...]:
    """Return the operators of a compiled model in the order of execution.

    Args:
        model: The model as it was given to OpenVINO.
        executed: Its execution graph.
    """
    nodes = [(node, _facts(node)) for node in executed.get_ordered_ops()]
    originals = {op.get_friendly_name(): (place, op) for place, op in enumerate(model.get_ordered_ops())}
    made: dict[str, tuple[Any, dict[str, str]]] = {}
    operators: list[Operator] = []
    for node, facts in nodes:
        if facts["layerType"] in NOT_RUN | MOVED:
            continue
        known = [originals[name] for name in facts["originalLayersNames"].split(",") if name in originals]
        if known:
            last = max(known, key=lambda each: each[0])[1]
            made[last.get_friendly_name()] = node, facts
    layouts = {name: facts["outputLayouts"].split(",")[0] for name, (_, facts) in made.items()}
    for node, facts in nodes:
        if facts["layerType"] in MOVED:
            operators.append(_reorder(node, facts))
            continue
        name = next((each for each, (by, _) in made.items() if by is node), None)
        if name is not None:
            found = _operator(node.get_friendly_name(), facts, cut(originals[name][1], made), layouts)
            operators.append(replace(found, label=name))
    return tuple(operators)


def _facts(node: Any) -> dict[str, str]:
    found = node.get_rt_info()
    keys = ("layerType", "originalLayersNames", "outputLayouts", "primitiveType", "execOrder")
    return {key: str(getattr(found[key], "value", found[key])) for key in keys}


def _operator(name: str, facts: Mapping[str, str], piece: Piece, layouts: Mapping[str, str]) -> Operator:
    outside = tuple(_tensor(each, layouts.get(node, "")) for node, each in piece.inputs)
    constants = tuple(_tensor(each, "", constant=True) for each in piece.constants)
    results = tuple(_tensor(each, facts["outputLayouts"].split(",")[0]) for each in piece.outputs)
    attributes = {"primitive": facts["primitiveType"], "operations": piece.operations, "outputs": piece.taken}
    kind = facts["layerType"]
    flops = _flops(piece, results)
    return Operator(name, kind, attributes, (*outside, *constants), results, flops, is_view=kind in VIEWS)


def _tensor(described: Described, layout: str, *, constant: bool = False) -> OperatorTensor:
    dtype, shape, values = described
    size = {"float32": 4, "int64": 8, "int32": 4, "float16": 2, "bool": 1, "float64": 8}.get(dtype, 4)
    return OperatorTensor(dtype, shape, CHANNELS_LAST.get(layout, ""), constant, values, float(size * prod(shape)))


def _flops(piece: Piece, results: Sequence[OperatorTensor]) -> float:
    return piece.flops or float(sum(prod(each.shape) for each in results))


def _reorder(node: Any, facts: Mapping[str, str]) -> Operator:
    source = node.input(0).get_source_output()
    before = _facts(source.get_node())["outputLayouts"].split(",")[source.get_index() :][:1]
    given = _tensor(_shape(source), before[0] if before else "")
    taken = _tensor(_shape(node.output(0)), facts["outputLayouts"])
    attributes = {"primitive": facts["primitiveType"]}
    is_view = node.get_friendly_name().endswith("_fake")  # OpenVINO's mark of one that moves nothing
    name = node.get_friendly_name()
    return Operator(name, "Reorder", attributes, (given,), (taken,), float(prod(taken.shape)), is_view=is_view)


def _shape(port: Any) -> Described:
    return port.get_element_type().to_dtype().name, tuple(port.get_shape()), None
