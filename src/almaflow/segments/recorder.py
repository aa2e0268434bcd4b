"""The backend that a session gives to dynamo: it runs each graph eagerly, and records what ran and for how long."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from almaflow.errors import shortened
from almaflow.models.batches import copied
from almaflow.models.state import content_of
from almaflow.records.profile import Segment
from almaflow.segments.capture import LONGEST_REASON, converted_place
from almaflow.segments.clock import RUNNING
from almaflow.segments.identity import ambient, described, digest
from almaflow.segments.standalone import sizes_in, standalone, weights_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.fx import GraphModule

    from almaflow.segments.clock import RunningCall
    from almaflow.segments.standalone import Standalone
    from almaflow.segments.store import KeptSegment, SegmentStore

T = TypeVar("T")


class Recorder:
    """A backend of dynamo, for one session.

    Args:
        store: Keeps segments and their inputs.
    """

    def __init__(self, store: SegmentStore) -> None:
        self._store = store
        self.closed = False

    def __call__(self, module: GraphModule, example_inputs: Sequence[object]) -> Callable[..., Any]:
        """Return what runs in place of the graph."""
        return RecordedGraph(self, self._store, module, example_inputs).run


class RecordedGraph:
    """One graph of dynamo's, which may stand for several sizes."""

    def __init__(
        self, recorder: Recorder, store: SegmentStore, module: GraphModule, example_inputs: Sequence[object]
    ) -> None:
        if hasattr(module, "real_recompile"):  # else its code is made at each call
            cast("Any", module).real_recompile()
        self._recorder = recorder
        self.store = store
        self.module = module
        self.place = converted_place()
        self._forward = module.forward
        self._sizes = sizes_in(module)
        self._segments: dict[tuple[Any, ...], tuple[KeptSegment, tuple[int, ...]]] = {}
        self.weights = weights_in(example_inputs)
        # Layers that are alike share a graph; the first and the last weight tell which one runs.
        self._told_by = (*self._sizes, *self.weights[:1], *self.weights[-1:])
        self.digests: dict[Any, str] = {}
        self._failure = ""
        values = (*example_inputs, *(node.meta.get("example_value") for node in module.graph.nodes))
        self._on_cuda = any(getattr(each, "is_cuda", False) for each in values)

    def run(self, *args: Any) -> Any:
        """Run the graph, and note it in the call of this thread."""
        if self._on_cuda:
            torch.cuda.synchronize()
        paused = time.perf_counter_ns()
        call = RUNNING.get()
        if call is None or self._recorder.closed:
            return self._forward(*args)
        known = self._segments.get(self._key(args))
        if known is None:
            return self._first(call, args, paused)
        segment, taken = known
        if segment.wants_inputs:
            self.store.keep(segment, [args[place] for place in taken])
        results, began, ended = self._timed(args)
        call.add(segment.segment.segment_id, paused, began, ended)
        return results

    def _key(self, args: Sequence[Any]) -> tuple[int, ...]:
        """Return what tells one segment of this graph from another: its sizes, and which weights it gets."""
        return tuple([each if type(each := args[place]) is int else id(each) for place in self._told_by])

    def _timed(self, args: Sequence[Any]) -> tuple[Any, int, int]:
        began = time.perf_counter_ns()
        results = self._forward(*args)
        if self._on_cuda:
            torch.cuda.synchronize()
        return results, began, time.perf_counter_ns()

    def _first(self, call: RunningCall, args: Sequence[Any], paused: int) -> Any:
        """Run the graph at a size for the first time, and find out what the segment is."""
        first = self._tried(lambda: _FirstRun(self, args))
        results, began, ended = self._timed(args)
        segment = self._tried(lambda: first.segment(call.function, results)) if first else None
        kept = self.store.add(segment or self._unknown(call.function), first.batch if first and segment else ())
        self._segments[self._key(args)] = kept, first.taken if first else ()
        call.add(kept.segment.segment_id, paused, began, ended)
        return results

    def digest_of(self, alone: Standalone) -> str:
        """Return the digest of the weights, computed once for all sizes: it takes a second per gigabyte."""
        which = tuple(map(id, alone.weights.values()))
        if which not in self.digests:
            self.digests[which] = alone.weights_digest()
        return self.digests[which]

    def _tried(self, action: Callable[[], T]) -> T | None:
        """Do it, and bear whatever goes wrong: the application needs its graph, whether it can be told or not."""
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - a graph of the user's own may raise anything
            self._failure = f"it could not be recorded ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        return None

    def _unknown(self, function: str) -> Segment:
        """Return the record of a segment of which only its code is known."""
        segment_id, place = digest([self.module.code]), self.place
        return Segment(
            segment_id, segment_id, function, place.file, place.line, place.frame, 0, unmeasurable=self._failure
        )


