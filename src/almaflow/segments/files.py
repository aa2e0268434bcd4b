"""A profile on disk: each segment is written when it first runs, each call when it ends.

::

    profiles/PROFILE_ID/
        profile.json        the record, written when the session ends
        calls.jsonl         one line for each call of a decorated function, appended when it ends
        lost.jsonl          one line for each frame that PyTorch gave up on
        segments/SEGMENT_ID/
            segment.json    the segment as it was when it first ran
            graph.py        its code, for people
            model.pkl       what builds a module without its weights, as ``ModelSpec.pickle_path`` takes it; the
                            module takes the segment's inputs by position, and gives its outputs as a tuple
            batches.pt      inputs of different calls, as ``ModelSpec.batches_path`` takes them
        weights/DIGEST.pt   weights, as ``ModelSpec.weights`` takes them; sizes of one graph share them
        summary/            what becomes the artifacts of the profile's run

A segment that cannot be measured apart may have none but its record, which says why. One without weights has no file
of them: its ``weights_bytes`` is 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.records.json_files import read_json, read_lines, write_json
from almaflow.records.profile import Call, LostCapture, Profile, Segment
from almaflow.secrets import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class ProfileFiles:
    """The paths of one profile's files."""

    root: Path

    @classmethod
    def of(cls, profile_id: str, home: Path | None = None) -> ProfileFiles:
        """Return the files of the profile of this name."""
        return cls((home or machine.home()) / "profiles" / profile_id)

    @property
    def summary(self) -> Path:
        """The directory whose files become artifacts of the profile's run."""
        return self.root / "summary"

    @property
    def calls_path(self) -> Path:
        """The calls, one on each line."""
        return self.root / "calls.jsonl"

    @property
    def lost_path(self) -> Path:
        """What was lost, one on each line."""
        return self.root / "lost.jsonl"

    def segment_dir(self, segment_id: str) -> Path:
        """The directory of a segment."""
        return self.root / "segments" / segment_id

    def create(self) -> None:
        """Make the directories of a new profile, for this user alone: inputs of the application are below them."""
        self.root.mkdir(PRIVATE, parents=True)
        for part in (self.root / "segments", self.root / "weights", self.summary):
            part.mkdir()

    def write(self, profile: Profile) -> None:
        """Write the record of the profile."""
        write_json(self.root / "profile.json", profile)

    def read(self) -> Profile:
        """Read the record of the profile.

        Raises:
            FileNotFoundError: it has none.
            RecordError: the record is damaged, or of a form that is unknown here.
        """
        return read_json(self.root / "profile.json", Profile)

    def weights_path(self, digest: str) -> Path:
        """The file of weights with this digest."""
        return self.root / "weights" / f"{digest}.pt"

    def write_segment(self, segment: Segment) -> None:
        """Write a segment as it was when it first ran."""
        self.segment_dir(segment.segment_id).mkdir(exist_ok=True)
        write_json(self.segment_dir(segment.segment_id) / "segment.json", segment)

    def segments(self) -> list[Segment]:
        """Read the segments as they were when they first ran, sorted by their IDs."""
        return [read_json(path, Segment) for path in sorted(self.root.glob("segments/*/segment.json"))]

    def calls(self) -> list[Call]:
        """Read the calls in the order in which they ended.

        Raises:
            RecordError: the file is damaged.
        """
        return read_lines(self.calls_path, Call)

    def lost(self) -> list[LostCapture]:
        """Read what was lost, in the order in which it was noticed.

        Raises:
            RecordError: the file is damaged.
        """
        return read_lines(self.lost_path, LostCapture)


def to_disk(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the path and then rename, so that a reader never sees half a file."""
    part = path.with_name(f".{path.name}.part")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Append a line as a whole or not at all: behind a half one, the next would be damaged.

    Raises:
        OSError: it could not be written, as on a full disk.
    """
    with path.open("ab", buffering=0) as stream:
        before = stream.tell()
        rest = line.encode()
        try:
            while rest:
                rest = rest[stream.write(rest) :]
        except OSError:
            stream.truncate(before)
            raise
