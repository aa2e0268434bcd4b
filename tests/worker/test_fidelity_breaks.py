"""The criteria tell a right conversion from one that is broken, on a real network with random weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from almaflow.records import HardwareSpec, MeasureSpec, ModelSpec, WorkerTask
from almaflow.worker.fidelity import compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.nn import Module

pytestmark = pytest.mark.slow

BITS = 8


class Network:
    """resnet18 as a job has it, and its answers."""

    def __init__(self) -> None:
        from almaflow.worker.reference import example_model

        spec = ModelSpec("resnet18", arch="resnet18")
        task = WorkerTask(spec, HardwareSpec("cpu", "cpu", 1), MeasureSpec(), None, ".", "unused")
        self.model, self.batches = example_model(task)[:2]
        self.reference = self.answers(self.model)

    def answers(self, model: Module, cast: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> list[list[Tensor]]:
        import torch

        with torch.no_grad():
            return [[model(*map(cast, batch))] for batch in self.batches]

    def changed(self, change: Callable[[Any], object]) -> list[list[Tensor]]:
        import torch

        model = copy.deepcopy(self.model)
        with torch.no_grad():
            change(model)
        return self.answers(model)


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


def _block_left_out(model: Any) -> None:
    import torch

    model.layer3[1] = torch.nn.Identity()


def _channels_swapped(model: Any) -> None:
    model.conv1.weight.copy_(model.conv1.weight.flip(0))


def _another_scale(model: Any) -> None:
    model.layer2[0].bn2.weight.mul_(3)


def _layer_of_zeros(model: Any) -> None:
    model.layer4[0].conv1.weight.zero_()


def _quantise(model: Any, bits: int) -> None:
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if weight is not None and weight.dim() > 1:
            scale = weight.abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True) / (2 ** (bits - 1) - 1)
            weight.copy_((weight / scale).round() * scale)


BREAKS = [_channels_swapped, _another_scale, _layer_of_zeros]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("change", BREAKS)
def test_a_broken_network_is_found(network: Network, change: Callable[[Any], None], dtype: str) -> None:
    found = compare(network.reference, network.changed(change), dtype)
    assert not found.ok, found


def test_what_int8_may_lose_is_more_than_one_block_of_eight_gives(network: Network) -> None:
    """The limit of that tolerance, told in docs/conversions.md: narrower types do find it."""
    changed = network.changed(_block_left_out)
    assert compare(network.reference, changed, "int8").ok
    assert not compare(network.reference, changed, "bfloat16").ok


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "int4"])
def test_an_answer_that_ignores_the_input_is_found(network: Network, dtype: str) -> None:
    first = network.reference[0]
    assert not compare(network.reference, [first for _ in network.reference], dtype).ok


def test_right_ones_pass(network: Network) -> None:
    import torch

    half = network.answers(copy.deepcopy(network.model).bfloat16(), torch.Tensor.bfloat16)
    assert compare(network.reference, half, "bfloat16").ok
    assert compare(network.reference, network.changed(lambda model: _quantise(model, BITS)), "int8").ok
