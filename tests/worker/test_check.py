"""What a converted model is given, and how its answers and its evidence are checked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support import misbehaving_workers
from tests.support.example_jobs import planned
from tests.support.minimal_task import Conversion, make_task

from almaflow.worker.failures import FellBackError, WrongOutputError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds


def test_inputs_are_cast_and_copied_inside_the_call_only_where_asked(tmp_path: Path) -> None:
    import torch

    from almaflow.worker.inputs import Inputs

    host: list[tuple[torch.Tensor, ...]] = [
        (torch.ones(2, 6), torch.ones(2, dtype=torch.int64)),
        (torch.zeros(2, 6), torch.zeros(2, dtype=torch.int64)),
    ]
    half = replace(planned("FP16+EAGER", dtype="float16"), input_dtype="float16")
    inputs = Inputs(host, half, make_task(tmp_path))
    assert [tensor.dtype for tensor in inputs.get(0)] == [torch.float16, torch.int64]
    assert inputs.get(0) is inputs.get(2)  # round and round
    assert torch.equal(inputs.get(3)[1], host[1][1])
    copied = Inputs(host, half, make_task(tmp_path, include_transfer=True))
    assert copied.get(0) is not copied.get(0)
    assert all(torch.equal(a, b) for a, b in zip(copied.get(1), inputs.get(1), strict=True))


@pytest.mark.parametrize(
    ("answer", "evidence", "error", "message"),
    [
        (None, {}, WrongOutputError, "NoneType without a tensor"),
        ("text", {}, WrongOutputError, "str without a tensor"),
        ("negated", {}, WrongOutputError, "SQNR"),
        ("right", {"fell_back": "inductor ran it"}, FellBackError, "inductor ran it"),
        ("right", {"device": "cuda"}, FellBackError, "ran on cuda, not on cpu"),
        ("right", {"runtime": {"provider": "P"}, "recompiles": 2}, None, ""),
    ],
)
def test_the_check_gives_what_it_found_and_what_is_wrong_with_it(
    tmp_path: Path, answer: str | None, evidence: dict[str, Any], error: type[Exception] | None, message: str
) -> None:
    import torch

    from almaflow.worker.check import Checker, Reference
    from almaflow.worker.inputs import Inputs

    batches: list[tuple[torch.Tensor, ...]] = [(torch.randn(2, 6),), (torch.randn(2, 6),)]
    references = [[torch.randn(2, 3)], [torch.randn(2, 3)]]
    answers: list[object] = [answer, answer]
    if answer in ("right", "negated"):
        answers = [reference[0] if answer == "right" else -reference[0] for reference in references]
    before = misbehaving_workers.measurement((1.0,), None)
    conversion: Any = Conversion(answers, **evidence)
    task = make_task(tmp_path)
    reference = Reference(batches, [[("", False, tensor) for tensor in call] for call in references])
    checker = Checker(reference, Inputs(batches, planned(), task), planned(), task)
    found, fault = checker.check(conversion, before)
    if error is None:
        assert fault is None
    else:
        assert isinstance(fault, error)
        assert message in str(fault)
    if "without" in message:
        assert found == before
        return
    assert found.samples_ms == (1.0,)
    assert found.fidelity is not None
    assert found.fidelity.ok == (answer == "right")
    assert found.device_actual == evidence.get("device", "cpu")
    assert found.runtime == evidence.get("runtime", {})
    assert found.recompiles == evidence.get("recompiles")


def test_a_buffer_that_the_runtime_uses_again_does_not_spoil_the_earlier_answer(tmp_path: Path) -> None:
    import torch

    from almaflow.worker.check import Checker, Reference
    from almaflow.worker.inputs import Inputs

    batches: list[tuple[torch.Tensor, ...]] = [(torch.randn(2, 3),), (torch.randn(2, 3),)]
    task, buffer = make_task(tmp_path), torch.zeros(2, 3)
    reference = Reference(batches, [[("", False, x.clone())] for (x,) in batches])
    checker = Checker(reference, Inputs(batches, planned(), task), planned(), task)
    assert checker.fidelity(lambda batch: buffer.copy_(batch[0])).max_abs_diff == 0


def test_outputs_in_a_dataclass_are_copied_before_the_next_call(tmp_path: Path) -> None:
    import dataclasses

    import torch

    from almaflow.worker.check import Checker, Reference
    from almaflow.worker.inputs import Inputs

    @dataclasses.dataclass
    class Out:
        y: torch.Tensor

    batches: list[tuple[torch.Tensor, ...]] = [(torch.randn(2, 3),), (torch.randn(2, 3),)]
    task, buffer = make_task(tmp_path), torch.zeros(2, 3)
    reference = Reference(batches, [[("y", False, x.clone())] for (x,) in batches])
    checker = Checker(reference, Inputs(batches, planned(), task), planned(), task)
    assert checker.fidelity(lambda batch: Out(buffer.copy_(batch[0]))).max_abs_diff == 0


def test_answers_of_another_number_of_tensors_for_each_input_are_compared_call_by_call(tmp_path: Path) -> None:
    import torch

    from almaflow.models.examine import examine
    from almaflow.worker.check import Checker, Reference
    from almaflow.worker.inputs import Inputs

    class Rows(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [row for row in x if row.sum() > 0]

    batches: list[tuple[torch.Tensor, ...]] = [(torch.tensor([[1.0], [2.0], [-1.0]]),), (-torch.ones(3, 1),)]
    found = examine(Rows().eval(), batches, ["x"], 0)
    assert list(map(len, found.outputs)) == [2, 0]
    task = make_task(tmp_path)
    checker = Checker(Reference(batches, found.outputs), Inputs(batches, planned(), task), planned(), task)
    assert checker.fidelity(lambda batch: Rows()(*batch)).ok
    assert not checker.fidelity(lambda batch: Rows()(-batch[0])).ok
