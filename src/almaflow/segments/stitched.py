"""Runs marked functions with a conversion in the place of each graph, in the application's process."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch

from almaflow.errors import UsageError
from almaflow.records.plan import EAGER
from almaflow.segments.accelerate import ACTIVE
from almaflow.segments.clock import RUNNING, RunningCall
from almaflow.segments.identity import ambient, described
from almaflow.segments.inline import converted_graph
from almaflow.segments.standalone import sizes_in, standalone, weights_in
from almaflow.segments.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch.fx import GraphModule

    from almaflow.records import PlannedConversion
    from almaflow.records.profile import Call
    from almaflow.segments.accelerate import Accelerated


class Conversions:
    """A backend of dynamo: runs each graph in the conversion that its segment is to have, or else eagerly.

    Args:
        planned: The conversion of each segment, by its ID; segments that are absent run eagerly.
        note: Gets a line for people.
        written: Which of its inputs a segment writes to, by its ID: they get what the conversion gives for them.

    Attributes:
        ran: The conversion that each segment ran in, by its ID.
        found: How many graphs, sizes and sets of weights were met so far.
    """

    def __init__(
        self,
        planned: Mapping[str, PlannedConversion],
        note: Callable[[str], None],
        written: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self.closed = False
        self._written = written or {}
        self.ran: dict[str, str] = {}
        self.found = 0
        self._planned = planned
        self._note = note
        self._directory = tempfile.TemporaryDirectory(prefix="almaflow-", ignore_cleanup_errors=True)

    def close(self) -> None:
        """Run nothing in a conversion any more, and remove their files."""
        self.closed = True
        self._directory.cleanup()

    @property
    def types(self) -> list[str]:
        """The types that the conversions which ran compute in."""
        return [each.dtype for name, each in self._planned.items() if self.ran.get(name) == each.name]

    def __call__(self, module: GraphModule, example_inputs: Sequence[object]) -> Callable[..., Any]:
        """Return what runs in place of the graph."""
        if hasattr(module, "real_recompile"):  # else its code is made at each call
            cast("Any", module).real_recompile()
        return _StitchedGraph(self, module, example_inputs).run

    def convert(self, module: GraphModule, args: Sequence[Any], weights: Sequence[int]) -> tuple[str | None, Any]:
        """Return the ID of a graph's segment at these arguments, and what runs it.

        A graph that does nothing but hand on numbers is none: whether PyTorch makes one hangs on what it saw before.
        """
        self.found += 1
        alone, settings = standalone(module, args, weights), ambient()
        if not alone.operators and not alone.taken:
            return None, module.forward
        inputs = [] if alone.unmeasurable else [args[place] for place in alone.taken]
        segment_id = alone.segment_id(described(inputs), settings)
        planned = self._planned.get(segment_id)
        if planned is None or alone.unmeasurable:
            self.ran.setdefault(segment_id, EAGER)
            return segment_id, module.forward
        if writes_to := self._written.get(segment_id):
            alone = standalone(module, args, weights, [alone.taken[index] for index in writes_to])
        place = Path(self._directory.name) / str(self.found)
        place.mkdir()
        try:
            # Runtimes write files of the same names, and read them as long as they run.
            with contextlib.chdir(place):
                run = converted_graph(planned, alone, args, settings.autocast)
        except Exception as error:  # noqa: BLE001 - whatever a converter raises, the application runs
            self._note(f"segment {segment_id} runs eagerly: {planned.name} cannot be built here ({_told(error)})")
            self.ran[segment_id] = EAGER
            return segment_id, module.forward
        self.ran.setdefault(segment_id, planned.name)
        return segment_id, run


class _StitchedGraph:
    """One graph of dynamo's, which may stand for several sizes."""

    def __init__(self, conversions: Conversions, module: GraphModule, example_inputs: Sequence[object]) -> None:
        self._conversions = conversions
        self._module = module
        self._weights = weights_in(example_inputs)
        self._told_by = (*sizes_in(module), *self._weights[:1], *self._weights[-1:])
        self._runs: dict[tuple[int, ...], tuple[str | None, Callable[..., Any], list[Any]]] = {}
        self._on_cuda = any(getattr(each, "is_cuda", False) for each in example_inputs)

    def run(self, *args: Any) -> Any:
        """Run the graph's conversion, and note it in the call of this thread."""
        call = RUNNING.get()
        if call is None or self._conversions.closed:
            return self._module.forward(*args)
        paused = self._now()
        key = tuple([each if type(each := args[place]) is int else id(each) for place in self._told_by])
        known = self._runs.get(key)
        if known is None:
            found = self._conversions.convert(self._module, args, self._weights)
            # The weights are held: what came into the memory of one that is gone would run with its conversion.
            known = self._runs[key] = (*found, [args[place] for place in self._told_by])
        segment_id, forward, _ = known
        began = self._now()
        results = forward(*args)
        if segment_id is not None:
            call.add(segment_id, paused, began, self._now())
        return results

    def _now(self) -> int:
        if self._on_cuda:
            torch.cuda.synchronize()
        return time.perf_counter_ns()


class Stitched:
    """While it is open, marked functions run with their conversions in place.

    Args:
        conversions: Runs the graphs.
        no_grad: Whether calls run without gradients.
        recompile_limit: How many graphs PyTorch may make of one function.
        note: Gets a line for people.
    """

    def __init__(
        self, conversions: Conversions, *, no_grad: bool, recompile_limit: int, note: Callable[[str], None]
    ) -> None:
        self.profile_id = f"verify-{secrets.token_hex(3)}"
        self._no_grad = no_grad
        self.conversions = conversions
        self._tracing = Tracing(conversions, recompile_limit, note, lambda _: None)
        self.last: Call | None = None
        """The newest call."""

    @property
    def is_here(self) -> bool:
        """Whether this process opened it: it is open while a function of its own runs only."""
        return True

    def __enter__(self) -> Self:
        """Begin to run marked functions so.

        Raises:
            UsageError: another session is open in this process.
        """
        if ACTIVE.session is not None:
            message = f"a profiling session is open already ({ACTIVE.session.profile_id}): one at a time"
            raise UsageError(message)
        ACTIVE.session = self
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and free what PyTorch kept of it."""
        ACTIVE.session = None
        self._tracing.close(idle=True)
        self.conversions.close()

    def gradients(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context that a call runs in."""
        return self._tracing.gradients(off=self._no_grad)

    def call(self, function: Accelerated, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run a marked function with its conversions."""
        running = RunningCall(0, function.name)
        token = RUNNING.set(running)
        try:
            with self.gradients():
                return running.timed(self._tracing.traced(function), args, kwargs)
        finally:
            RUNNING.reset(token)
            self.last = running.finished(None)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
