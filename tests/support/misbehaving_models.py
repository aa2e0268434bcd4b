"""A model that is well-behaved in eager and misbehaves inside particular conversions."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
from torch import nn


class Troubled(nn.Module):
    """One linear layer; which conversion does what stands in ``_misbehave``."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(x)
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return logits.flip(1)  # another answer
        self._misbehave()
        return logits

    @torch.jit.unused
    def _misbehave(self) -> None:
        dtype = self.linear.weight.dtype
        if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            if dtype == torch.float16:
                message = "this model does not like to be traced in half precision"
                raise ValueError(message)
            sys.stdout.write("the last words before the abort\n")
            os.abort()
        elif dtype == torch.float16:
            time.sleep(3600)
        elif dtype == torch.bfloat16:
            held = []
            while True:
                held.append(b"x" * 50_000_000)
                time.sleep(0.02)


class Leisurely(nn.Module):
    """Takes 4 ms, and says at its 300th call, when it is being timed, that it has got there."""

    def __init__(self, called: str) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)
        self.path = Path(called)
        self.left = 300

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left == 0:
            self.path.touch()
        time.sleep(0.004)
        logits: torch.Tensor = self.linear(x)
        return logits
