"""A profile on disk: each segment is written when it first runs, each call when it ends.

::

    profiles/PROFILE_ID/
        profile.json        the record, written when the session ends
        calls.jsonl         one line for each call of a decorated function, appended when it ends
        lost.jsonl          one line for each frame that PyTorch gave up on
        segments/SEGMENT_ID/
            segment.json    the segment as it was when it first ran
            graph.py        its code, for people
            model.pkl       a module by cloudpickle, as ``ModelSpec.pickle_path`` takes it: tensors by position
            batches.pt      inputs of different calls, as ``ModelSpec.batches_path`` takes them
        summary/            what becomes the artifacts of the profile's run

A segment that cannot be measured apart has neither ``model.pkl`` nor ``batches.pt``, and its record says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.records.json_files import read_json, read_lines, write_json
from almaflow.records.profile import Call, LostCapture, Profile, Segment
from almaflow.secrets import PRIVATE

if TYPE_CHECKING:
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
        (self.root / "segments").mkdir()
        self.summary.mkdir()

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

    def write_segment(self, segment: Segment) -> None:
        """Write a segment as it was when it first ran."""
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
