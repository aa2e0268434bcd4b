"""Attention with masks, paddings and caches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody imports it
from tests.models.corpus.example import ANYTHING, PLAIN, always_ok, booleans, example, floats, integers, may_be_wrong
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

PADDED = may_be_wrong("*", why="padded places may hold anything, and nothing here says which are padded")


@example(floats(6, 16), booleans(6), loader="padded", rules=(PADDED,), decides_by_values=ANYTHING)
class PaddedEncoder(nn.Module):
    """An encoder with a padding mask; PyTorch's fast path fills padded places with zeros, and converters do not."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(16, 3)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.encoder(x, src_key_padding_mask=mask))


@example(
    floats(6, 16, name="x"),
    booleans(6, name="mask"),
    loader="padded",
    fields={"padding_mask": "mask"},
    decides_by_values=ANYTHING,
    rules=(always_ok("EXPORT+EAGER", "ONNX_CPU", why="padded places are marked, and not judged"),),
)
class MarkedPadding(PaddedEncoder):
    """The same encoder; which input marks the padding is said."""


@example(
    integers(6, high=50, name="words"),
    integers(6, high=2, name="attention_mask"),
    loader="sentences",
    fields={"attention_mask": "attention_mask"},
    decides_by_values=ANYTHING,
    rules=(always_ok("EXPORT+EAGER", "ONNX_CPU", why="padded places are marked, and not judged"),),
)
class MarkedAttention(nn.Module):
    """A mask of what may be seen, as transformers' models take it, is said to be one."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.words, self.encoder = nn.Embedding(50, 16), nn.TransformerEncoder(layer, 1)

    def forward(self, words: Tensor, attention_mask: Tensor) -> Tensor:
        return self.encoder(self.words(words), src_key_padding_mask=attention_mask == 0)


def sentences() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        mask = torch.ones(2, 6, dtype=torch.int64)
        mask[1, 3:] = 0
        yield torch.randint(0, 50, (2, 6), generator=generator), mask


@example(
    floats(6, 16),
    booleans(6),
    loader="padded",
    decides_by_values=ANYTHING,
    rules=(
        always_ok(
            "EXPORT+EAGER", "ONNX_CPU", why="padded places are set to zero by the model, so nothing is left to chance"
        ),
    ),
)
class PoolsUnpadded(PaddedEncoder):
    """The mean over what is not padded."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = super().forward(x, mask).masked_fill(mask[..., None], 0.0)
        return y.sum(1) / (~mask).sum(1, keepdim=True)


def padded() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        mask = torch.zeros(2, 6, dtype=torch.bool)
        mask[0, 4:] = True
        yield torch.randn(2, 6, 16, generator=generator), mask


class MaskedAttention(nn.Module):
    """Scaled dot products with a boolean mask."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(8, 24)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unsqueeze(1).chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@example(
    floats(3, 8),
    booleans(1, 3, 3),
    loader="some_rows_masked",
    rules=(may_be_wrong("*", why="what may see nothing has no answer that is right"),),
)
class FullyMaskedRow(MaskedAttention):
    """One row may see nothing: eager answers zero or NaN there, and runtimes something else."""


def some_rows_masked() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        mask = torch.ones(2, 1, 3, 3, dtype=torch.bool)
        mask[:, :, 0, 2], mask[0, :, 1] = False, False
        yield torch.randn(2, 3, 8, generator=generator), mask


@example(
    floats(3, 8),
    booleans(1, 3, 3),
    loader="one_place_masked",
    rules=(always_ok(*PLAIN, why="every row sees something"),),
)
class BooleanMask(MaskedAttention):
    """Each row sees two of three."""


def one_place_masked() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        mask = torch.ones(2, 1, 3, 3, dtype=torch.bool)
        mask[..., 2] = False
        yield torch.randn(2, 3, 8, generator=generator), mask


@example(floats(5, 8), rules=(always_ok(*PLAIN, why="the causal mask depends on the shape"),))
class CausalAttention(nn.Module):
    """Scaled dot products with is_causal, two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


@example(floats(5, 8), floats(7, 8), rules=(always_ok("EXPORT+EAGER", "ONNX_CPU", why="every operation is common"),))
class CrossAttention(nn.Module):
    """One sequence attends to another; the weights are given too."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, query: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        answer, weights = self.attention(query, memory, memory)
        return answer, weights


@example(integers(6, high=50), rules=(always_ok(*PLAIN, why="positions depend on the shape"),))
class PositionsAndTriangle(nn.Module):
    """Learnt positions, and a triangular mask in a buffer that is cut to the length."""

    triangle: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 8), nn.Embedding(16, 8)
        self.register_buffer("triangle", torch.tril(torch.ones(16, 16, dtype=torch.bool)), persistent=False)

    def forward(self, words: Tensor) -> Tensor:
        length = words.shape[1]
        x = self.words(words) + self.places(torch.arange(length, device=words.device))
        scores = (x @ x.mT).masked_fill(~self.triangle[:length, :length], float("-inf"))
        return scores.softmax(-1) @ x
