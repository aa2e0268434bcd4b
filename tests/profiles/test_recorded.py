from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.made_profiles import write_profile

from almaflow.profiles.recorded import workload_of
from almaflow.profiles.workload import eager_ms
from almaflow.records.profile import Ambient, LostCapture, Timing


def test_calls_keep_their_sequence_and_discarded_ones_their_graphs_only() -> None:
    files = write_profile("ab", "a", "ab", "ab")
    calls = list(files.recorded.calls())
    calls[0], calls[2] = replace(calls[0], compiled=True), replace(calls[2], raised="ValueError")
    found = workload_of(files.profile(), calls)
    (function,) = found.functions
    assert [(call.segments, call.python_ms) for call in function.calls] == [
        (("a", "b"), None),
        (("a",), 5.0),
        (("a", "b"), 5.0),
    ]
    assert {name: piece.calls for name, piece in found.pieces.items()} == {"a": 3, "b": 2}
    assert function.variants == 2
    assert eager_ms(function) == pytest.approx(6.5)
    assert found.processor == "a processor"


def test_python_is_told_by_its_place() -> None:
    files = write_profile(*["ab"] * 6)
    profile = files.profile()
    first = replace(profile.segments[0], break_reason="Tensor.item()", break_file="/home/x/app.py", break_line=17)
    found = workload_of(replace(profile, segments=(first, *profile.segments[1:])), files.recorded.calls())
    slots = {slot.where: slot for slot in found.functions[0].python}
    assert {*slots} == {"before the first graph", "after app.py:17 (Tensor.item())", "after the graph of app.py:11"}
    assert slots["before the first graph"].ms == pytest.approx(5 / 3)
    assert slots["before the first graph"].interval is not None
    assert sum(slot.per_call_ms for slot in slots.values()) == pytest.approx(5.0)


def test_settings_that_workers_do_not_have_keep_a_segment_from_being_measured() -> None:
    files = write_profile("abc")
    profile = files.profile()
    settings = Ambient(default_dtype="float64"), Ambient(grad=True, inference=True, autocast={"cpu": "bfloat16"})
    segments = [replace(each, ambient=ambient) for each, ambient in zip(profile.segments, settings, strict=False)]
    found = workload_of(replace(profile, segments=(*segments, profile.segments[2])), files.recorded.calls()).pieces
    assert found["a"].unmeasurable == "it ran under default_dtype=float64, which workers do not set"
    assert [found[name].unmeasurable for name in "bc"] == [None, None]
    assert found["b"].autocast == {"cpu": "bfloat16"}


def test_where_every_call_compiled_a_graph_counts_as_it_ran_then() -> None:
    files = write_profile("a", "a", "a", times_ms={"a": 7.0})
    profile = files.profile()
    segments = (replace(profile.segments[0], eager=None),)
    found = workload_of(replace(profile, segments=segments), files.recorded.calls())
    assert found.pieces["a"].eager_ms == 7.0
    known = (replace(profile.segments[0], eager=Timing(3, 2.0)),)
    assert workload_of(replace(profile, segments=known), files.recorded.calls()).pieces["a"].eager_ms == 2.0


def test_what_was_lost_is_told_with_its_place_and_advice() -> None:
    files = write_profile("a")
    lost = LostCapture("loop", "predict", "step", "/home/x/app.py", 12, "a break in a loop", "move it", 3)
    found = workload_of(replace(files.profile(), lost=(lost,)), files.recorded.calls())
    assert found.lost == ("app.py:12 step, from call 3 on: a break in a loop; move it",)


def test_the_applications_threads_are_known_where_they_were_recorded() -> None:
    files = write_profile("a")
    assert files.workload().threads is None
    files.recorded.write(replace(files.profile(), threads=3))
    assert files.workload().threads == 3
