"""``almaflow conversions --history``: how conversions have fared in the store."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from almaflow.cli.console import wide_console
from almaflow.conversions.catalogue.plan import traits_of
from almaflow.tracking.fingerprints import model_digest
from almaflow.tracking.uris import display_uri, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from almaflow.conversions.catalogue.entry import Conversion


@dataclass(frozen=True)
class ConversionHistory:
    """Runs of one conversion on one model with the same versions."""

    conversion: str
    model: str
    model_digest: str
    """Eight digits that tell versions of a model of the user's own apart; else nothing."""
    versions: str
    ok: int
    failed: int
    unavailable: int
    why: str | None
    """The failure of the newest run and the line that matters; None where the newest run was ok."""
    last_at: float
    """Start of the newest run, in seconds since the epoch."""


def history(runs: Iterable[tuple[float, Mapping[str, str], Mapping[str, str]]]) -> list[ConversionHistory]:
    """Return how conversions have fared.

    Args:
        runs: Start in seconds since the epoch, params and tags of each conversion's run, in any order.

    Returns:
        One entry for each conversion, model (also of each version of the user's own) and set of versions, ordered by
        them.
    """
    groups: dict[tuple[str, str, str, str], list[tuple[float, Mapping[str, str]]]] = defaultdict(list)
    for started_at, params, tags in runs:
        name = params.get("conversion", "")
        key = name, params.get("model", ""), model_digest(tags), _versions(name, tags)
        groups[key].append((started_at, tags))
    return [_summary(key, sorted(group, key=lambda each: each[0])) for key, group in sorted(groups.items())]


def _versions(name: str, tags: Mapping[str, str]) -> str:
    runtimes = ("torch", *traits_of(name, tags.get("almaflow.family", "")).runtimes)
    return ", ".join(f"{each} {tags[f'env.{each}']}" for each in runtimes if f"env.{each}" in tags)


def _summary(key: tuple[str, str, str, str], runs: list[tuple[float, Mapping[str, str]]]) -> ConversionHistory:
    statuses = [tags.get("almaflow.status") for _, tags in runs]
    last_at, last = runs[-1]
    return ConversionHistory(
        *key,
        ok=statuses.count("ok"),
        failed=statuses.count("failed"),
        unavailable=statuses.count("unavailable"),
        why=None if statuses[-1] == "ok" else _why(last),
        last_at=last_at,
    )


def _why(tags: Mapping[str, str]) -> str:
    kind = tags.get("almaflow.failure", "interrupted")
    line = tags.get("almaflow.failure_message") or tags.get("almaflow.unavailable")
    return f"{kind}: {line}" if line else kind


def show_history(entries: Sequence[Conversion] | None, *, as_json: bool) -> None:
    """Print how each conversion has fared, by model and versions; what failed last is told with its reason.

    Args:
        entries: Only these; None for all that the store has.
        as_json: Print a JSON list instead.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    from almaflow.tracking.reader import conversion_runs

    uri = resolve_uri(None)
    histories = history((run.started_at, run.params, run.tags) for run in conversion_runs(uri))
    if entries is not None:
        names = {entry.name for entry in entries}
        histories = [each for each in histories if each.conversion in names]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in histories], indent=1))
        return
    console = wide_console(120)
    if not histories:
        console.print(f"No conversion has been run yet in {display_uri(uri)}: almaflow run", highlight=False)
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for heading in ("conversion", "model", "versions"):
        table.add_column(heading, overflow="fold")
    for heading in ("ok", "failed", "unavailable"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("last", no_wrap=True)
    table.add_column("why not", overflow="fold")
    for each in histories:
        table.add_row(*map(Text, _cells(each)), style=None if each.why is None else "red")
    console.print(table)


def _cells(each: ConversionHistory) -> tuple[str, ...]:
    last = datetime.fromtimestamp(each.last_at, UTC).strftime("%Y-%m-%d")
    counts = (str(count or "") for count in (each.ok, each.failed, each.unavailable))
    model = f"{each.model}@{each.model_digest}" if each.model_digest else each.model
    return each.conversion, model, each.versions, *counts, last, each.why or ""
