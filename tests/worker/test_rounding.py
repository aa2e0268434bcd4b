"""Half precision is held against what the same rounding costs eager: neither hidden errors nor false alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from tests.support.minimal_task import make_task
from tests.worker.test_fidelity_parts import BREAKS

from almaflow.conversions.catalogue.plan import plan
from almaflow.worker.check import Checker, Reference
from almaflow.worker.inputs import Inputs
from almaflow.worker.rounding import eased, fault_of_cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

pytestmark = pytest.mark.slow  # importing torch takes seconds

ROWS, WIDE, CLASSES = 8, 64, 32


class Line(torch.nn.Module):
    """A linear layer on top of an offset: the larger it is, the more rounding costs."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head, self.offset = torch.nn.Linear(WIDE, WIDE), torch.nn.Linear(WIDE, CLASSES), offset

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(x)) + self.offset
        return y - self.offset


def checker_of(offset: float, tmp_path: Path, name: str = "BF16+EAGER") -> tuple[Checker, list[tuple[Tensor, ...]]]:
    generator = torch.Generator().manual_seed(0)
    batches: list[tuple[Tensor, ...]] = [(torch.randn(ROWS, WIDE, generator=generator),) for _ in range(2)]
    (planned,) = plan([name], 1, "cpu", allow_device_override=True)
    task = make_task(tmp_path)
    with torch.no_grad():
        reference = Reference(batches, [[("", False, Line(offset)(*batch))] for batch in batches])
    return Checker(reference, Inputs(batches, planned, task), planned, task, lambda: Line(offset)), batches


def noisy(checker: Checker, decibels: float) -> Callable[[tuple[Tensor, ...]], Tensor]:
    """A call that answers as eager does, with noise of this strength, the same for the same batch."""
    answers = [call[0][2] for call in checker.reference.outputs]
    scale = torch.cat(answers).square().mean().sqrt() * 10 ** (-decibels / 20)

    def call(batch: tuple[Tensor, ...]) -> Tensor:
        index = next(i for i in range(len(answers)) if torch.equal(checker.inputs.get(i)[0], batch[0]))
        generator = torch.Generator().manual_seed(index)
        return answers[index] + scale * torch.randn(answers[index].shape, generator=generator)

    return call


def db(found: object) -> float:
    return float(getattr(found, "sqnr_db"))  # noqa: B009 - of a record


@pytest.mark.parametrize(("decibels", "is_eased"), [(13.5, True), (9.0, False)])
def test_a_model_that_rounding_costs_much_is_asked_for_less(decibels: float, is_eased: bool, tmp_path: Path) -> None:
    checker, _ = checker_of(20.0, tmp_path)
    call = noisy(checker, decibels)
    with torch.no_grad():
        found = checker.fidelity(call)
        again = eased(checker, call, found)
    assert not found.ok
    assert again.ok == is_eased
    if is_eased:
        assert again.tolerance_db < found.tolerance_db == 15
        assert "rounding costs this model much" in again.notes[-1]
        assert fault_of_cast(checker, call, again) is None
    else:
        assert again is found


def test_a_model_that_rounding_costs_little_is_asked_for_all(tmp_path: Path) -> None:
    checker, _ = checker_of(0.0, tmp_path)
    call = noisy(checker, 13.5)
    with torch.no_grad():
        found = checker.fidelity(call)
        assert not found.ok
        assert eased(checker, call, found) is found
        assert eased(checker_of(0.0, tmp_path, "EAGER")[0], call, found) is found


def test_what_eager_cannot_compute_in_that_type_is_judged_by_the_type(tmp_path: Path) -> None:
    checker, _ = checker_of(20.0, tmp_path)

    def fails() -> torch.nn.Module:
        raise MemoryError

    object.__setattr__(checker, "load", fails)
    with torch.no_grad():
        found = checker.fidelity(noisy(checker, 13.5))
        assert eased(checker, noisy(checker, 13.5), found) is found


@pytest.mark.parametrize("name", [name for name, (_, kinds) in BREAKS.items() if "logits" in kinds])
def test_broken_parts_are_found_where_less_is_asked_too(name: str, tmp_path: Path) -> None:
    checker, _ = checker_of(20.0, tmp_path)
    change, right = BREAKS[name][0], noisy(checker, 14.0)
    answers = [call[0][2] for call in checker.reference.outputs]

    def broken(batch: tuple[Tensor, ...]) -> Tensor:
        return change(answers[0], right(batch))

    with torch.no_grad():
        assert eased(checker, right, checker.fidelity(right)).ok
        assert not eased(checker, broken, checker.fidelity(broken)).ok


@pytest.mark.parametrize("error", [0.0, 0.14])
def test_an_error_that_passes_as_rounding_is_found_beside_eager_in_the_same_type(error: float, tmp_path: Path) -> None:
    checker, _ = checker_of(0.0, tmp_path)
    half = Line(0.0).bfloat16()
    with torch.no_grad():
        found = checker.fidelity(lambda batch: half(*batch) * (1 + error))
        assert found.ok  # 17 dB, above the 15 dB asked
        fault = fault_of_cast(checker, lambda batch: half(*batch) * (1 + error), found)
    assert (fault is None) == (error == 0)
    assert fault is None or "more than rounding" in str(fault)
