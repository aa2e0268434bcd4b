"""Keeps the segments of a session: their code, weights and inputs go to disk as soon as they are known."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cloudpickle
import torch

from almaflow.models.batches import copied
from almaflow.models.handover import permuted
from almaflow.models.items import stored
from almaflow.segments.files import to_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from almaflow.records.profile import Segment
    from almaflow.segments.files import ProfileFiles
    from almaflow.segments.standalone import Standalone

    Batch = tuple[torch.Tensor, ...]

TRIES = 4
"""Calls that are looked at for each input that is to be kept: an application may give the same one for ever."""

LARGEST_MB = 256.0
"""Size in 10^6 bytes that the inputs of one segment may have together, the first ones in any case."""


@dataclass
class KeptSegment:
    """A segment of the session, with the inputs that are kept of it."""

    segment: Segment
    weights: set[str]
    """Digests of the sets of weights that ran it."""
    batches: list[Batch] = field(default_factory=list)
    tries: int = 0
    wants_inputs: bool = False
    """Whether the inputs of the next call are to be looked at."""

    @property
    def record(self) -> Segment:
        """The segment as it is known now."""
        lacking = None if self.batches else "its inputs could not be kept"
        return replace(
            self.segment,
            batches=len(self.batches),
            copies=max(1, len(self.weights)),
            unmeasurable=self.segment.unmeasurable or lacking,
        )


class SegmentStore:
    """The segments of one session, which several threads may run at the same time.

    Args:
        files: Where they are written.
        count: How many different inputs of each are kept.
        inputs: ``real``; ``permuted``, their elements shuffled; or ``zeros``.
        note: Gets a line for people.
    """

    def __init__(self, files: ProfileFiles, count: int, inputs: str, note: Callable[[str], None]) -> None:
        self._files = files
        self._count = count
        self._inputs = inputs
        self._note = note
        self._lock = threading.RLock()
        self._generator = torch.Generator().manual_seed(0)
        self.kept: dict[str, KeptSegment] = {}

    def write_model(self, segment_id: str, digest: str, alone: Standalone) -> str | None:
        """Write code and weights of a segment that is new, before it runs: it may write to its weights.

        Returns:
            Why it cannot be measured; None where it can.
        """
        if alone.unmeasurable:
            return alone.unmeasurable
        directory = self._files.segment_dir(segment_id)
        with self._lock:
            if (directory / "graph.py").exists():
                return None
            return self._written(lambda: self._write_model(directory, digest, alone))

    def _write_model(self, directory: Path, digest: str, alone: Standalone) -> None:
        directory.mkdir(exist_ok=True)
        weights = self._files.weights_path(digest)
        if alone.weights and not weights.exists():
            state = {name: tensor.detach().cpu().clone() for name, tensor in alone.weights.items()}
            to_disk(weights, lambda path: torch.save(state, path))
        (directory / "model.pkl").write_bytes(cloudpickle.dumps(alone.code))
        (directory / "graph.py").write_text(alone.code.source, encoding="utf-8")

    def add(self, segment: Segment, batch: Batch) -> KeptSegment:
        """Keep a segment that has run with these inputs; it may be known already, from another layer."""
        with self._lock:
            kept = self.kept.get(segment.segment_id)
            if kept is None:
                kept = self.kept[segment.segment_id] = KeptSegment(segment, set())
                kept.wants_inputs = segment.unmeasurable is None
            if segment.weights_digest:
                kept.weights.add(segment.weights_digest)
        self.keep(kept, batch)
        if kept.segment is segment:
            self._written(lambda: self._files.write_segment(kept.record))
        return kept

    def keep(self, kept: KeptSegment, batch: Sequence[torch.Tensor]) -> None:
        """Keep copies of inputs that differ from those that are kept, until there are enough."""
        with self._lock:
            if not kept.wants_inputs:
                return
            kept.tries += 1
            known = any(all(map(torch.equal, batch, each)) for each in kept.batches)
            if not known:
                kept.batches.append(copied(tuple(each.detach() for each in batch)))
                if self._written(lambda: self._write_batches(kept)):
                    kept.batches.pop()
                    kept.tries = TRIES * self._count
            held_mb = sum(each.nbytes for held in kept.batches for each in held) / 1e6
            more = len(kept.batches) < self._count and kept.tries < TRIES * self._count
            kept.wants_inputs = more and held_mb * (1 + 1 / max(1, len(kept.batches))) <= LARGEST_MB

    def _write_batches(self, kept: KeptSegment) -> None:
        items: list[object] = [(tuple(self._as_told(each) for each in batch), {}) for batch in kept.batches]
        directory = self._files.segment_dir(kept.segment.segment_id)
        to_disk(
            directory / "batches.pt", lambda path: torch.save({"exact": True, **stored(items, as_they_are=True)}, path)
        )

    def _as_told(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return what is written of an input, which may hold secrets."""
        if self._inputs == "zeros":
            return torch.zeros_like(tensor)
        return permuted(tensor, self._generator.manual_seed(0)) if self._inputs == "permuted" else tensor

    def _written(self, write: Callable[[], None]) -> str | None:
        """Write, and return why that failed; the application goes on in any case."""
        try:
            write()
        except OSError as error:
            reason = f"it could not be written ({error.strerror or error})"
            self._note(f"{self._files.root}: {error.strerror or error}: what is recorded from here on is not kept")
            return reason
        except Exception as error:  # noqa: BLE001 - what a graph of the user's own holds may raise anything
            return f"it could not be written ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        return None
