"""Watches PyTorch look for graphs: under which settings it does, how long it takes, and what it gives up on."""

from __future__ import annotations

import dis
import logging
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo import config, convert_frame  # dynamo's settings and its lock have no public place
from torch._dynamo import utils as dynamo_utils

from almaflow.records.profile import LostCapture
from almaflow.segments.clock import RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

SETTINGS = {
    "prepare_freezing": True,  # weights are part of a graph and no inputs
    "specialize_float": True,  # floats are constants: as inputs they make graphs that cannot be exported
    "trace_numpy": False,  # NumPy stays Python, which nobody deploys as a graph
    "automatic_dynamic_local_pgo": False,  # what an earlier process saw must not decide
    "accumulated_recompile_limit": 4096,
    "suppress_errors": True,  # what PyTorch cannot trace runs as it is
}
_RESUMED = re.compile(r"torch_dynamo_resume_in_(?P<frame>.+)_at_(?P<line>\d+)$")
LONGEST_REASON = 200


@dataclass(frozen=True)
class Place:
    """Where a frame begins in the source; a frame that goes on after a break begins there."""

    file: str
    line: int
    frame: str

    @classmethod
    def of(cls, code: CodeType) -> Place:
        """Return the place of a code object, also of one that PyTorch made of the rest of a function."""
        resumed = _RESUMED.match(code.co_name)
        if resumed:
            return cls(code.co_filename, int(resumed["line"]), resumed["frame"])
        return cls(code.co_filename, code.co_firstlineno, code.co_name)


class Watch:
    """Stands before dynamo's conversion of frames for one session.

    The settings hold only while a frame of the session is converted, in its thread: what else the application compiles
    is compiled as ever.

    Args:
        convert: Dynamo's own callback.
        recompile_limit: How many graphs a frame may have.
        lose: Gets what PyTorch gave up on.
    """

    def __init__(
        self, convert: Callable[..., Any], recompile_limit: int, lose: Callable[[LostCapture], None]
    ) -> None:
        self._convert = convert
        self._settings = {"recompile_limit": recompile_limit, **SETTINGS}
        self._lose = lose
        self.codes: set[CodeType] = set()

    def as_callback(self) -> Callable[..., Any]:
        """Return it as a function: dynamo takes no other object for a callback."""

        def convert(frame: Any, *args: Any) -> Any:
            return self(frame, *args)

        for name in ("_torchdynamo_orig_backend", "_clone_with_backend"):  # what dynamo looks for in its callback
            if hasattr(self._convert, name):
                setattr(convert, name, getattr(self._convert, name))
        return convert

    def __call__(self, frame: Any, *args: Any) -> Any:
        """Convert a frame, or have it run as it is."""
        call = RUNNING.get()
        began = time.perf_counter_ns()
        with convert_frame.compile_lock, config.patch(**self._settings), _silent(), converting(frame.f_code):
            before = _trouble()
            result = self._convert(frame, *args)
            after = _trouble()
        self.codes.add(frame.f_code)
        found = result is not None and result.guarded_code is not None
        if call:
            if not found and after != before:
                self._report(frame.f_code, call.number, call.function)
            call.hide(time.perf_counter_ns() - began, compiled=found)
        return result

    def _report(self, code: CodeType, number: int, function: str) -> None:
        """Tell what was lost, where anything was: a frame without an operation of PyTorch has nothing to lose."""
        metrics = dynamo_utils.get_compilation_metrics()
        last = metrics[-1] if metrics else None
        if last is None or (last.co_filename, last.co_firstlineno) != (code.co_filename, code.co_firstlineno):
            return
        reason = " ".join(str(last.fail_reason or "").split()) or ", ".join(sorted(last.restart_reasons or ()))
        place = Place.of(code)
        kind = _kind(f"{last.fail_type} {reason}", code)
        if kind != "limit" and not (last.fail_type or last.graph_op_count or reason):
            return
        self._lose(
            LostCapture(
                kind=kind,
                function=function,
                frame=place.frame,
                file=place.file,
                line=place.line,
                reason=reason[:LONGEST_REASON],
                advice=_advice(kind, place, last.fail_user_frame_lineno),
                first_call=number,
                break_file=last.fail_user_frame_filename,
                break_line=last.fail_user_frame_lineno,
            )
        )


class _Converting(threading.local):
    code: CodeType | None = None


_CONVERTING = _Converting()


class converting:  # noqa: N801 - used as a context
    """Says which frame this thread converts, for the backend that gets its graph."""

    def __init__(self, code: CodeType) -> None:
        self._code = code

    def __enter__(self) -> None:
        self._before, _CONVERTING.code = _CONVERTING.code, self._code

    def __exit__(self, *_: object) -> None:
        _CONVERTING.code = self._before


def converted_place() -> Place:
    """Return the place of the frame that this thread converts."""
    code = _CONVERTING.code
    return Place.of(code) if code else Place("", 0, "")


def _trouble() -> tuple[int, int]:
    """Return what changes when dynamo has tried a frame: its last record, and its count of what it does not support."""
    metrics = dynamo_utils.get_compilation_metrics()
    return id(metrics[-1]) if metrics else 0, sum(dynamo_utils.counters["unimplemented"].values())


def _kind(text: str, code: CodeType) -> str:
    text = text.lower()
    if "recompile limit" in text or "recompilelimit" in text or "cache limit" in text:
        return "limit"
    loops = any(each.opname.startswith(("JUMP_BACKWARD", "FOR_ITER")) for each in dis.get_instructions(code))
    return "loop" if "in loop" in text or "for/while loop" in text or loops else "unsupported"


def _advice(kind: str, place: Place, line: int | None) -> str:
    if kind == "limit":
        return f"give accelerate(dynamic=True), or decorate what {place.frame} calls with inputs of fewer kinds"
    if kind == "loop":
        where = f" (line {line})" if line else ""
        return f"move what the loop in {place.frame} repeats{where} into a function of its own, and decorate that"
    return f"decorate what {place.frame} calls that runs the model"


class _silent:  # noqa: N801 - used as a context
    """Keeps dynamo's warnings about what it gives up on from the terminal: the profile tells them."""

    _logger = logging.getLogger("torch._dynamo.convert_frame")

    def __enter__(self) -> None:
        self._logger.addFilter(_refuse)

    def __exit__(self, *_: object) -> None:
        self._logger.removeFilter(_refuse)


def _refuse(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING
