from __future__ import annotations

import pytest
import torch

from almaflow.segments.agreement import NOTHING, Answer, agreement


def judged(references: list[object], answers: list[object], *types: str) -> str | None:
    return agreement(list(map(Answer.of, references)), list(map(Answer.of, answers)), types).reason


def test_tensors_numbers_and_texts_agree_at_any_depth() -> None:
    outputs: list[object] = [
        {"scores": torch.arange(8.0) + shift, "label": ["yes", None], "count": 3} for shift in range(3)
    ]
    found = agreement(list(map(Answer.of, outputs)), list(map(Answer.of, outputs)), [])
    assert found.reason is None
    assert found.fidelity is not None
    assert (found.fidelity.sqnr_db, found.equal_share) == (200.0, 1.0)


def test_a_text_that_differs_is_told_with_the_share() -> None:
    reason = judged(["yes", "no", "yes"], ["yes", "no", "no"])
    assert reason == "66.7% of the texts are equal, at least 99% expected"
    assert judged(["yes", "no", "yes"], ["yes", "no", "no"], "int4") is None  # half of them may differ there


def test_a_text_where_there_was_none_is_told() -> None:
    assert judged([["a", "b"]], [["a"]]) is not None
    assert judged([None], ["a"]) is not None


def test_a_tensor_that_is_wrong_is_told() -> None:
    draws = torch.Generator().manual_seed(0)
    right: list[object] = [torch.randn(4, 8, generator=draws) for _ in range(3)]
    wrong: list[object] = [torch.randn(4, 8, generator=draws) for _ in range(3)]
    assert judged(right, right) is None
    assert "SQNR" in str(judged(right, wrong))


def test_an_answer_is_a_copy() -> None:
    memory = torch.ones(4)
    kept = Answer.of(memory)
    memory.zero_()
    assert kept.figures[0][2].tolist() == [1.0] * 4


@pytest.mark.parametrize("output", [object(), []])
def test_what_cannot_be_compared_is_told(output: object) -> None:
    assert judged([output], [output]) == NOTHING


def test_another_key_or_a_number_that_is_not_there_is_told() -> None:
    right: list[object] = [{"cat": 0.9, "rows": 3}]
    assert judged(right, [{"cat": 0.9, "rows": 3}]) is None
    assert judged(right, [{"dog": 0.9, "rows": 3}]) == "50% of the keys are equal, at least 99% expected"
    whole: list[object] = [{"scores": torch.arange(8.0), "total": 28.0}]
    assert judged(whole, [{"scores": torch.arange(8.0)}]) is not None
    assert judged([torch.arange(8.0), 28.0], [torch.arange(8.0)] * 2) is not None
