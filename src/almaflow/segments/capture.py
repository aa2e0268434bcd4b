"""Watches PyTorch look for graphs: under which settings it does, how long it takes, and what it gives up on."""

from __future__ import annotations

import dis
import logging
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from torch._dynamo import config, convert_frame  # dynamo's settings and its lock have no public place
from torch._dynamo import utils as dynamo_utils

from almaflow.errors import shortened
from almaflow.records.profile import LostCapture
from almaflow.segments.clock import RUNNING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from almaflow.segments.clock import RunningCall

SETTINGS = {
    "prepare_freezing": False,  # it puts weights into a graph without a guard: another layer would run with them
    "trace_numpy": False,  # NumPy stays Python, which nobody deploys as a graph
    "automatic_dynamic_local_pgo": False,  # what an earlier process saw must not decide
    "accumulated_recompile_limit": 4096,
    "suppress_errors": True,  # what PyTorch cannot trace runs as it is
}
_RESUMED = re.compile(r"torch_dynamo_resume_in_(?P<frame>.+)_at_(?P<line>\d+)$")
_LINE = re.compile(r"line (\d+) in ")
NOTHING_TO_DO = ("because no content in function call", "No ops traced")
"""How dynamo's reasons begin where it skips a frame in which PyTorch has nothing to do."""

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
        dynamic: As ``accelerate`` was given it.
    """

    def __init__(
        self,
        convert: Callable[..., Any],
        recompile_limit: int,
        lose: Callable[[LostCapture], None],
        *,
        dynamic: bool | None,
    ) -> None:
        self._convert = convert
        # Where all is dynamic from the first call on, each float would be an input, such as a dropout's probability.
        own = {"recompile_limit": recompile_limit, "specialize_float": dynamic is True}
        self._settings: dict[str, Any] = own | SETTINGS
        self._lose = lose
        self.codes: set[CodeType] = set()
        # By these names dynamo goes from a callback to its backend.
        self._torchdynamo_orig_backend = self._torchdynamo_orig_callable = convert

    def __call__(self, frame: Any, *args: Any) -> Any:
        """Convert a frame, or have it run as it is."""
        call = RUNNING.get()
        began = time.perf_counter_ns()
        with (
            convert_frame.compile_lock,
            config.patch(self._settings),
            _Listening() as listening,
            converting(frame.f_code),
        ):
            before = _last_record()
            result = self._convert(frame, *args)
            self.codes.add(frame.f_code)
            found = result is not None and result.guarded_code is not None
            record = _last_record()
            lost = None
            if call and not found and record is not before:
                lost = _lost(frame.f_code, record, listening.skipped, call)
        if lost:
            self._lose(lost)
        if call:
            call.hide(time.perf_counter_ns() - began, compiled=found)
        return result


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


def _last_record() -> Any:
    """Return dynamo's newest record of a conversion, of which it makes one for each frame that it tries."""
    records = dynamo_utils.get_compilation_metrics()
    return records[-1] if records else None


def _lost(code: CodeType, record: Any, skipped: str, call: RunningCall) -> LostCapture | None:
    """Return what was lost by a conversion without a result; None for a frame in which PyTorch has nothing to do."""
    reason = " ".join(str(record.fail_reason or "").split()) or skipped
    if not reason or reason.startswith(NOTHING_TO_DO):
        return None
    line = record.fail_user_frame_lineno or next((int(each) for each in _LINE.findall(reason)), None)
    place = Place.of(code)
    file = record.fail_user_frame_filename or place.file
    kind = _kind(f"{record.fail_type} {reason}", code)
    return LostCapture(
        kind=kind,
        function=call.function,
        frame=place.frame,
        file=place.file,
        line=place.line,
        reason=shortened(reason.partition(" Hint:")[0], LONGEST_REASON),
        advice=_advice(kind, place, f"{Path(file).name}:{line}" if line else ""),
        first_call=call.number,
        break_file=file if line else None,
        break_line=line,
    )


def _kind(text: str, code: CodeType) -> str:
    text = text.lower()
    if "recompile limit" in text or "recompilelimit" in text or "cache limit" in text:
        return "limit"
    loops = any(each.opname.startswith(("JUMP_BACKWARD", "FOR_ITER")) for each in dis.get_instructions(code))
    return "loop" if "in loop" in text or "for/while loop" in text or loops else "unsupported"


def _advice(kind: str, place: Place, broken: str) -> str:
    if kind == "limit":
        return f"give accelerate(dynamic=True), or decorate what {place.frame} calls with inputs of fewer kinds"
    if kind == "loop":
        where = f" breaks in {broken}" if broken else " has a break"
        return f"the loop in {place.frame}{where}: move what it repeats into a function, and decorate that"
    return f"decorate what {place.frame} calls that runs the model"


class _Listening:
    """Keeps what dynamo warns of in frames from the terminal, since the report tells it, and notes why it skips one."""

    _logger = logging.getLogger("torch._dynamo.convert_frame")

    def __enter__(self) -> Self:
        self.skipped = ""
        self._level = self._logger.level
        self._logger.setLevel(logging.DEBUG)
        self._logger.addFilter(self._heard)
        # A filter does not hold for the loggers below, of which dynamo has one for each of its modules.
        known = [each for each in [*logging.root.manager.loggerDict.values()] if isinstance(each, logging.Logger)]
        self._others = [each for each in known if each.name.startswith("torch._dynamo.") and each is not self._logger]
        for each in self._others:
            each.addFilter(self._is_untold)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._others:
            each.removeFilter(self._is_untold)
        self._logger.removeFilter(self._heard)
        self._logger.setLevel(self._level)

    @staticmethod
    def _is_untold(record: logging.LogRecord) -> bool:
        return record.levelno != logging.WARNING

    def _heard(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Skipping frame") and isinstance(record.args, tuple) and record.args:
            self.skipped = " ".join(str(record.args[0]).split())
        return record.levelno > logging.WARNING
