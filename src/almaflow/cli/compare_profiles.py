"""``almaflow compare`` with two recorded sessions, which are read from almaflow's home and not from a store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = ("table", "json")
TWO = 2


def are_profiles(what: Sequence[str], kind: str, *, gated: bool) -> bool:
    """Compare two recorded sessions, if these are some.

    Args:
        what: What the user named.
        kind: The format.
        gated: Whether the user asked for a verdict by a limit.

    Raises:
        UsageError: only one of them is a session, or there is no such format of them.
    """
    from almaflow.profiles.files import MeasuredFiles

    found = [MeasuredFiles.named(each) for each in what]
    if not any(found):
        return False
    first, second = found if len(found) == TWO else (None, None)
    if first is None or second is None:
        message = "a profile is compared with another profile: give the IDs of two"
        raise UsageError(message)
    if gated or kind not in FORMATS:
        message = f"profiles are compared without a gate, as {' or '.join(FORMATS)}"
        raise UsageError(message)
    from almaflow.analysis.compare_profiles import compare_profiles
    from almaflow.profiles.report import ProfileReport
    from almaflow.report.console import PlainConsole
    from almaflow.report.profile_compare import render_profile_comparison

    data = compare_profiles(*(ProfileReport.of(each.recorded.root).data for each in (first, second)))
    if kind == "json":
        click.echo(json.dumps(data, indent=2))
    else:
        render_profile_comparison(data, PlainConsole())
    return True
