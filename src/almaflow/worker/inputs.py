"""Gives each call its inputs: in the conversion's type, on its device, and as they were before any call."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch

from almaflow.models.batches import copied

if TYPE_CHECKING:
    from almaflow.models.batches import Batch
    from almaflow.models.state import ModelState
    from almaflow.records import PlannedConversion, WorkerTask

OWN_TYPE = "float32"
"""``input_dtype`` of conversions that do not cast: their inputs keep the types that the user gave."""


class Inputs:
    """The batches in the conversion's input type, on its device or copied there inside the call.

    Where the model writes to its inputs, each call gets a copy that ``prepare`` makes before it.
    """

    def __init__(
        self, host: list[Batch], planned: PlannedConversion, task: WorkerTask, state: ModelState | None = None
    ) -> None:
        self._device = torch.device(planned.device)
        self._non_blocking = task.measure.non_blocking
        self._host = [_cast(batch, planned.input_dtype) for batch in host]
        if task.measure.pin_memory and planned.device == "cuda":
            self._host = [tuple(t.pin_memory() for t in batch) for batch in self._host]
        self._batches = [self._copy(batch) for batch in self._host]
        self._copy_inside_call = task.measure.include_transfer
        self._writes = bool(task.traits.writes_inputs) or state is not None
        # A copy to a device inside the call is fresh anyway, and from pinned memory only without another copy.
        self._copies = self._writes and not (self._copy_inside_call and self._device.type != "cpu")
        self._state = state
        self._prepared = threading.local()  # each of several streams has its own

    @property
    def batches(self) -> list[Batch]:
        """The batches for a converter, which may write to them where the model does: copies."""
        return [copied(batch) for batch in self._batches] if self._writes else self._batches

    def _copy(self, batch: Batch) -> Batch:
        return tuple(t.to(self._device, non_blocking=self._non_blocking) for t in batch)

    def prepare(self, index: int) -> None:
        """Do before a call, outside of the clock, what the call needs to give the answer that the first one gave."""
        if self._copies:
            self._prepared.batch = copied(self._of(index))
        if self._state and threading.current_thread() is threading.main_thread():  # concurrent calls share the model
            self._state.put_back()

    def get(self, index: int) -> Batch:
        """Return the batch for a call; indices beyond the last batch start again at the first."""
        if self._copies:
            prepared: Batch = self._prepared.batch
            return self._copy(prepared) if self._copy_inside_call else prepared
        return self._copy(self._of(index)) if self._copy_inside_call else self._of(index)

    def _of(self, index: int) -> Batch:
        batches = self._host if self._copy_inside_call else self._batches
        return batches[index % len(batches)]


def _cast(batch: Batch, dtype: str) -> Batch:
    if dtype == OWN_TYPE:
        return batch
    wanted = getattr(torch, dtype)
    return tuple(tensor.to(wanted) if tensor.is_floating_point() else tensor for tensor in batch)
