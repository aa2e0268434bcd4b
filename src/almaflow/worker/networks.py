"""Builds small networks by one conversion, and times each as often as it is asked. A process of its own.

The first line that it is asked is the task; each further one asks for a pass over all networks.

Where PyTorch computes on the CPU, each network has a process of its own, forked before anything is computed, as a job's
worker is: how often memory is given back to the system and asked for again depends on what a process allocated before,
and can be most of what a call takes.
"""

from __future__ import annotations

import ctypes
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

from almaflow.records import HardwareSpec, MeasureSpec, ModelSpec, PlannedConversion, WorkerTask, from_dict, to_dict
from almaflow.records.child_entry import answers_only
from almaflow.worker.device import synchronizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch

PASS_TIME_S = 0.025
"""Of timed calls of one network in one pass."""
PASS_CALLS = 3
UNTIMED_CALLS = 1
GAP_S = 0.01
"""Between two networks: threads that spin for more work have gone to sleep by then."""
BATCHES = 2
MOST_COMPILED = 1000
"""Of one function; PyTorch's own limit is meant for one model."""
LARGEST_ADAPTING = 32 * 2**20 - 2**16
"""Bytes; larger blocks are mapped each time, whatever was given back before."""


def main(say: Callable[[object], None]) -> None:
    """Build all, then a pass for each line until standard input ends."""
    asked = json.loads(sys.stdin.readline())
    specs = [from_dict(ModelSpec, each) for each in asked["kernels"]]
    planned = from_dict(PlannedConversion, asked["conversion"])
    import torch

    from almaflow.conversions.catalogue.preload import modules_for
    from almaflow.worker.control_workload import control_workload_ms
    from almaflow.worker.fork_server import import_all
    from almaflow.worker.threads import set_threads

    set_threads(asked["threads"])
    _keep_compiled()
    _keep_torchlib()
    with torch.no_grad():
        here = [_Network(spec, planned, asked, Path(asked["place"])) for spec in specs]
        networks: list[_Network] | list[_Forked] = here
        if asked["forks"]:
            import_all(modules_for(specs[0], [planned]))
            gc.freeze()
            networks = [_Forked(network) for network in here]
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
                control = control_workload_ms(planned.device)
                sleep(GAP_S)
                say({"timed": network.name, "samples_ms": network.times_ms(), "control_ms": control})
            say({"passed": True})


def _keep_compiled() -> None:
    """A job's builder forgets what was compiled before, since its process has one conversion; here all have to stay.

    And a size that differs from that of the network before it is no reason to compile for all sizes.
    """
    import torch._dynamo

    torch._dynamo.reset = lambda: None  # noqa: SLF001 - called by that name only
    config = torch._dynamo.config  # noqa: SLF001 - PyTorch documents these under this name
    config.automatic_dynamic_shapes = False
    config.recompile_limit = config.accumulated_recompile_limit = MOST_COMPILED


def _keep_memory() -> None:
    """Let glibc's allocator keep up to 64 MiB, as in a process that has given back a block of 32 MiB.

    It gives memory back where more is free than twice the largest block of up to 32 MiB that was given back before
    (mallopt(3), M_MMAP_THRESHOLD). A network that was only built and called has given back little, and asks the system
    for its memory anew at each call: depthwise convolutions took three times what they take in a job. By the threshold
    that a job's worker would come to, deep networks take up to 2.5 times as long in one process as in the next.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.free(libc.malloc(LARGEST_ADAPTING))


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


class _Network:
    """A network in this process."""

    def __init__(self, spec: ModelSpec, planned: PlannedConversion, asked: dict[str, Any], scratch: Path) -> None:
        self.name = spec.name
        self._spec, self._planned, self._asked, self._place = spec, planned, asked, scratch / spec.name
        self._made: tuple[ConvertedModel, list[Batch]] | None = None
        self._synchronize = synchronizer(planned.device)

    def build(self) -> dict[str, Any]:
        """Build it as a job's worker does, and call it once; what to say of it."""
        try:
            return self._built()
        except Exception as error:  # noqa: BLE001 - a converter raises what it likes; the others count without it
            return {"failed": self.name, "why": f"{type(error).__name__}: {error}"[:300]}

    def _built(self) -> dict[str, Any]:
        from almaflow.conversions.build import build
        from almaflow.models.build import build_batches, build_model
        from almaflow.models.counting import count

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

    def times_ms(self) -> list[float]:
        """Of single calls."""
        if self._made is None:
            message = f"{self.name} was not built"
            raise RuntimeError(message)
        converted, batches = self._made
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
    """A network in a process of its own, which ends when this one has ended.

    A fork that has imported what this process has, not a fresh interpreter, which would import for seconds each.
    """

    def __init__(self, network: _Network) -> None:
        self.name = network.name
        context = multiprocessing.get_context("fork")
        self._process, there = context.Pipe()
        # A daemon, or an error of this process would wait for the others, who wait for it.
        context.Process(target=_serve, args=(network, there, self._process), daemon=True).start()
        there.close()

    def build(self) -> dict[str, Any]:
        """As the network does."""
        try:
            said: dict[str, Any] = self._answer()
        except EOFError:
            return {"failed": self.name, "why": "its process died"}
        return said

    def times_ms(self) -> list[float]:
        """As the network does."""
        times: list[float] = self._answer()
        return times

    def _answer(self) -> Any:
        self._process.send("next")
        return self._process.recv()


def _serve(network: _Network, asker: Connection, inherited: Connection) -> None:
    """Build when first asked, and time at each further question, until nobody is there to ask."""
    inherited.close()
    with suppress(EOFError):
        asker.recv()
        _keep_memory()
        asker.send(network.build())
        _keep_garbage()
        while asker.recv():
            asker.send(network.times_ms())
    os._exit(0)  # converted code likes to crash as it is taken down


if __name__ == "__main__":
    with answers_only() as answer:
        main(answer)
    os._exit(0)  # converted code likes to crash as it is taken down
