"""Keeps the segments of a session: their code, weights and inputs go to disk as soon as they are known."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import cloudpickle
import torch

from almaflow.models.batches import copied
from almaflow.models.handover import permuted
from almaflow.models.items import stored
from almaflow.segments.files import to_disk
from almaflow.segments.identity import values_digest

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

FAMILY_MB = 1024.0
"""The same for all sizes of one graph, the very first ones in any case."""

SESSION_MB = 4096.0
"""The same for all segments."""

FURTHER_SHARE = 0.25
"""Share of both limits up to which a size has more than one input: the rest is for the first ones of other sizes."""


@dataclass
class KeptSegment:
    """A segment of the session, with the inputs that are kept of it."""

    segment: Segment
    weights: set[str]
    """Digests of the sets of weights that ran it."""
    batches: set[str] = field(default_factory=set)
    """Digests of the inputs that are kept."""
    kept_mb: float = 0.0
    tries: int = 0
    wants_inputs: bool = False
    """Whether the inputs of the next call are to be looked at."""
    lacking: str = "its inputs could not be kept"
    """Why it has no inputs, where it has none."""

    @property
    def record(self) -> Segment:
        """The segment as it is known now."""
        lacking = None if self.batches else self.lacking
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
        self._weights: dict[str, str] = {}
        self._family_mb: dict[str, float] = defaultdict(float)
        self.kept: dict[str, KeptSegment] = {}

    def write_model(self, segment_id: str, digest: str, alone: Standalone) -> str | None:
        """Write code and weights of a segment that is new, before it runs: it may write to its weights.

        Returns:
            Why it cannot be measured; None where it can.
        """
        if alone.unmeasurable:
            return alone.unmeasurable
        with self._lock:
            if segment_id in self._weights:
                return None
            failure = self._written(lambda: self._write_model(self._files.segment_dir(segment_id), digest, alone))
            if failure is None:
                self._weights[segment_id] = digest
        return failure

    def _write_model(self, directory: Path, digest: str, alone: Standalone) -> None:
        directory.mkdir(exist_ok=True)
        weights = self._files.weights_path(digest)
        if alone.weights and not weights.exists():
            state = {name: tensor.detach().cpu().clone() for name, tensor in alone.weights.items()}
            to_disk(weights, lambda path: torch.save(state, path))
        self._write_code(directory, alone)

    def _write_code(self, directory: Path, alone: Standalone) -> None:
        (directory / "model.pkl").write_bytes(cloudpickle.dumps(alone.code))
        (directory / "graph.py").write_text(alone.code.source, encoding="utf-8")

    def write_code(self, segment_id: str, alone: Standalone) -> bool:
        """Write code that gives more than that which was written first; whether that could be done."""
        with self._lock:
            return self._written(lambda: self._write_code(self._files.segment_dir(segment_id), alone)) is None

    def add(self, segment: Segment, batch: Batch) -> KeptSegment:
        """Keep a segment that has run with these inputs; it may be known already, from another layer."""
        with self._lock:
            kept = self.kept.get(segment.segment_id)
            is_new = kept is None
            if kept is None:
                # The weights on disk are those of the layer that began first, which need not be the first to end.
                written = self._weights.get(segment.segment_id, segment.weights_digest)
                kept = self.kept[segment.segment_id] = KeptSegment(replace(segment, weights_digest=written), set())
                kept.wants_inputs = segment.unmeasurable is None
            if segment.weights_digest:
                kept.weights.add(segment.weights_digest)
        self.keep(kept, batch)
        if is_new:
            self._written(lambda: self._files.write_segment(kept.record))
        return kept

    def segments(self) -> list[Segment]:
        """Return the segments in the order in which they first ran."""
        return [kept.record for kept in self.kept.values()]

    def keep(self, kept: KeptSegment, batch: Sequence[torch.Tensor]) -> None:
        """Write inputs that differ from those that are kept, until there are enough; it raises nothing."""
        with self._lock:
            if kept.wants_inputs and self._written(lambda: self._keep(kept, batch)):
                kept.wants_inputs = False

    def _keep(self, kept: KeptSegment, batch: Sequence[torch.Tensor]) -> None:
        kept.tries += 1
        size_mb = sum(each.nbytes for each in batch) / 1e6
        if self._is_too_much(kept, size_mb):
            kept.wants_inputs = False
            return
        held = copied(tuple(each.detach() for each in batch), "cpu")
        found = values_digest(("", each) for each in held)
        if found not in kept.batches:
            self._append(kept, held)
            kept.batches.add(found)
            kept.kept_mb += size_mb
            self._family_mb[kept.segment.family_id] += size_mb
        more = len(kept.batches) < self._count and kept.tries < TRIES * self._count
        kept.wants_inputs = more and kept.kept_mb + size_mb <= LARGEST_MB

    def _is_too_much(self, kept: KeptSegment, size_mb: float) -> bool:
        """Whether inputs of this size are beyond a limit; if it has none yet, a line says so."""
        family_mb = self._family_mb[kept.segment.family_id]
        session_mb = sum(self._family_mb.values())
        if kept.batches:
            return session_mb + size_mb > FURTHER_SHARE * SESSION_MB or family_mb + size_mb > FURTHER_SHARE * FAMILY_MB
        if session_mb + size_mb > SESSION_MB:
            limit = f"{SESSION_MB:g} MB of inputs in the session"
        elif family_mb and family_mb + size_mb > FAMILY_MB:
            limit = f"{FAMILY_MB:g} MB of inputs of one graph in all sizes"
        else:
            return False
        kept.lacking = f"its inputs were not kept: the limit of {limit} was reached"
        self._note(f"the limit of {limit} was reached: inputs of further segments are not kept, and these not measured")
        return True

    def _append(self, kept: KeptSegment, batch: Batch) -> None:
        """Add inputs to those on disk, which alone hold them: a session may have thousands of segments."""
        path = self._files.segment_dir(kept.segment.segment_id) / "batches.pt"
        before: dict[str, Any] = {"exact": True, "trees": [], "tensors": []}
        if kept.batches:
            before = torch.load(path, weights_only=True)
        new = stored([(tuple(self._as_told(each) for each in batch), {})], as_they_are=True)
        items = before | {name: [*before[name], *new[name]] for name in new}
        to_disk(path, lambda part: torch.save(items, part))

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
