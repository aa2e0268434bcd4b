"""Runs one conversion of a model under its runtime's own profiler. A process of its own.

It is asked with ``model``, ``conversion`` and ``threads``, and answers with a list of operators and the milliseconds
that each takes in one call.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from almaflow.records import HardwareSpec, MeasureSpec, ModelSpec, PlannedConversion, WorkerTask, from_dict
from almaflow.records.child_entry import answer_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch

    Times = dict[str, float]

WARM_CALLS, CALLS = 5, 10
BATCHES = 2


def main(task: dict[str, Any]) -> list[tuple[str, float]]:
    """Profile in a directory that is gone afterwards, since converters write files where they are."""
    with tempfile.TemporaryDirectory(prefix="almaflow-profile-") as scratch:
        os.chdir(scratch)
        planned = from_dict(PlannedConversion, task["conversion"])
        found = profile(from_dict(ModelSpec, task["model"]), planned, task["threads"], Path(scratch))
        os.chdir("/")
    return found


def profile(spec: ModelSpec, planned: PlannedConversion, threads: int, place: Path) -> list[tuple[str, float]]:
    """Operators and their milliseconds in one call, by whichever profiler the runtime has."""
    import torch

    from almaflow.conversions.build import build
    from almaflow.models.build import build_batches, build_model
    from almaflow.worker.threads import set_threads

    set_threads(threads)
    if planned.family == "inductor":
        torch._inductor.config.cpp.enable_kernel_profile = True  # noqa: SLF001 - no other way
    model, batches = build_model(spec), build_batches(spec, BATCHES)
    task = WorkerTask(spec, HardwareSpec("here", "cpu", threads), MeasureSpec(), planned, str(place), str(place))
    with torch.no_grad(), _profiling_sessions(place):
        converted = build(planned, model, batches, task)
        if converted.session is not None:
            times = _by_onnx_runtime(converted, batches[0])
        elif "openvino" in planned.family and not planned.steps[0].startswith("COMPILE"):
            times = _by_openvino(batches[0], threads)
        else:
            times = _by_torch(converted, batches)
    return [(name, total / CALLS) for name, total in times.items()]


def _by_torch(converted: ConvertedModel, batches: list[Batch]) -> Times:
    """PyTorch's profiler: the time of each operator without that of those that it calls."""
    import torch

    for _ in range(WARM_CALLS):
        converted.call(batches[0])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        for _ in range(CALLS):
            converted.call(batches[0])
    return {event.key: event.self_cpu_time_total / 1000 for event in found.key_averages()}


@contextmanager
def _profiling_sessions(place: Path) -> Iterator[None]:
    """ONNX Runtime's sessions keep a profile from their start on."""
    import onnxruntime

    def open_session(path: str, sess_options: Any = None, **others: Any) -> Any:
        options = sess_options or onnxruntime.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(place / "profile")
        return original(path, sess_options=options, **others)

    original = onnxruntime.InferenceSession
    with patch("onnxruntime.InferenceSession", open_session):
        yield


def _by_onnx_runtime(converted: ConvertedModel, batch: Batch) -> Times:
    """ONNX Runtime's profile, which has all calls since the session was opened."""
    for _ in range(WARM_CALLS + CALLS):
        converted.call(batch)
    events = json.loads(Path(converted.session.end_profiling()).read_text(encoding="utf-8"))
    runs = sum(event["name"] == "model_run" for event in events)
    nodes = [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]
    times: Times = defaultdict(float)
    for event in nodes[-CALLS * len(nodes) // runs :]:
        times[event["args"]["op_name"]] += event["dur"] / 1000
    return times


def _by_openvino(batch: Batch, threads: int) -> Times:
    """OpenVINO's counters, on the file that the conversion has written."""
    import openvino

    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERF_COUNT": True, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model("model.xml", "CPU", settings | {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    times: Times = defaultdict(float)
    for call in range(WARM_CALLS + CALLS):
        request.infer([tensor.numpy() for tensor in batch], share_inputs=True)
        for node in request.get_profiling_info() if call >= WARM_CALLS else ():
            times[node.node_type] += node.real_time.total_seconds() * 1000
    return times


if __name__ == "__main__":
    answer_once(main)
