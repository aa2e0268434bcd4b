"""The report on a recorded session, as Python programs get it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow.errors import UsageError
from almaflow.profiles.analysis import analysed
from almaflow.profiles.files import MeasuredFiles
from almaflow.records.profile_results import BEST

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ProfileReport:
    """What each function of a session takes in each conversion, and where its time goes."""

    data: dict[str, Any]
    """What ``to_dict`` returns a copy of."""

    @classmethod
    def of(cls, profile: str | Path) -> ProfileReport:
        """Return the report on a session, by its ID or its directory.

        Raises:
            UsageError: there is no such session.
            RecordError: its files are damaged.
        """
        files = MeasuredFiles.of(profile)
        return cls(analysed(files.workload(), files.results()))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: ``functions`` with their ``totals``, ``segments`` and ``python``; milliseconds."""
        return deepcopy(self.data)

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas DataFrame with a row for each total: function, hardware, conversion, ms and the rest."""
        import pandas as pd

        rows = [{"function": each["function"]} | entry for each in self.data["functions"] for entry in each["totals"]]
        return pd.DataFrame(rows)

    def best(self, function: str | None = None) -> dict[str, Any]:
        """Return the fastest total of a function: each segment in its best conversion.

        Args:
            function: Its name; it may be left out where there is but one.

        Returns:
            The total's entry, and under ``segments`` the conversion of each segment by its ID.

        Raises:
            UsageError: there is no such function, or nothing was measured.
        """
        entries = {each["function"]: each for each in self.data["functions"]}
        name = function or (next(iter(entries)) if len(entries) == 1 else None)
        if name not in entries:
            message = f"function {name}: the profile has {', '.join(entries) or 'none'}"
            raise UsageError(message)
        ranked = [each for each in entries[name]["totals"] if each["conversion"] == BEST and each["ms"] is not None]
        if not ranked:
            why = next((each["why"] for each in entries[name]["totals"] if each["conversion"] == BEST), None)
            command = f"almaflow profile measure {self.data['profile_id']} BACKEND"
            message = f"{name}: {why}" if why else f"{name}: nothing was measured yet: {command}"
            raise UsageError(message)
        segments = {each["segment_id"]: each["best"] for each in entries[name]["segments"]}
        entry: dict[str, Any] = deepcopy(ranked[0])
        return entry | {"segments": segments}

    def print(self, *, verbose: bool = False) -> None:
        """Print the report on standard output.

        Args:
            verbose: Whether every segment with all its conversions is shown, not only where most of the time goes.
        """
        from almaflow.report.console import PlainConsole
        from almaflow.report.profile import WIDTH, render_profile

        console = PlainConsole()
        if not console.is_terminal:
            console.width = max(console.width, WIDTH)
        render_profile(self.data, console, verbose=verbose)

    def html(self, path: str | Path) -> None:
        """Write the whole report as one HTML file, with a call of each function from its beginning to its end."""
        from almaflow.report.profile_page import profile_page

        Path(path).write_text(profile_page(self.data), encoding="utf-8")
