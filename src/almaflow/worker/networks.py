"""Build small networks by one conversion and time them on request, in a process of its own.

The first line on standard input is the task; each further line requests a pass over all networks.

If PyTorch computes on the CPU, each network has a process of its own, forked before anything is computed, like a job's
worker. How often memory is returned to the system and requested again depends on what a process allocated before, and
can be most of the time of a call.
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
from time import perf_counter_ns, sleep
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from almaflow.records import ModelSpec, PlannedConversion, from_dict, to_dict
from almaflow.records.child_entry import answers_only
from almaflow.worker.allocator import keep_memory
from almaflow.worker.device import synchronizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch

PASS_TIME_S = 0.025
"""Seconds of timed calls of one network in one pass."""
PASS_CALLS = 3
UNTIMED_CALLS = 1
GAP_S = 0.01
"""Seconds between two networks, after which threads that spin for more work are asleep."""
BATCHES = 2
MOST_COMPILED = 1000
"""Compiled versions of one function; PyTorch's own limit is meant for one model."""


def main(answer: Callable[[object], None]) -> None:
    """Build all networks, then time them once for each line until standard input ends."""
    task = json.loads(sys.stdin.readline())
    specs = [from_dict(ModelSpec, spec) for spec in task["kernels"]]
    planned = from_dict(PlannedConversion, task["conversion"])
    import torch

    from almaflow.conversions.catalogue.preload import modules_for
    from almaflow.machine import home
    from almaflow.worker import toolchain
    from almaflow.worker.control_workload import control_workload_ms
    from almaflow.worker.fork_server import import_all
    from almaflow.worker.threads import set_threads

    set_threads(task["threads"])
    _keep_compiled()
    _keep_torchlib()
    with torch.no_grad():
        here = [_Network(spec, planned, task, Path(task["place"])) for spec in specs]
        networks: list[_Network] | list[_Forked] = here
        if task["forks"]:
            import_all(modules := modules_for(specs[0], [planned]))
            if toolchain.__name__ in modules:
                toolchain.take(home())
            gc.freeze()
            networks = [_Forked(network) for network in here]
        built = []
        for network in networks:
            result = network.build()
            if "built" in result:
                built.append(network)
            answer(result)
        _keep_garbage()
        answer({"ready": len(built)})
        for _ in sys.stdin:
            for network in built:
                control = control_workload_ms(planned.device)
                sleep(GAP_S)
                answer({"timed": network.name, "samples_ms": network.times_ms(), "control_ms": control})
            answer({"passed": True})


def _keep_compiled() -> None:
    """Keep compiled graphs when builders reset dynamo, which they do since a job's process has one conversion only.

    Compile for fixed sizes, though the sizes differ between networks.
    """
    import torch._dynamo

    torch._dynamo.reset = lambda: None  # noqa: SLF001 - called by that name only
    config = torch._dynamo.config  # noqa: SLF001 - PyTorch documents these under this name
    config.automatic_dynamic_shapes = False
    config.recompile_limit = config.accumulated_recompile_limit = MOST_COMPILED


def _keep_garbage() -> None:
    """Stop garbage collection: exported graphs are millions of objects, and scanning them takes a second."""
    gc.collect()
    gc.freeze()
    gc.disable()


def _keep_torchlib() -> None:
    """Cache the 500 translations of the ONNX exporter, whose source it reads for each model, which takes a second."""
    with suppress(ImportError, AttributeError, KeyError):
        from torch.onnx._internal.exporter import _registration

        read = vars(_registration)["onnxscript_apis"].get_torchlib_ops
        vars(_registration)["onnxscript_apis"] = SimpleNamespace(get_torchlib_ops=cache(read))


class _Network:
    """A network in this process."""

    def __init__(self, spec: ModelSpec, planned: PlannedConversion, task: dict[str, Any], scratch: Path) -> None:
        self.name = spec.name
        self._spec, self._planned, self._task, self._directory = spec, planned, task, scratch / spec.name
        self._converted: tuple[ConvertedModel, list[Batch]] | None = None
        self._synchronize = synchronizer(planned.device)

    def build(self) -> dict[str, Any]:
        """Build the network as a job's worker does, call it once, and return the answer about it."""
        try:
            return self._try_build()
        except Exception as error:  # noqa: BLE001 - converters may raise anything; the others count without this one
            return {"failed": self.name, "why": f"{type(error).__name__}: {error}"[:300]}

    def _try_build(self) -> dict[str, Any]:
        from almaflow.conversions.build import build
        from almaflow.conversions.built.model import BuildInputs
        from almaflow.models.build import build_example
        from almaflow.models.counting import count

        self._directory.mkdir()
        os.chdir(self._directory)  # converters write files into the working directory
        example = build_example(self._spec, BATCHES)
        model, batches = example.model, example.batches
        result: dict[str, Any] = {"built": self.name}
        if self._task["counts"]:
            result["workload"] = to_dict(count(model, batches[0]))
        device = self._planned.device
        model, batches = model.to(device), [tuple(tensor.to(device) for tensor in batch) for batch in batches]
        converted = build(self._planned, model, BuildInputs(batches, self._task["threads"]))
        converted.call(batches[0])
        self._converted = converted, batches
        return result

    def times_ms(self) -> list[float]:
        """Return the milliseconds of single calls."""
        if self._converted is None:
            message = f"{self.name} was not built"
            raise RuntimeError(message)
        converted, batches = self._converted
        for _ in range(UNTIMED_CALLS):
            converted.call(batches[0])
        self._synchronize()
        samples: list[int] = []
        began = perf_counter_ns()
        while len(samples) < PASS_CALLS or perf_counter_ns() - began < PASS_TIME_S * 1e9:
            started = perf_counter_ns()
            converted.call(batches[len(samples) % BATCHES])
            self._synchronize()
            samples.append(perf_counter_ns() - started)
        return [sample / 1e6 for sample in samples]


class _Forked:
    """A network in a forked process of its own, which ends when this one has ended.

    A fork has the imports of this process; a fresh interpreter would import for seconds.
    """

    def __init__(self, network: _Network) -> None:
        self.name = network.name
        context = multiprocessing.get_context("fork")
        self._process, child_end = context.Pipe()
        # Without daemon, this process would, after an error, wait for children that wait for it.
        context.Process(target=_serve, args=(network, child_end, self._process), daemon=True).start()
        child_end.close()

    def build(self) -> dict[str, Any]:
        try:
            result: dict[str, Any] = self._answer()
        except EOFError:
            return {"failed": self.name, "why": "its process died"}
        return result

    def times_ms(self) -> list[float]:
        times: list[float] = self._answer()
        return times

    def _answer(self) -> Any:
        self._process.send("next")
        return self._process.recv()


def _serve(network: _Network, parent: Connection, inherited: Connection) -> None:
    """Build on the first request and time on each further one, until the parent closes its end."""
    inherited.close()
    with suppress(EOFError):
        parent.recv()
        keep_memory()  # depthwise convolutions took three times as long as in a job without it
        parent.send(network.build())
        _keep_garbage()
        while parent.recv():
            parent.send(network.times_ms())
    os._exit(0)  # destructors of converted code often crash


if __name__ == "__main__":
    with answers_only() as answer:
        main(answer)
    os._exit(0)  # destructors of converted code often crash
