"""The files of a recorded session that measuring adds and reads: ``results.json`` beside the record, and its lock."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.errors import UsageError
from almaflow.machine.directory_lock import locked
from almaflow.profiles.recorded import workload_of
from almaflow.records import ModelSpec, SegmentRef, read_json, write_json
from almaflow.records.profile_results import ProfileResults
from almaflow.segments.files import ProfileFiles

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from almaflow.profiles.workload import Piece, Workload
    from almaflow.records.profile import Profile


@dataclass(frozen=True)
class MeasuredFiles:
    """The paths of one session's files."""

    recorded: ProfileFiles

    @classmethod
    def of(cls, profile: str | Path) -> MeasuredFiles:
        """Return the files of a session, by its ID, the beginning of its ID, or its directory.

        Raises:
            UsageError: there is no such session, or there are several.
        """
        place = Path(profile)
        if (place / "profile.json").is_file():
            return cls(ProfileFiles(place))
        home = machine.home() / "profiles"
        found = sorted(path.parent for path in home.glob("*/profile.json") if path.parent.name.startswith(str(profile)))
        if len(found) == 1:
            return cls(ProfileFiles(found[0]))
        known = ", ".join(path.name for path in (found or sorted(home.glob("*")))[-3:])
        what = "several profiles begin so" if found else "no such profile"
        message = f"{profile}: {what} in {home}{f'; the newest: {known}' if known else ''}"
        raise UsageError(message)

    @classmethod
    def named(cls, what: str | None) -> MeasuredFiles | None:
        """Return the files of a session, by its whole ID or its directory; None where there is none."""
        for root in (Path(what), machine.home() / "profiles" / Path(what).name) if what else ():
            if (root / "profile.json").is_file():
                return cls(ProfileFiles(root))
        return None

    @property
    def results_path(self) -> Path:
        """What was measured."""
        return self.recorded.root / "results.json"

    def locked(self) -> AbstractContextManager[None]:
        """Be the only one to measure the session.

        Raises:
            BusyError: another process does.
        """
        root = self.recorded.root
        return locked(root, f"the profile in {root} is being measured; wait for its end")

    def profile(self) -> Profile:
        """Read the record of the session.

        Raises:
            RecordError: it is damaged, or of a form that is unknown here.
        """
        return self.recorded.read()

    def workload(self) -> Workload:
        """Read what was recorded.

        Raises:
            RecordError: it is damaged, or of a form that is unknown here.
        """
        return workload_of(self.profile(), self.recorded.calls())

    def results(self) -> ProfileResults:
        """Read what was measured, which may be nothing.

        Raises:
            RecordError: it is damaged, or of a form that is unknown here.
        """
        if not self.results_path.exists():
            return ProfileResults(self.profile().profile_id)
        return read_json(self.results_path, ProfileResults)

    def write_results(self, results: ProfileResults) -> None:
        """Write what was measured."""
        write_json(self.results_path, results)

    def model_of(self, piece: Piece) -> ModelSpec:
        """Return a segment as a model, whose name is the same for equal segments of all sessions."""
        directory = self.recorded.segment_dir(piece.segment_id)
        return ModelSpec(
            name=f"segment_{piece.segment_id}",
            pickle_path=str(directory / "model.pkl"),
            batches_path=str(directory / "batches.pt"),
            weights=str(self.recorded.weights_path(piece.weights_digest)) if piece.weights_digest else None,
            batch_dim=None,
            segment=SegmentRef(
                piece.segment_id,
                piece.family,
                self.recorded.root.name,
                piece.location,
                piece.calls,
                piece.autocast,
                piece.inputs,
            ),
        )
