"""Writes a measured session to its files and then to the store."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow import machine
from almaflow.errors import AlmaflowError
from almaflow.profiles.analysis import analysed
from almaflow.profiles.files import MeasuredFiles
from almaflow.records import write_json
from almaflow.records.clock import now
from almaflow.report.console import PlainConsole
from almaflow.report.profile import WIDTH, render_profile
from almaflow.report.profile_page import profile_page
from almaflow.segments.files import ProfileFiles
from almaflow.tracking.uris import display_uri

if TYPE_CHECKING:
    from collections.abc import Iterator


def track(files: MeasuredFiles, uri: str) -> None:
    """Write the summary of a session, then its runs, or bring both up to date.

    Args:
        files: The files of the session.
        uri: A resolved store.

    Raises:
        TrackingError: the store cannot be reached or written; the files are kept, and doing it again does no harm.
        UsageError: the experiment was deleted.
    """
    from almaflow.tracking.profiles import log_profile

    results = files.results()
    data = analysed(files.workload(), results)
    summary = files.recorded.summary
    summary.mkdir(exist_ok=True)
    console = PlainConsole(file=io.StringIO(), width=WIDTH)
    render_profile(data, console, verbose=True)
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO
    (summary / "report.txt").write_text(text, encoding="utf-8")
    (summary / "report.html").write_text(profile_page(data), encoding="utf-8")
    write_json(summary / "report.json", data)
    times = results.started_at, results.ended_at or now()
    log_profile(uri, results.experiment_name, data, times, f"```\n{text}```\n", summary)
    files.write_results(replace(results, tracked=True))


def untracked(uri: str) -> Iterator[MeasuredFiles]:
    """Yield the sessions of almaflow's home that belong into a resolved store and are not in it; none that is measured.

    One that cannot be read is left out: its own command tells why.
    """
    for path in sorted((machine.home() / "profiles").glob("*/results.json")):
        files = MeasuredFiles(ProfileFiles(path.parent))
        try:
            results = files.results()
            if results.tracked or results.store != display_uri(uri):
                continue
            with files.locked():
                yield files
        except (AlmaflowError, OSError):
            continue
