"""Recorded sessions made up for tests: no graph is captured, and nothing is measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from almaflow import machine
from almaflow.profiles.files import MeasuredFiles
from almaflow.profiles.workload import CallCut, FunctionCalls, Piece, Workload
from almaflow.records import FailureKind, Status
from almaflow.records.json_files import to_line
from almaflow.records.profile import Call, Profile, ProfiledFunction, Segment, SegmentTensor, Timing, Variant
from almaflow.records.profile_results import ProfileResults, SegmentFigure, Verification
from almaflow.segments.files import ProfileFiles

if TYPE_CHECKING:
    from collections.abc import Sequence


def figure(segment: str, conversion: str, ms: float | None, *, hardware: str = "here") -> SegmentFigure:
    """What was measured of a segment; without a time it has failed."""
    if ms is None:
        return SegmentFigure(
            segment, hardware, conversion, Status.FAILED, failure=FailureKind.ERROR, message="it raised"
        )
    return SegmentFigure(segment, hardware, conversion, Status.OK, ms, 0.9 * ms, 1.1 * ms, 100.0)


def workload(
    *sequences: Sequence[str],
    sizes: dict[str, float] | None = None,
    python_ms: float | None = 5.0,
    eager_ms: dict[str, float] | None = None,
) -> Workload:
    """A function whose calls ran these segments, each of 1 ms unless told; the family is the first letter."""
    sizes, eager_ms = sizes or {}, eager_ms or {}
    calls = tuple(CallCut(tuple(each), python_ms, sum(eager_ms.get(name, 1.0) for name in each)) for each in sequences)
    function = FunctionCalls("predict", calls)
    pieces = {
        name: Piece(
            name, name[0], count, eager_ms.get(name, 1.0), sizes.get(name, 1.0), f"app.py:{len(name)}", "3 operations"
        )
        for name, count in function.counts.items()
    }
    return Workload("made", pieces, (function,))


def results(*figures: SegmentFigure, price: float | None = None) -> ProfileResults:
    return ProfileResults("made", figures, prices={"here": price})


def verification(**changes: Any) -> Verification:
    """Two calls of ``predict`` that were run with segment ``a`` in ONNX_CPU: 6 ms predicted, 8 ms measured."""
    made = Verification(
        "predict", {"a": "ONNX_CPU"}, 2, 15, 8.0, 7.5, 8.5, 9.0, 6.0, 5.5, 5.0, ok=True, fidelity_db=118.0
    )
    return replace(made, **changes)


def write_profile(
    *sequences: Sequence[str], times_ms: dict[str, float] | None = None, name: str = "made"
) -> MeasuredFiles:
    """Write a session to almaflow's home: calls of ``predict`` with these segments, and 5 ms of Python each."""
    times_ms = times_ms or {}
    files = ProfileFiles(machine.home() / "profiles" / name)
    files.create()
    names = sorted({segment for each in sequences for segment in each})
    segments = tuple(
        Segment(
            each,
            each[0],
            "predict",
            "app.py",
            10 + number,
            "predict",
            operations=3,
            inputs=(SegmentTensor((2, 3), "float32", (3, 1)),),
            outputs=(SegmentTensor((2, 3), "float32", (3, 1)),),
            calls=sum(sequence.count(each) for sequence in map(list, sequences)),
            eager=Timing(9, times_ms.get(each, 1.0)),
        )
        for number, each in enumerate(names)
    )
    calls = [
        Call(
            number,
            "predict",
            "MainThread",
            tuple(each),
            tuple(5.0 / (len(each) + 1) for _ in range(len(each) + 1)),
            tuple(times_ms.get(segment, 1.0) for segment in each),
        )
        for number, each in enumerate(sequences)
    ]
    variants = dict.fromkeys(tuple(segment[0] for segment in each) for each in sequences)
    files.calls_path.write_text("".join(map(to_line, calls)), encoding="utf-8")
    files.write(
        Profile(
            name,
            started_at=1.0,
            ended_at=2.0,
            functions=(ProfiledFunction("predict", "app.py", 9, len(calls)),),
            segments=segments,
            variants=tuple(Variant("predict", each, (), 1 / len(variants)) for each in variants),
            processor="a processor",
        )
    )
    return MeasuredFiles(files)
