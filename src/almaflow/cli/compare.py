"""``almaflow compare``: runs, jobs or sweeps side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from almaflow.errors import UsageError
from almaflow.secrets import printable
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from almaflow.analysis.compare import Side

FORMATS = ("table", "markdown", "html", "csv", "json")
TWO = 2


@click.command()
@click.argument("what", nargs=-1)
@click.option("--filter", "filters", multiple=True, help="Instead of an ID: runs by MLflow's filter; give it twice.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--all", "everything", is_flag=True, help="Every metric, not only those that people decide by.")
@click.option("--uri", help="MLflow store or server to read.  [default: the one that `almaflow run` writes to]")
def compare(
    what: tuple[str, ...],
    filters: tuple[str, ...],
    kind: str,
    everything: bool,  # noqa: FBT001 - click passes a flag so
    uri: str | None,
) -> None:
    """Compare two runs, jobs or sweeps by their IDs (WHAT); give the baseline first.

    Conversions are paired by model, batch size and name. A difference in latency counts where the intervals of both
    have no point in common.
    """
    from almaflow.analysis.compare import compare as compare_sides
    from almaflow.analysis.compare import pair
    from almaflow.report import compare as report
    from almaflow.report.console import PlainConsole

    if len(what) + len(filters) != TWO:
        message = "compare takes two things: IDs of runs, jobs or sweeps, or --filter given twice"
        raise UsageError(message)
    uri = resolve_uri(uri)
    before, after = [_sides(uri, each, "") for each in what] + [_sides(uri, "", each) for each in filters]
    pairs, alone = pair(before, after)
    comparisons = [compare_sides(*each, everything=everything) for each in pairs]
    if kind == "table":
        report.render_comparisons(comparisons, alone, PlainConsole())
    elif kind == "markdown":
        click.echo(report.comparisons_markdown(comparisons, alone))
    elif kind == "json":
        click.echo(report.comparisons_json(comparisons, alone))
    else:
        click.echo(printable(report.comparisons_table(comparisons, kind)))


def _sides(uri: str, named: str, where: str) -> list[Side]:
    """Return the newest result of each conversion of a run, job or sweep, or of a filter."""
    from almaflow.analysis.compare import Side
    from almaflow.tracking.reader import conversion_runs, runs_of

    runs = runs_of(uri, named) if named else list(conversion_runs(uri, where=where))
    if not runs:
        message = f"{named or where}: no such run, job or sweep with conversions in this store"
        raise UsageError(message)
    label = named or where
    newest: dict[tuple[str, str, str], Side] = {}
    for run in runs:  # the newest first
        facts = {f"params.{key}": value for key, value in run.params.items()}
        facts |= {f"tags.{key}": value for key, value in run.tags.items()}
        side = Side(label, run.params.get("conversion", ""), run.metrics, facts)
        newest.setdefault(side.workload, side)
    return list(newest.values())
