"""Run one conversion of a model under its runtime's own profiler, in a process of its own.

The question has ``model``, ``conversion`` and ``threads``; the answer is a list of the kinds of operators, the
milliseconds that each takes in one call, and their names.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from almaflow.records import ModelSpec, PlannedConversion, from_dict
from almaflow.records.child_entry import answer_once
from almaflow.records.plan import EAGER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch

    Times = dict[str, float]
    Profiled = tuple[str, float, str]
    """Kind of an operator, its milliseconds in one call, and its name in the runtime's graph."""

WARM_CALLS, CALLS = 5, 10
BATCHES = 2
NODE_TIME = "_kernel_time"
"""What ends the names of ONNX Runtime's events of the computation of a node."""


def main(task: dict[str, Any]) -> list[Profiled]:
    """Profile in a temporary working directory, since converters write files into the current one."""
    with tempfile.TemporaryDirectory(prefix="almaflow-profile-") as scratch:
        os.chdir(scratch)
        planned = from_dict(PlannedConversion, task["conversion"])
        times = profile(from_dict(ModelSpec, task["model"]), planned, task["threads"], Path(scratch))
        os.chdir("/")
    return times


def profile(spec: ModelSpec, planned: PlannedConversion, threads: int, directory: Path) -> list[Profiled]:
    """Return operators and their milliseconds in one call, measured by the profiler of the runtime.

    Those of ONNX Runtime, OpenVINO and eager come in the order of execution, each node by itself.
    """
    import torch

    from almaflow.conversions.build import build
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.models.build import build_example
    from almaflow.worker.threads import set_threads

    set_threads(threads)
    if planned.traits.profiler == "inductor":
        torch._inductor.config.cpp.enable_kernel_profile = True  # noqa: SLF001 - no other way
    example = build_example(spec, BATCHES)
    model, batches = example.model, example.batches
    with torch.no_grad(), _profiling_sessions(directory):
        converted = build(planned, model, BuildInputs(batches, threads))
        if planned.traits.profiler == "onnxruntime" and converted.built.sessions:
            return _by_onnx_runtime(converted, batches[0])
        if planned.traits.profiler == "openvino":
            return _by_openvino(batches[0], threads)
        if planned.name == EAGER:
            return _by_dispatch(converted, batches[0])
        return [(name, total / CALLS, "") for name, total in _by_torch(converted, batches).items()]


def _by_torch(converted: ConvertedModel, batches: list[Batch]) -> Times:
    """Return the milliseconds of each operator, without the operators that it calls, from PyTorch's profiler."""
    import torch

    for _ in range(WARM_CALLS):
        converted.call(batches[0])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for _ in range(CALLS):
            converted.call(batches[0])
    return {event.key: event.self_cpu_time_total / 1000 for event in profiler.key_averages()}


def _by_dispatch(converted: ConvertedModel, batch: Batch) -> list[Profiled]:
    """Return the milliseconds of each operator in the order of execution, by a clock around its dispatch.

    PyTorch's profiler would show operators and those that they call, and not which of them the graph has.
    """
    from almaflow.models.dispatched import DispatchClock, place_name

    calls = []
    for _ in range(WARM_CALLS + CALLS):
        with DispatchClock() as clock:
            converted.call(batch)
        calls.append(clock.times_ns)
    return [
        (f"aten::{same[0][0]}", median(each for _, each in same) / 1e6, place_name(same[0][0], place))
        for place, same in enumerate(zip(*calls[WARM_CALLS:], strict=True))
    ]


@contextmanager
def _profiling_sessions(directory: Path) -> Iterator[None]:
    """Make ONNX Runtime's sessions profile from their start."""
    import onnxruntime

    def open_session(path: str, sess_options: Any = None, **others: Any) -> Any:
        options = sess_options or onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(directory / "profile")
        return original(path, sess_options=options, **others)

    original = onnxruntime.InferenceSession
    with patch("onnxruntime.InferenceSession", open_session):
        yield


def _by_onnx_runtime(converted: ConvertedModel, batch: Batch) -> list[Profiled]:
    """Return the milliseconds of each node in the order of execution, from the last calls of ONNX Runtime's profile."""
    for _ in range(WARM_CALLS + CALLS):
        converted.call(batch)
    events = json.loads(Path(converted.built.sessions[0].end_profiling()).read_text(encoding="utf-8"))
    runs = sum(event["name"] == "model_run" for event in events)
    nodes = [event for event in events if event.get("cat") == "Node" and event["name"].endswith(NODE_TIME)]
    count = len(nodes) // runs
    calls = [nodes[first : first + count] for first in range(len(nodes) - CALLS * count, len(nodes), count)]
    return [
        (
            same[0]["args"]["op_name"],
            median(each["dur"] for each in same) / 1000,
            same[0]["name"].removesuffix(NODE_TIME),
        )
        for same in zip(*calls, strict=True)
    ]


def _by_openvino(batch: Batch, threads: int) -> list[Profiled]:
    """Return the milliseconds of each operator from OpenVINO's counters, on the file that the conversion wrote.

    A counter is the mean of all calls since the model was compiled, so that the first calls are taken off again.
    """
    import openvino

    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERF_COUNT": True, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model("model.xml", "CPU", settings | {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()

    def totals(before: int, calls: int) -> list[float]:
        for _ in range(calls):
            request.infer([tensor.numpy() for tensor in batch], share_inputs=True)
        found = request.get_profiling_info()
        return [node.real_time.total_seconds() * 1000 * (before + calls) for node in found]

    first = totals(0, WARM_CALLS)
    both = totals(WARM_CALLS, CALLS)
    nodes = request.get_profiling_info()
    return [
        (node.node_type, max(0.0, after - before) / CALLS, node.node_name)
        for node, before, after in zip(nodes, first, both, strict=True)
    ]


if __name__ == "__main__":
    answer_once(main)
