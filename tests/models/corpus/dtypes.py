"""Models that are not plain float32: other checkpoints, mixed types, complex numbers, huge and lost values."""

from __future__ import annotations

import torch
from tests.models.corpus.example import (
    BFLOAT16,
    FLOAT16,
    PLAIN,
    always_ok,
    example,
    floats,
    integers,
    may_be_wrong,
    never_ok,
)
from torch import Tensor, nn

OWN_TYPE = always_ok("JIT_TRACE", "EXPORT+EAGER", why="no step casts, so the model runs in the type that it has")


@example(
    floats(8, dtype="bfloat16"), name="half_bfloat16", kwargs={"dtype": "bfloat16"}, dtype="bfloat16", rules=(OWN_TYPE,)
)
@example(
    floats(8, dtype="float16"), name="half_float16", kwargs={"dtype": "float16"}, dtype="float16", rules=(OWN_TYPE,)
)
@example(floats(8, dtype="float64"), name="double", kwargs={"dtype": "float64"}, dtype="float64", rules=(OWN_TYPE,))
class Checkpoint(nn.Module):
    """A checkpoint in another type."""

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4))
        self.to(getattr(torch, dtype))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@example(floats(8), name="body_in_bfloat16", dtype="bfloat16")
class MixedTypes(nn.Module):
    """The body is bfloat16, inputs and outputs are float32, and casts are in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 8).bfloat16(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.bfloat16()).float())


@example(floats(8), rules=(may_be_wrong(*FLOAT16, why="values beyond 65504 are infinite in float16"),))
class Loud(nn.Module):
    """Inner values reach millions, and the answer is normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.line(x) * 1e7)


@example(floats(8), output_kinds=("complex",))
class ComplexOutput(nn.Module):
    """The answer is a spectrum."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(self.line(x))


@example(floats(16), rules=(always_ok("JIT_TRACE", "EXPORT+EAGER", why="PyTorch has every operation"),))
class FourierMixer(nn.Module):
    """Mixes by a Fourier transform, and gives real numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.gain = nn.Linear(16, 16), nn.Parameter(torch.randn(9))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(self.line(x)) * self.gain, n=16)


@example(floats(400))
class Spectrogram(nn.Module):
    """A short-time Fourier transform, its power, and a filter bank."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(64))
        self.bank = nn.Linear(33, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.stft(x, 64, 32, window=self.window, return_complex=True)
        return self.bank((spectrum.abs() ** 2).mT)


@example(floats(8), rules=(always_ok(*PLAIN, why="a place that is -inf in both is right"),))
class MinusInfinity(nn.Module):
    """Logits of classes that are ruled out are -inf."""

    ruled_out: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 5)
        self.register_buffer("ruled_out", torch.tensor([False, True, False, False, True]))

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x).masked_fill(self.ruled_out, float("-inf"))


@example(floats(8), rules=(always_ok("JIT_TRACE", "EXPORT+EAGER", why="a place that is NaN in both is right"),))
class LogOfNegative(nn.Module):
    """Some places are NaN, which depends on the sign of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x).log()


@example(
    floats(8),
    rules=(
        may_be_wrong(*FLOAT16, *BFLOAT16, why="the differences are below what 16 bits resolve beside 1000"),
        always_ok(*PLAIN, why="float32 resolves them"),
    ),
)
class LargeOffset(nn.Module):
    """What differs between inputs is small beside an offset."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.line(x) * 0.1 + 1000


@example(
    integers(6, high=2**40),
    name="wide_integers",
    rules=(never_ok("OPENVINO*", "*COMPILE_OPENVINO", why="OpenVINO keeps the low 32 bits of an integer"),),
)
class HashesIdentifiers(nn.Module):
    """Identifiers beyond 32 bits are hashed to rows of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(97, 8)

    def forward(self, identifiers: Tensor) -> Tensor:
        return self.table((identifiers // 2**20) % 97)