class _FirstRun:
    """What is known of a segment before it runs, and what shows by its run."""

    def __init__(self, graph: RecordedGraph, args: Sequence[Any]) -> None:
        alone = standalone(graph.module, args, graph.weights)
        self._graph = graph
        self._args = args
        self._alone = alone
        self._ambient = ambient()
        self.taken = alone.taken
        self._inputs = tuple(each for place in alone.taken if isinstance(each := args[place], torch.Tensor))
        plain = alone.unmeasurable is None
        self._signature = described(self._inputs) if plain else ()
        self._segment_id = alone.segment_id(self._signature, self._ambient)
        self._digest = graph.digest_of(alone) if plain else ""
        self._unmeasurable = graph.store.write_model(self._segment_id, self._digest, alone)
        # Copies, since the segment may write to its inputs.
        self.batch = copied(tuple(each.detach() for each in self._inputs), "cpu") if self._unmeasurable is None else ()
        self._written_to = (*self._inputs, *alone.weights.values())
        self._versions = [_version(each) for each in self._written_to]
        self._generator = torch.get_rng_state()

    def segment(self, function: str, results: Any) -> Segment:
        """Return the record of the segment."""
        place = self._graph.place
        changed = [_version(each) != before for each, before in zip(self._written_to, self._versions, strict=True)]
        inputs = [replace(each, mutated=is_changed) for each, is_changed in zip(self._signature, changed, strict=False)]
        flat = results if isinstance(results, tuple | list) else (results,)
        reason: Any = getattr(self._graph.module, "compile_subgraph_reason", None)
        broken = bool(reason and reason.graph_break)
        last = reason.user_stack[-1] if broken and reason.user_stack else None
        return Segment(
            segment_id=self._segment_id,
            family_id=self._alone.family_id(place, self._signature, self._ambient),
            function=function,
            file=place.file,
            line=place.line,
            frame=place.frame,
            operations=len(self._alone.operators),
            break_reason=shortened(" ".join(reason.reason.split()), LONGEST_REASON) if broken else None,
            break_file=last.filename if last else None,
            break_line=last.lineno if last else None,
            inputs=tuple(inputs),
            outputs=() if self._unmeasurable else described([flat[i] for i in self._alone.given], self._inputs),
            ambient=self._ambient,
            weights_digest=self._digest,
            weights_bytes=sum(each.nbytes for each in self._alone.weights.values()),
            random=not torch.equal(self._generator, torch.get_rng_state()),
            stateful=any(changed[len(self._inputs) :]),
            written=self._written_as_outputs([index for index, each in enumerate(inputs) if each.mutated]),
            unmeasurable=self._unmeasurable,
        )

    def _written_as_outputs(self, mutated: Sequence[int]) -> tuple[int, ...]:
        """Have the segment's code give what it writes to; return which inputs these are."""
        if self._unmeasurable or not mutated:
            return ()
        places = [self.taken[index] for index in mutated]
        alone = standalone(self._graph.module, self._args, self._graph.weights, places)
        return tuple(mutated) if self._graph.store.write_code(self._segment_id, alone) else ()


def _version(tensor: torch.Tensor) -> Any:
    """Return what changes when a tensor is written to: its version counter, or where it has none its content."""
    return bytes(content_of(tensor)) if tensor.is_inference() else tensor._version  # noqa: SLF001 - it has no public name
