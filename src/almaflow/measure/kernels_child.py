"""Builds small networks by one conversion, and times each as often as it is asked. A process of its own.

Run as ``python -m almaflow.measure.kernels_child``. The first line of standard input is the task as JSON; each further
line asks for a pass over all networks. What it has to say goes to standard output, one JSON object in a line; whatever
libraries print goes to standard error.

Where PyTorch computes on the CPU, each network has a process of its own, forked before anything is computed
(``kernels_worker``).
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from almaflow.measure.control import control_ms
from almaflow.measure.device import synchronizer
from almaflow.measure.events import Turn
from almaflow.measure.kernels_worker import PASS_CALLS, PASS_TIME_S
from almaflow.measure.timing import refill, take
from almaflow.records import HardwareSpec, MeasureSpec, ModelSpec, PlannedConversion, WorkerTask, from_dict, to_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.conversions.adapter import Converted
    from almaflow.models.batches import Batch

GAP_S = 0.01
"""Between two networks: threads that spin for more work have gone to sleep by then."""
BATCHES = 2
MOST_COMPILED = 1000
"""Of one function; PyTorch's own limit is meant for one model."""


def main() -> None:
    """Build all, then a pass for each line until standard input ends."""
    say = _speaker()
    asked = json.loads(sys.stdin.readline())
    specs = [from_dict(ModelSpec, each) for each in asked["kernels"]]
    planned = from_dict(PlannedConversion, asked["conversion"])
    import torch

    from almaflow.measure.preload import modules_for
    from almaflow.measure.server import import_all
    from almaflow.measure.threads import set_threads

    set_threads(asked["threads"])
    _keep_compiled()
    _keep_torchlib()
    with torch.no_grad():
        networks: list[_Network] | list[_Forked] = [_Network(spec, planned, asked) for spec in specs]
        if asked["forks"]:
            import_all(modules_for(specs[0], [planned]))
            gc.freeze()
            networks = [_Forked(spec, planned, asked) for spec in specs]
        built = []
        for network in networks:
            said = network.build()
            if "built" in said:
                built.append(network)
            say(said)
        _keep_garbage()
        say({"ready": len(built)})
        for _ in sys.stdin:
            for network in built:
                sleep(GAP_S)
                samples_ms, control = network.times_ms()
                say({"timed": network.name, "samples_ms": samples_ms, "control_ms": control})
            say({"passed": True})
    os._exit(0)  # converted code likes to crash as it is taken down


def _keep_compiled() -> None:
    """A job's builder forgets what was compiled before, since its process has one conversion; here all have to stay.

    And a size that differs from that of the network before it is no reason to compile for all sizes.
    """
    import torch._dynamo

    torch._dynamo.reset = lambda: None  # noqa: SLF001 - called by that name only
    config = torch._dynamo.config  # noqa: SLF001 - PyTorch documents these under this name
    config.automatic_dynamic_shapes = False
    config.recompile_limit = config.accumulated_recompile_limit = MOST_COMPILED


def _keep_garbage() -> None:
    """Exported graphs are millions of objects, and looking through them takes a second."""
    gc.collect()
    gc.freeze()
    gc.disable()


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


class _Network:
    """A network in this process."""

    def __init__(self, spec: ModelSpec, planned: PlannedConversion, asked: dict[str, Any]) -> None:
        self.name = spec.name
        self._spec, self._planned, self._asked, self._place = spec, planned, asked, Path(asked["place"], spec.name)
        self._made: tuple[Converted, list[Batch]] | None = None
        self._synchronize = synchronizer(planned.device)

    def build(self) -> dict[str, Any]:
        """Build it as a job's worker does, and call it once; what to say of it."""
        try:
            return self._built()
        except Exception as error:  # noqa: BLE001 - a converter raises what it likes; the others count without it
            return {"failed": self.name, "why": f"{type(error).__name__}: {error}"[:300]}

    def _built(self) -> dict[str, Any]:
        from almaflow.conversions.adapter import build
        from almaflow.models.build import build_batches, build_model
        from almaflow.predict.counting import count

        self._place.mkdir()
        os.chdir(self._place)  # converters write files where they are
        model, batches = build_model(self._spec), build_batches(self._spec, BATCHES)
        said: dict[str, Any] = {"built": self.name}
        if self._asked["counts"]:
            said["workload"] = to_dict(count(model, batches[0]))
        device = self._planned.device
        model, batches = model.to(device), [tuple(each.to(device) for each in batch) for batch in batches]
        hardware = HardwareSpec("here", device, self._asked["threads"])
        place = str(self._place)
        task = WorkerTask(self._spec, hardware, MeasureSpec(), self._planned, place, str(self._place / "none"))
        converted = build(self._planned, model, batches, task)
        converted.call(batches[0])
        self._made = converted, batches
        return said

    def times_ms(self) -> tuple[list[float], float]:
        """Of single calls, and the control workload before them."""
        if self._made is None:
            message = f"{self.name} was not built"
            raise RuntimeError(message)
        converted, batches = self._made

        def call(index: int) -> object:
            return converted.call(batches[index % BATCHES])

        control = control_ms(self._planned.device)
        refill(call, self._synchronize, last_s=0.0)
        taken = take(call, self._synchronize, Turn(0, PASS_CALLS, PASS_TIME_S, 100 * PASS_TIME_S))
        return list(taken.samples_ms), control


class _Forked:
    """A network in a process of its own, which ends when this one has ended."""

    def __init__(self, spec: ModelSpec, planned: PlannedConversion, asked: dict[str, Any]) -> None:
        self.name = spec.name
        context = multiprocessing.get_context("fork")
        self._process, there = context.Pipe()
        task = spec, planned, asked["threads"], Path(asked["place"], spec.name), there, self._process
        # A daemon, or an error of this process would wait for the others, who wait for it.
        context.Process(target=_serve, args=task, daemon=True).start()
        there.close()

    def build(self) -> dict[str, Any]:
        """As the network does."""
        try:
            said: dict[str, Any] = self._answer()
        except EOFError:
            return {"failed": self.name, "why": "its process died"}
        return said

    def times_ms(self) -> tuple[list[float], float]:
        """As the network does."""
        times: tuple[list[float], float] = self._answer()
        return times

    def _answer(self) -> Any:
        self._process.send("next")
        return self._process.recv()


def _serve(*task: Any) -> None:
    from almaflow.measure.kernels_worker import serve

    *told, inherited = task
    inherited.close()
    _keep_garbage()
    serve(*told)


if __name__ == "__main__":
    main()
