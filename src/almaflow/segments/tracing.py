"""What a session has to do with dynamo: its own cache of graphs, its backend, and the end of both."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch._C._dynamo.eval_frame import reset_code  # dynamo has no public names for any of these
from torch._dynamo import eval_frame

from almaflow.errors import UsageError
from almaflow.segments.accelerate import Accelerated, accelerate
from almaflow.segments.capture import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.fx import GraphModule

    from almaflow.records.profile import LostCapture

ISOLATED = hasattr(eval_frame, "_get_total_cache_entry_count")
"""Whether this PyTorch keeps the graphs of one ``torch.compile`` apart from those of others."""


class GraphBackend(Protocol):
    """What runs the graphs of a session in dynamo's place."""

    closed: bool
    """Whether the session has ended, so that nothing is recorded any more."""

    def __call__(self, module: GraphModule, example_inputs: Sequence[object]) -> Callable[..., Any]:
        """Return what runs in place of a graph."""


class Tracing:
    """The graphs of one session.

    Args:
        backend: Runs them.
        recompile_limit: How many graphs a frame may have.
        note: Gets a line for people.
        lose: Gets what PyTorch gave up on.

    Raises:
        UsageError: PyTorch looks for no graphs.
    """

    def __init__(
        self,
        backend: GraphBackend,
        recompile_limit: int,
        note: Callable[[str], None],
        lose: Callable[[LostCapture], None],
    ) -> None:
        self._backend = backend
        self._limit = recompile_limit
        self._lose = lose
        self._note = note
        self._watches: list[Watch] = []
        self._lock = threading.Lock()
        self._traced: dict[Accelerated, Callable[..., Any]] = {}
        if isinstance(torch._dynamo.optimize("eager"), eval_frame._NullDecorator):  # noqa: SLF001
            message = "TORCHDYNAMO_DISABLE is set, so PyTorch looks for no graphs: unset it to record"
            raise UsageError(message)
        # All marked functions share this code, which is no part of the application.
        eval_frame.skip_code(accelerate(lambda: None).__code__)

    def traced(self, function: Accelerated) -> Callable[..., Any]:
        """Return the function with graphs in it."""
        # One context for all threads: dynamo would look for graphs once for each, and keep those of all.
        with self._lock:
            if function not in self._traced:
                more = {"isolate_recompiles": True} if ISOLATED else {}
                context: Any = torch._dynamo.optimize(self._backend, dynamic=function.dynamic, **more)  # noqa: SLF001
                watch = context.callback = Watch(context.callback, self._limit, self._lose, dynamic=function.dynamic)
                self._watches.append(watch)
                if function.traced is not function.run:
                    self._note(f"{function.name}: torch.compile around it is left out while its calls are recorded")
                self._traced[function] = context(function.traced)
            return self._traced[function]

    @staticmethod
    def gradients(*, off: bool) -> contextlib.AbstractContextManager[Any]:
        """Return the context that a call runs in."""
        return torch.no_grad() if off else contextlib.nullcontext()

    def close(self, *, idle: bool) -> None:
        """End recording, and where no call runs any more, free what dynamo kept of it.

        Where graphs of the application's own ``torch.compile`` hang on the same code, PyTorch can only drop all or
        none: they stay, unless it cannot tell them apart from the session's.
        """
        self._backend.closed = True
        if not idle:
            return
        for watch in self._watches:
            for code in watch.codes:
                if not ISOLATED or self._only_ours(code):
                    reset_code(code)

    def _only_ours(self, code: Any) -> bool:
        # The region that graphs are put in is one variable of the process. Where threads look for graphs at once, some
        # end up among those without an ID, or in the region of another torch.compile, an earlier session's too.
        ids = range(-1, next(eval_frame._next_isolate_recompiles_id))  # noqa: SLF001
        entries = [entry for each in ids for entry in eval_frame._get_cache_entries_for_region(code, each)]  # noqa: SLF001
        ours = sum(entry.backend is self._backend for entry in entries)
        return bool(ours == eval_frame._get_total_cache_entry_count(code))  # noqa: SLF001
