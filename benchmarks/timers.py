"""How trusted tools time the model: each builds what it calls, then gives a median whenever it is asked."""

from __future__ import annotations

import gc
import itertools
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from almaflow.models.batches import Batch


@dataclass(frozen=True)
class Work:
    """What is timed."""

    model: torch.nn.Module
    batches: list[Batch]
    threads: int


@dataclass(frozen=True)
class Timed:
    """How a tool times it."""

    measure: Callable[[float], tuple[float, int]]
    """Of the least seconds of timed calls: the median in milliseconds, and the number of calls."""
    refill: Callable[[], object]
    """One untimed call; nothing where each turn starts afresh anyway."""


def eager(work: Work) -> Timed:
    """PyTorch's own Timer on the model as it is."""
    return torch_timer(work.model, work)


def inductor(work: Work) -> Timed:
    """PyTorch's own Timer on plain ``torch.compile``."""
    import torch

    return torch_timer(torch.compile(work.model), work)


def torch_timer(forward: Callable[..., object], work: Work) -> Timed:
    """``torch.utils.benchmark``, with the model's threads: its default is one."""
    from torch.utils.benchmark import Timer

    batches = itertools.cycle(work.batches)
    timer = Timer("forward(*next(batches))", globals={"forward": forward, "batches": batches}, num_threads=work.threads)

    def measure(seconds: float) -> tuple[float, int]:
        found = timer.blocked_autorange(min_run_time=seconds)
        return found.median * 1000, found.number_per_run * len(found.raw_times)

    return Timed(measure, lambda: forward(*next(batches)))


def onnxruntime_loop(work: Work) -> Timed:
    """An export by PyTorch's defaults, and nothing but ``session.run`` between two readings of the clock."""
    import onnxruntime
    import torch

    torch.onnx.export(work.model, work.batches[0], "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = work.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    feeds = itertools.cycle([dict(zip(names, (t.numpy() for t in batch), strict=True)) for batch in work.batches])
    return loop(lambda: session.run(None, next(feeds)))


def openvino_loop(work: Work) -> Timed:
    """``torch.compile`` with OpenVINO's backend and the options with which it really runs the graph.

    The model is exported first, as Alma's conversion of that name does: dynamo's guards of an exported model take some
    tens of microseconds more per call, which shows where a call takes less than a millisecond.
    """
    import openvino.torch  # noqa: F401 - registers the backend
    import torch

    from almaflow.conversions.built.evidence import openvino_evidence

    if hasattr(torch._dynamo.config, "prepare_freezing"):  # noqa: SLF001 - PyTorch has no public place for it
        torch._dynamo.config.prepare_freezing = True  # noqa: SLF001 - the same
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": work.threads,
    }
    options: dict[str, Any] = {"aot_autograd": True, "config": config}
    exported = torch.export.export(work.model, work.batches[0])
    forward = cast(
        "Callable[..., object]",
        torch.compile(exported.module(), backend="openvino", options=options),
    )
    with torch.no_grad():
        forward(*work.batches[0])
    if instead := openvino_evidence().fell_back:  # the backend itself would not say
        sys.exit(instead)
    batches = itertools.cycle(work.batches)
    return loop(lambda: forward(*next(batches)))


def loop(one_call: Callable[[], object]) -> Timed:
    """The bare loop: a clock that is read before and after each call."""

    def measure(seconds: float) -> tuple[float, int]:
        times = []
        gc.collect()
        gc.disable()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            began = time.perf_counter()
            one_call()
            times.append(time.perf_counter() - began)
        gc.enable()
        return median(times) * 1000, len(times)

    return Timed(measure, one_call)


def benchmark_app(work: Work) -> Timed:
    """OpenVINO's own ``benchmark_app`` on OpenVINO's own conversion of the model: no ``torch.compile`` in it."""
    import numpy as np
    import openvino
    import torch

    batch = work.batches[0]
    # Exported rather than traced, since OpenVINO cannot trace torchvision's vision transformers.
    converted = openvino.convert_model(torch.export.export(work.model, batch))
    openvino.save_model(converted, "model.xml", compress_to_fp16=False)
    command = [str(Path(sys.executable).with_name("benchmark_app")), "-m", "model.xml", "-d", "CPU"]
    command += ["-api", "sync", "-hint", "none", "-nstreams", "1", "-nthreads", str(work.threads)]
    command += ["-infer_precision", "f32"]
    if len(batch) == 1 and batch[0].is_floating_point():
        np.save("input.npy", batch[0].numpy())
        # Without -ip it takes what looks like an image for bytes, and puts a conversion in front of the model.
        command += ["-i", "input.npy", "-ip", "f32"]

    def measure(seconds: float) -> tuple[float, int]:
        whole = str(max(1, round(seconds)))  # it takes whole seconds
        done = subprocess.run([*command, "-t", whole], capture_output=True, text=True, check=False)
        found = re.search(r"Median:\s+([\d.]+) (ms|us)", done.stdout)
        if done.returncode or not found:
            sys.exit(f"benchmark_app: {(done.stdout + done.stderr).strip().splitlines()[-1]}")
        count = re.search(r"Count:\s+(\d+)", done.stdout)
        return float(found[1]) / (1 if found[2] == "ms" else 1000), int(count[1]) if count else 0

    return Timed(measure, lambda: None)


TOOLS: dict[str, Callable[[Work], Timed]] = {
    "torch.utils.benchmark, eager": eager,
    "torch.utils.benchmark, torch.compile": inductor,
    "session.run loop": onnxruntime_loop,
    "torch.compile(openvino) loop": openvino_loop,
    "benchmark_app, OpenVINO directly": benchmark_app,
}
"""By the names that the table shows."""
