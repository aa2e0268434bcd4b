"""Builds small networks by one conversion, and times each as often as it is asked. A process of its own.

Run as ``python -m almaflow.measure.kernels_child``. The first line of standard input is the task as JSON; each further
line asks for a pass over all networks. What it has to say goes to standard output, one JSON object in a line; whatever
libraries print goes to standard error.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from time import perf_counter_ns, sleep
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from almaflow.records import HardwareSpec, MeasureSpec, ModelSpec, PlannedConversion, WorkerTask, from_dict, to_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.conversions.adapter import Converted
    from almaflow.models.batches import Batch

PASS_TIME_S = 0.025
"""Of timed calls of one network in one pass."""
PASS_CALLS = 3
UNTIMED_CALLS = 1
GAP_S = 0.01
"""Between two networks: threads that spin for more work have gone to sleep by then."""
BATCHES = 2


def main() -> None:
    """Build all, then a pass for each line until standard input ends."""
    say = _speaker()
    asked = json.loads(sys.stdin.readline())
    specs = [from_dict(ModelSpec, each) for each in asked["kernels"]]
    planned = from_dict(PlannedConversion, asked["conversion"])
    import torch

    from almaflow.measure.control import control_ms
    from almaflow.measure.threads import set_threads

    set_threads(asked["threads"])
    # A job's builder forgets what was compiled before, since its process has one conversion; here all have to stay.
    torch._dynamo.reset = lambda: None  # noqa: SLF001 - called by that name only
    _keep_torchlib()
    built = {}
    with torch.no_grad(), tempfile.TemporaryDirectory(prefix="almaflow-kernels-") as scratch:
        for spec in specs:
            try:
                built[spec.name], said = _built(spec, planned, asked, Path(scratch, spec.name))
            except Exception as error:  # noqa: BLE001 - a converter raises what it likes; the others count without it
                said = {"failed": spec.name, "why": f"{type(error).__name__}: {error}"[:300]}
            say(said)
        # Exported graphs are millions of objects, and looking through them takes a second.
        gc.collect()
        gc.freeze()
        gc.disable()
        say({"ready": len(built)})
        for _ in sys.stdin:
            for name, (converted, batches) in built.items():
                control = control_ms()
                sleep(GAP_S)
                say({"timed": name, "samples_ms": _times_ms(converted, batches), "control_ms": control})
            say({"passed": True})
        os.chdir("/")
    os._exit(0)  # converted code likes to crash as it is taken down


def _keep_torchlib() -> None:
    """The exporter to ONNX reads the source of its 500 translations anew for each model, which takes a second."""
    with suppress(ImportError, AttributeError, KeyError):
        from torch.onnx._internal.exporter import _registration

        read = vars(_registration)["onnxscript_apis"].get_torchlib_ops
        vars(_registration)["onnxscript_apis"] = SimpleNamespace(get_torchlib_ops=cache(read))


def _speaker() -> Callable[[dict[str, Any]], None]:
    """Standard output for us alone: what others print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(what: dict[str, Any]) -> None:
        out.write(json.dumps(what) + "\n")
        out.flush()

    return say


def _built(
    spec: ModelSpec, planned: PlannedConversion, asked: dict[str, Any], place: Path
) -> tuple[tuple[Converted, list[Batch]], dict[str, Any]]:
    """A network as a job's worker builds it, called once; what to say of it."""
    from almaflow.conversions.adapter import build
    from almaflow.models.build import build_batches, build_model
    from almaflow.predict.counting import count

    place.mkdir()
    os.chdir(place)  # converters write files where they are
    model, batches = build_model(spec), build_batches(spec, BATCHES)
    said: dict[str, Any] = {"built": spec.name}
    if asked["counts"]:
        said["workload"] = to_dict(count(model, batches[0]))
    hardware = HardwareSpec("here", planned.device, asked["threads"])
    task = WorkerTask(spec, hardware, MeasureSpec(), planned, str(place), str(place / "none"))
    converted = build(planned, model, batches, task)
    converted.call(batches[0])
    return (converted, batches), said


def _times_ms(converted: Converted, batches: list[Batch]) -> list[float]:
    for _ in range(UNTIMED_CALLS):
        converted.call(batches[0])
    samples: list[int] = []
    began = perf_counter_ns()
    while len(samples) < PASS_CALLS or perf_counter_ns() - began < PASS_TIME_S * 1e9:
        started = perf_counter_ns()
        converted.call(batches[len(samples) % BATCHES])
        samples.append(perf_counter_ns() - started)
    return [sample / 1e6 for sample in samples]


if __name__ == "__main__":
    main()
