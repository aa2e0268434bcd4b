"""A model's state is put back whatever holds it, and what it was given stays what it was."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from almaflow.models.state import ModelState, same_content

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds


class Rebinds(nn.Module):
    """Keeps its last input as a buffer: the caller's own tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.last: torch.Tensor
        self.register_buffer("last", torch.zeros(2, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        difference = x - self.last
        self.last = x
        return difference


class RegistersLate(nn.Module):
    """Makes its buffer in the first call."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "sum"):
            self.register_buffer("sum", torch.zeros_like(x))
        self.sum: torch.Tensor = self.sum + x
        return self.sum


class KeptInAParameter(nn.Module):
    """Keeps its state in a parameter that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(4), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mean.mul_(0.5).add_(x.mean(0))
        return x - self.mean


class Window(nn.Module):
    """Answers with the mean of its last inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.window: deque[torch.Tensor] = deque(maxlen=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.window.append(x.clone())
        return torch.stack(list(self.window)).mean(0)


class LockedMemory(nn.Module):
    """Has an attribute without a copy beside one that is changed in place."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.memory = torch.zeros(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.memory.mul_(0.5).add_(x.sum(0))
        return x + self.memory


SUM = np.zeros(4, dtype=np.float32)
MADE_LATE: torch.Tensor


class InAnArray(nn.Module):
    """Adds up its inputs in an array of its module."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        np.add(SUM, x.numpy().sum(0), out=SUM)
        return x + torch.from_numpy(SUM)


class InALateGlobal(nn.Module):
    """Makes a global of its module in the first call."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        global MADE_LATE  # noqa: PLW0603 - what this model is about
        MADE_LATE = globals().get("MADE_LATE", torch.zeros(4)) + x.sum(0)
        return x + MADE_LATE


def _summing() -> Callable[[torch.Tensor], torch.Tensor]:
    total = torch.zeros(4)

    def add(x: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total = total + x.sum(0)
        return x + total

    return add


class InAClosure(nn.Module):
    """Has a function that adds up its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.add = _summing()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.add(x)


MODELS = [Rebinds, RegistersLate, KeptInAParameter, Window, LockedMemory, InAnArray, InALateGlobal, InAClosure]


@pytest.mark.parametrize("make", MODELS)
def test_the_same_answer_comes_again_and_inputs_stay(make: type[nn.Module]) -> None:
    model, x = make().eval(), torch.randn(2, 4)
    before, state = x.clone(), ModelState(model)
    first = model(x).clone()
    assert state.changed() != () or make is LockedMemory
    for _ in range(3):
        state.put_back()
        assert torch.equal(model(x), first)
    state.put_back()
    assert state.changed() == ()
    assert torch.equal(x, before)


def test_a_scripted_part_with_buffers_is_put_back_too() -> None:
    model = nn.Sequential(torch.jit.script(nn.BatchNorm1d(4)))
    state = ModelState(model)
    model.train()
    model(torch.randn(8, 4))
    assert "0.running_mean" in state.changed()
    state.put_back()
    assert not any("running" in name for name in state.changed())


def test_weights_of_inference_mode_have_a_state() -> None:
    with torch.inference_mode():
        model = nn.BatchNorm1d(4)
    state = ModelState(model)
    with torch.inference_mode():
        model(torch.randn(8, 4))
    assert "running_mean" in state.changed()
    state.put_back()
    assert state.changed() == ()


def test_sparse_and_eight_bit_buffers_are_compared() -> None:
    model = nn.Module()
    model.register_buffer("adjacency", torch.eye(3).to_sparse())
    model.register_buffer("packed", torch.ones(3).to(torch.float8_e5m2))
    state = ModelState(model)
    assert state.changed() == ()
    assert not same_content(torch.eye(3).to_sparse(), torch.ones(3, 3).to_sparse())
    assert not same_content(torch.ones(3).to(torch.float8_e5m2), torch.zeros(3).to(torch.float8_e5m2))
