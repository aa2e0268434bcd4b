"""Gives what data loaders hold beside example inputs: samples with their labels, and batches to calibrate on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from almaflow.errors import UsageError
from almaflow.models.batches import check_alike, declared_dims, of_size, opened, rows_of
from almaflow.models.items import call_of, inputs_of, restored, sample_of
from almaflow.models.state import set_generators
from almaflow.models.targets import described, started_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from almaflow.models.batches import Batch
    from almaflow.models.binding import Parameters
    from almaflow.models.call_form import CallForm
    from almaflow.records import ModelSpec

LOOKED_AT = 1024
"""Elements of a tensor by which two processes recognise that they got the same one."""
_END = object()


class Labelled(NamedTuple):
    """At most ``batch_size`` samples of a data loader."""

    inputs: Any
    """The model's input, or a tuple of its tensors where it takes several."""
    labels: Any
    """The labels of these samples, or a tuple where the loader gives several parts after the inputs."""


@dataclass
class LabelledLoader:
    """The labelled samples of a model's data loader, in batches that the converted models take.

    Batches that are larger than ``batch_size`` are cut. It may be iterated once.
    """

    spec: ModelSpec
    parameters: Parameters
    form: CallForm
    """How the tensors of a batch become the arguments of the model's call."""
    example: Batch
    """A batch that the conversions were built for."""
    samples: float | None = None
    """How many samples, or which share of all; None: all."""
    taken: int = field(default=0, init=False)
    """Samples given so far."""
    _digest: Any = field(default_factory=hashlib.sha256, init=False)

    @property
    def digest(self) -> str:
        """A digest of the samples given so far and their labels: of sizes, and of some elements of each tensor."""
        return str(self._digest.hexdigest()[:16])

    def __iter__(self) -> Iterator[Labelled]:
        """Yield the samples in the loader's order.

        Raises:
            UsageError: a batch holds no labels, labels that do not fit, or other inputs than the model was measured on.
        """
        # A loader that shuffles or augments draws the same in each process.
        set_generators(self.spec.seed)
        origin, items = _items(self.spec)
        left = self._wanted(items, origin)
        iterator = iter(items)
        while left:
            if (item := _next(iterator, self.spec, origin)) is _END:
                break
            pairs, labels = sample_of(item, self.spec, self.parameters, origin)
            batch, form = call_of(pairs, self.parameters, origin)
            rows = rows_of(batch, self.spec)
            _check_labels(labels, rows, origin)
            check_alike([self.example, self._filled(batch)], [self.form, form], origin)
            for start in range(0, rows, self.spec.batch_size):
                stop = int(min(start + self.spec.batch_size, rows, start + left))
                left -= max(0, stop - start)
                if stop > start:
                    yield self._part(batch, labels, start, stop)
        if not self.taken:
            message = f"{origin}: gives no sample to evaluate on"
            raise UsageError(message)

    def _wanted(self, items: Iterable[Any], origin: str) -> float:
        """Return how many samples are wanted; infinity where all are."""
        if self.samples is None:
            return float("inf")
        if self.samples >= 1:
            return self.samples
        whole = getattr(items, "dataset", None)
        total = len(whole) if isinstance(whole, Sized) else None
        if total is None and isinstance(items, Sized):
            total = len(items) * self.spec.batch_size
        if total is None:
            message = f"evaluate.samples={self.samples:g}: {origin} has no length to take a share of; give a count"
            raise UsageError(message)
        return max(1, round(self.samples * total))

    def _part(self, batch: Batch, labels: tuple[Any, ...], start: int, stop: int) -> Labelled:
        rows = rows_of(batch, self.spec)
        inputs = tuple(
            tensor if dim is None else tensor.narrow(dim, start, stop - start)
            for tensor, dim in zip(batch, self._dims(batch, rows), strict=True)
        )
        self.taken += stop - start
        parts = tuple(_cut(part, start, stop) for part in labels)
        for part in (*inputs, *parts):
            _add(self._digest, part)
        return Labelled(inputs[0] if len(inputs) == 1 else inputs, parts[0] if len(parts) == 1 else parts)

    def rows(self, inputs: Batch) -> int:
        """Return how many samples these inputs hold."""
        return rows_of(inputs, self.spec)

    def padded(self, batch: Batch) -> Batch:
        """Return a batch of the size that the model was converted for: the last sample is repeated to fill it up."""
        rows, size = rows_of(batch, self.spec), self.spec.batch_size
        if rows == size:
            return batch
        index = torch.arange(size).clamp(max=rows - 1)
        dims = self._dims(batch, rows)
        return tuple(t if dim is None else t.index_select(dim, index) for t, dim in zip(batch, dims, strict=True))

    def _filled(self, batch: Batch) -> Batch:
        """Return a batch of that size without a copy, which holds the first sample only: its sizes are looked at."""
        size = self.spec.batch_size
        dims = self._dims(batch, rows_of(batch, self.spec))
        shapes = [
            [size if place == dim else each for place, each in enumerate(t.shape)]
            for t, dim in zip(batch, dims, strict=True)
        ]
        return tuple(
            t if dim is None else t.narrow(dim, 0, 1).expand(shape)
            for t, dim, shape in zip(batch, dims, shapes, strict=True)
        )

    def _dims(self, batch: Batch, rows: int) -> list[int | None]:
        return [
            dim if dim is not None and tensor.dim() > dim and tensor.shape[dim] == rows else None
            for tensor, dim in zip(batch, declared_dims(batch, self.spec), strict=True)
        ]


