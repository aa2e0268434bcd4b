"""Models whose cost is known, for instrument.py: how long a call takes, how much memory it touches."""

from __future__ import annotations

import time

import torch

AWAKE_S = 0.001
"""Before its time is over a call wakes up and watches the clock: left alone it would sleep a little longer."""

FLOATS_PER_MB = 250_000

PAUSE_S = 0.02
"""Of a call that allocates: a quick one would give thousands of samples, and these take memory too."""


class Sleeps(torch.nn.Module):
    """Answers twice its input, exactly so many milliseconds after it was called."""

    def __init__(self, ms: float) -> None:
        """Take that long."""
        super().__init__()
        self.seconds = ms / 1000
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Compute, then wait for the rest of the time."""
        until = time.perf_counter() + self.seconds
        answer: torch.Tensor = self.scale * given
        time.sleep(max(0.0, self.seconds - AWAKE_S))
        while time.perf_counter() < until:
            pass
        return answer


class Allocates(torch.nn.Module):
    """Answers twice its input, and on the way writes to so many megabytes (10^6 bytes) that it gives back."""

    def __init__(self, mb: int) -> None:
        """Take that much, in every call anew."""
        super().__init__()
        self.floats = mb * FLOATS_PER_MB
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Fill every page, and let the answer need one of the values."""
        ones = torch.full((self.floats + 1,), 1.0)
        time.sleep(PAUSE_S)
        answer: torch.Tensor = self.scale * given * ones[-1]
        return answer
