from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.made_profiles import figure, results, workload

from almaflow.errors import UsageError
from almaflow.profiles.verify import best_mix
from almaflow.records.profile import Segment


def segment(name: str, *, random: bool = False, stateful: bool = False) -> Segment:
    return Segment(name, name, "predict", "app.py", 1, "predict", operations=1, random=random, stateful=stateful)


def test_a_mix_is_of_one_machine_with_the_threads_it_measured_with() -> None:
    there = [figure("a", "EAGER", 9.0, hardware="there"), figure("a", "JIT_TRACE", 0.5, hardware="there")]
    here = [figure("a", "EAGER", 4.0), figure("a", "ONNX_CPU", 1.0)]
    known = replace(results(*there, *here), threads={"there": 8, "here": 1})
    mix = best_mix({"a": segment("a")}, workload("a", "a"), known)
    assert {name: each.name for name, each in mix.planned.items()} == {"a": "ONNX_CPU"}
    assert (mix.best["a"].ms, mix.eager["a"].ms, mix.threads) == (1.0, 4.0, 1)


@pytest.mark.parametrize(("odd", "why"), [("random", "it draws at random"), ("stateful", "it writes to its weights")])
def test_what_cannot_be_told_from_a_wrong_answer_runs_eagerly(odd: str, why: str) -> None:
    known = results(figure("a", "EAGER", 4.0), figure("a", "ONNX_CPU", 1.0))
    mix = best_mix({"a": segment("a", **{odd: True})}, workload("a", "a"), known)
    assert (mix.planned, mix.notes) == ({}, (f"segment a runs eagerly: {why}",))


def test_nothing_measured_has_no_mix() -> None:
    with pytest.raises(UsageError, match="nothing was measured here yet: almaflow profile measure made local/ONNX_CPU"):
        best_mix({}, workload("a"), results())


def test_threads_are_those_of_the_jobs_and_then_the_applications_again() -> None:
    import torch

    from almaflow.segments.repeat import own_threads

    before = torch.get_num_threads()
    with own_threads(before + 1) as told:
        assert torch.get_num_threads() == before + 1
        assert told == [f"run with {before + 1} threads, as the segments were measured; the application has {before}"]
    assert torch.get_num_threads() == before
    for unchanged in (None, before):
        with own_threads(unchanged) as told:
            assert (told, torch.get_num_threads()) == ([], before)