def _next(iterator: Iterator[Any], spec: ModelSpec, origin: str) -> Any:
    try:
        with started_in(spec.directory):
            return next(iterator, _END)
    except Exception as error:
        message = f"{origin}: giving a batch, it raised {described(error)}"
        raise UsageError(message) from error


def _items(spec: ModelSpec) -> tuple[str, Iterable[Any]]:
    if spec.batches_path is not None:
        plain = torch.load(spec.batches_path, map_location="cpu", weights_only=True, mmap=True)
        return "data_loader", [] if plain["exact"] else restored(plain)
    if spec.data_loader is None:
        message = "evaluate: needs a model.data_loader whose batches hold the inputs, then the labels"
        raise UsageError(message)
    return opened(spec.data_loader, "model.data_loader", spec)


def _check_labels(labels: tuple[Any, ...], rows: int, origin: str) -> None:
    if not labels:
        message = f"{origin}: its batches hold no labels, which evaluate needs: let each be (inputs, labels)"
        raise UsageError(message)
    counts = {_count(part) for part in labels}
    if counts != {rows}:
        had = ", ".join("no length" if count is None else str(count) for count in counts - {rows})
        message = f"{origin}: the labels of a batch of {rows} samples have {had}; let each sample have one"
        raise UsageError(message)


def _count(labels: object) -> int | None:
    if isinstance(labels, torch.Tensor):
        return labels.shape[0] if labels.dim() else None
    if isinstance(labels, Mapping):
        counts = {_count(value) for value in labels.values()}
        return counts.pop() if len(counts) == 1 else None
    return len(labels) if isinstance(labels, Sized) and not isinstance(labels, str) else None


def _cut(labels: Any, start: int, stop: int) -> Any:
    if isinstance(labels, Mapping):
        return {key: _cut(value, start, stop) for key, value in labels.items()}
    return labels[start:stop]


def _add(digest: Any, part: Any) -> None:
    """Add the sizes and some elements of an array to a digest; plain values, and what containers hold."""
    match part:
        case torch.Tensor():
            flat = part.detach().reshape(-1)
            some = flat[:: max(1, flat.numel() // LOOKED_AT)].to(torch.complex128).numpy()
            digest.update(f"{tuple(part.shape)}".encode() + some.tobytes())
        case np.ndarray() if part.dtype.kind in "biufcSU":
            digest.update(f"{part.shape}".encode() + part.reshape(-1)[:: max(1, part.size // LOOKED_AT)].tobytes())
        case Mapping():
            for key, value in part.items():
                digest.update(str(key).encode())
                _add(digest, value)
        case list() | tuple():
            for each in part:
                _add(digest, each)
        case bool() | int() | float() | str() | bytes():
            digest.update(repr(part).encode())
        case _:  # the text of an object may have its address, which each process has another of
            digest.update(type(part).__qualname__.encode())


def calibration_batches(spec: ModelSpec, parameters: Parameters, form: CallForm, example: Batch) -> list[Batch]:
    """Take the batches of ``model.calibration_loader``; none where there is no such loader.

    Batches of another size than ``batch_size`` are left out.

    Raises:
        UsageError: the loader cannot be made, or gives nothing that the model takes.
    """
    if spec.calibration_loader is None:
        return []
    set_generators(spec.seed)
    origin, items = opened(spec.calibration_loader, "model.calibration_loader", spec)
    with started_in(spec.directory):
        calls = (call_of(inputs_of(item, spec, parameters, origin), parameters, origin) for item in items)
        count = max(1, spec.calibration_samples // spec.batch_size)
        kept = of_size(((rows_of(call[0], spec), call) for call in calls), spec, count, origin)
    check_alike([example, *(batch for batch, _ in kept)], [form, *(each for _, each in kept)], origin)
    return [batch for batch, _ in kept]
