"""Outputs of all kinds are restored after an export that knows distinct tensors only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.support.odd_inputs import Answers, Pair, Writes

from almaflow.conversions.built.tensor_outputs import TensorOutputs, example_of
from almaflow.models.outputs import flatten_outputs

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
