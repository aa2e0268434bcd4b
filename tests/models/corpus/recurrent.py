"""Recurrent networks and embeddings."""

from __future__ import annotations

import torch
from tests.models.corpus.example import ANYTHING, PLAIN, always_ok, example, floats, integers
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

COMMON = always_ok("JIT_TRACE", "EXPORT+EAGER", "ONNX_CPU", why="every runtime has this cell")


@example(floats(7, 6), rules=(COMMON,))
class Lstm(nn.Module):
    """Two layers, both directions, and the last states beside the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return self.lstm(x)


@example(floats(7, 6, batch_dim=1), rules=(COMMON,))
class TimeFirst(nn.Module):
    """Time is the first dimension and the batch the second, which is PyTorch's own habit."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0])


@example(floats(20, 4), rules=(COMMON,))
class Gru(nn.Module):
    """A gated unit and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.gru(x)
        return self.head(y)


@example(floats(7, 6), floats(8), floats(8), rules=(COMMON,))
class GivenStates(nn.Module):
    """The states are inputs, as in streaming."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (hidden, cell) = self.lstm(x, (hidden[None], cell[None]))
        return y, hidden[0], cell[0]


@example(floats(7, 6), decides_by_values=ANYTHING)
class PackedSequence(nn.Module):
    """Sequences of two lengths are packed; the lengths are fixed."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.RNN(6, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, torch.tensor([7, 5]), batch_first=True)
        y, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.head(y)


@example(integers(6, high=40), rules=(always_ok("JIT_TRACE", "EXPORT+EAGER", why="PyTorch runs it"),))
class BagOfWords(nn.Module):
    """The mean of word vectors by an embedding bag."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.head = nn.EmbeddingBag(40, 8, mode="mean"), nn.Linear(8, 3)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.bag(words))


@example(integers(3, high=10), floats(4), rules=(always_ok(*PLAIN, why="tables and layers are common"),))
class Recommender(nn.Module):
    """Embeddings of categories beside numbers, and their products."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(10, 6) for _ in range(3))
        self.numbers, self.head = nn.Linear(4, 6), nn.Linear(12, 1)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        rows = [table(categories[:, i]) for i, table in enumerate(self.tables)]
        x = torch.stack([*rows, self.numbers(numbers)], 1)
        products = (x @ x.mT)[:, *torch.triu_indices(4, 4, 1)]
        return self.head(torch.cat([products, x[:, 3]], 1)).sigmoid()
