"""A profiling session: while it is open, calls of marked functions are recorded."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Self, TextIO

from almaflow import machine
from almaflow.errors import AlmaflowError, UsageError
from almaflow.records.clock import now
from almaflow.records.json_files import to_line
from almaflow.records.profile import Profile
from almaflow.segments.accelerate import ACTIVE
from almaflow.segments.calls import Arguments, CallLog
from almaflow.segments.clock import RUNNING
from almaflow.segments.files import ProfileFiles, append_line
from almaflow.segments.settings import check_counts, check_inputs
from almaflow.segments.summary import variants_of, with_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from almaflow.records.profile import Backend, LostCapture
    from almaflow.segments.accelerate import Accelerated


class ProfilingSession:
    """Records the calls of marked functions from its beginning to its end, in whatever thread they run.

    Args:
        backends: What segments are measured with, when the session has ended.
        notes: Lines for people that are known already.
        home: Almaflow's home; None: the usual one.
        fidelity_inputs: How many different inputs of each segment are kept.
        inputs: What is written of them: ``real``, ``permuted`` elements, or ``zeros``.
        no_grad: Whether calls run without gradients.
        recompile_limit: How many graphs PyTorch may make of one function before it gives up on it.
        print_to: Where lines for people are printed; None: nowhere.
        measure: Called with the profile's directory and the backends when the session ends well.

    Attributes:
        profile: What was recorded, once the session has ended.
        result: What ``measure`` returned.
        calls: The calls that it has recorded.
        no_grad: Whether calls run without gradients.
        recompile_limit: How many graphs PyTorch may make of one function.
    """

    def __init__(  # noqa: PLR0913 - the settings of a session
        self,
        backends: tuple[Backend, ...],
        *,
        notes: tuple[str, ...] = (),
        home: Path | None = None,
        fidelity_inputs: int = 4,
        inputs: str = "real",
        no_grad: bool = True,
        recompile_limit: int = 64,
        print_to: TextIO | None = None,
        measure: Callable[[Path, tuple[Backend, ...]], Any] | None = None,
    ) -> None:
        check_inputs(inputs)
        check_counts(fidelity_inputs=fidelity_inputs, recompile_limit=recompile_limit)
        self.backends = backends
        self.profile_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        self.files = ProfileFiles.of(self.profile_id, home)
        self.profile: Profile | None = None
        self.result: Any = None
        self._print_to = print_to
        self._measure = measure
        self._notes: dict[str, None] = {}
        self._settings = (fidelity_inputs, inputs)
        self.no_grad = no_grad
        self.recompile_limit = recompile_limit
        self._process = os.getpid()
        self._lock = threading.Lock()
        self.calls = CallLog(lambda call: self._written(lambda: append_line(self.files.calls_path, to_line(call))))
        self._lost: dict[tuple[str, int, str], LostCapture] = {}
        for line in notes:
            self.note(line)

    def __enter__(self) -> Self:
        """Begin to record.

        Raises:
            UsageError: another session is open in this process.
            AlmaflowError: the profile's directory cannot be made.
        """
        if ACTIVE.session is not None:
            message = f"a profiling session is open already ({ACTIVE.session.profile_id}): one at a time"
            raise UsageError(message)
        from almaflow.segments.recorder import Recorder
        from almaflow.segments.store import SegmentStore
        from almaflow.segments.tracing import Tracing

        try:
            self.files.create()
        except OSError as error:
            message = f"{self.files.root}: cannot be made ({error.strerror}); give another home"
            raise AlmaflowError(message) from error
        self._store = SegmentStore(self.files, *self._settings, self.note)
        self._tracing = Tracing(Recorder(self._store), self.recompile_limit, self.note, self._lose)
        self._started_at = now()
        ACTIVE.session = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the recording, keep it, and measure the segments unless the application raised."""
        ACTIVE.session = None
        running = self.calls.close()
        if running:
            self.note(f"calls that still ran at the session's end are left out ({running}): wait for their threads")
        self._tracing.close(idle=not running)
        if isinstance(error, SystemExit) and error.code in {None, 0}:
            error = None  # the application is done, and says so
        raised = None if error is None else " ".join(f"{type(error).__name__}: {error}".split())[:300]
        self.profile = self._record(raised)
        profile = self.profile
        self._written(lambda: self.files.write(profile))
        if error is None and self._measure and profile.segments:
            self.result = self._measure(self.files.root, self.backends)
        elif error is not None:
            self._say(f"recorded until {type(error).__name__}: almaflow profile measure {self.profile_id}")

    @property
    def is_here(self) -> bool:
        """Whether this process opened it, and not one that this process was forked from."""
        return os.getpid() == self._process

    def call(self, function: Accelerated, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run a marked function, and record the call."""
        traced = self._tracing.traced(function)
        running = self.calls.begin(function)
        token = RUNNING.set(running)
        raised = None
        try:
            with self._tracing.gradients(off=self.no_grad):
                return running.timed(traced, args, kwargs)
        except BaseException as error:
            raised = type(error).__name__
            raise
        finally:
            RUNNING.reset(token)
            self.calls.end(running, raised, function, Arguments(args, kwargs))

    def note(self, line: str) -> None:
        """Keep a line for people, and print it the first time."""
        if line not in self._notes:
            self._notes[line] = None
            self._say(line)

    def _say(self, line: str) -> None:
        if self._print_to is not None:
            with contextlib.suppress(OSError, ValueError):  # a stream that somebody closed ends no application
                print(line, file=self._print_to)
        else:
            logging.getLogger("almaflow").info(line)

    def _lose(self, lost: LostCapture) -> None:
        key = (lost.file, lost.line, lost.kind)
        with self._lock:
            if key not in self._lost:
                self._lost[key] = lost
                self._written(lambda: append_line(self.files.lost_path, to_line(lost)))

    def _written(self, write: Callable[[], object]) -> None:
        """Write, or bear that the disk is full: the application goes on."""
        try:
            write()
        except OSError as error:
            self.note(f"{self.files.root}: {error.strerror or error}: what is recorded from here on is not kept")

    def _record(self, error: str | None) -> Profile:
        import torch  # the application's own

        calls, functions = self.calls.ended(), self.calls.functions()
        segments = with_calls(self._store.segments(), calls)
        if not functions:
            self.note("no marked function was called: put @almaflow.accelerate above one that the application calls")
        for each in functions:
            if each.calls and each.calls == len(each.uncaptured):
                self.note(f"{each.name}: no graph in any of its calls; decorate the function that runs the model")
        return Profile(
            profile_id=self.profile_id,
            started_at=self._started_at,
            ended_at=now(),
            backends=self.backends,
            functions=functions,
            segments=segments,
            variants=variants_of(calls, {each.segment_id: each.family_id for each in segments}),
            lost=tuple(self._lost.values()),
            notes=tuple(self._notes),
            inputs=self._settings[1],
            error=error,
            processor=machine.describe().cpu,
            threads=torch.get_num_threads(),
            versions=machine.environment(git=False),
        )
