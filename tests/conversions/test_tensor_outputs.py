"""Outputs of all kinds are restored after an export that knows distinct tensors only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.support.odd_inputs import Answers, Pair, Writes

from almaflow.conversions.built.tensor_outputs import NamedTensors, TensorOutputs, example_of
from almaflow.models.outputs import flatten_outputs, found_outputs, matched, named_outputs

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow  # importing torch takes seconds


class ReturnsChanged(Writes):
    """Returns the input that it has changed."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return super().forward(x, y), x


@pytest.mark.parametrize("model", [Answers(), Pair(), ReturnsChanged()])
def test_the_figures_come_back_in_the_order_of_eager(model: torch.nn.Module) -> None:
    inputs = torch.randn(4, 6), torch.randn(4, 6)
    wanted = flatten_outputs(model(*example_of(inputs)))
    wrapped = TensorOutputs(model.eval())
    exported = torch.export.export(wrapped, example_of(inputs), strict=False)
    distinct = wrapped(*example_of(inputs))
    assert len({id(each) for each in distinct}) == len(distinct)
    outputs = flatten_outputs(wrapped.restored(exported.module())(*example_of(inputs)))
    assert len(outputs) == len(wanted)
    assert all(torch.allclose(a, b) for a, b in zip(wanted, outputs, strict=True))


def test_nothing_is_restored_before_an_export() -> None:
    with pytest.raises(RuntimeError, match="after the model was exported"):
        TensorOutputs(Pair()).restored(list)


def test_examples_share_no_memory() -> None:
    tensor = torch.randn(4, 6)
    first, second, wide = example_of((tensor, tensor, tensor[:1].expand(4, 6)))
    assert first.data_ptr() != second.data_ptr()
    assert wide.is_contiguous()


class ByValue(torch.nn.Module):
    """Divides by a value, which only the strict export follows: it reads the code without running it."""

    def forward(self, x: torch.Tensor) -> Any:
        return x / float(x.abs().max()), 3


def test_an_export_that_reads_the_code_without_running_it_is_restored_too() -> None:
    wrapped = TensorOutputs(ByValue().eval(), (torch.ones(2, 3),))
    total, number = wrapped.restored(lambda x: [x * 2])(torch.ones(2, 3))
    assert number == 3
    assert torch.equal(total, torch.full((2, 3), 2.0))


@dataclass
class Answer:
    logits: torch.Tensor
    loss: None
    features: list[torch.Tensor]


class Gives(torch.nn.Module):
    """Answers with what a function makes of two tensors of one shape."""

    def __init__(self, structure: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.structure = structure
        self.a, self.b = torch.nn.Linear(6, 3), torch.nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.structure(self.a(x), self.b(x))


STRUCTURES: dict[str, tuple[Callable[[torch.Tensor, torch.Tensor], Any], type]] = {
    "one": (lambda a, _b: a, torch.Tensor),
    "nested pairs": (lambda a, b: (a, (b, a)), tuple),
    "list": (lambda a, b: [a, b], list),
    "dictionary": (lambda a, b: {"spread": b, "mean": a}, dict),
    "twice": (lambda a, _b: {"logits": a, "scores": a}, dict),
    "none and numbers": (lambda a, b: {"b": b, "aux": None, "n": 3, "a": a}, dict),
    "object": (lambda a, b: Answer(a, None, [b, a + b]), dict),
    "mixed": (lambda a, b: {"levels": [(a, b), (b,)], "task": "both"}, dict),
    "names that meet": (lambda a, b: {"x": [a], "x.0": b, "none": None}, tuple),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_trace_has_the_tensors_of_any_answer_by_their_names(name: str) -> None:
    structure, kind = STRUCTURES[name]
    model = Gives(structure).eval()
    traced = torch.jit.trace(NamedTensors(model), torch.randn(2, 6), strict=False)  # type: ignore[no-untyped-call]
    x = torch.randn(2, 6)
    answer = traced(x)
    assert isinstance(answer, kind)
    wanted, found = matched(named_outputs(model(x)), found_outputs(answer))
    assert len(wanted) == len([each for each in named_outputs(model(x)) if not each.is_number])
    assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))


def test_parts_in_another_mode_stay_in_it() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(6, 3), torch.nn.Dropout()).eval()
    model[1].train()
    assert [each.training for each in NamedTensors(model).modules()] == [False, False, False, True]
