"""``almaflow compare``: runs, jobs or sweeps side by side, and the gate of a change."""

from __future__ import annotations

import math
from functools import cache, partial
from typing import TYPE_CHECKING

import click

from almaflow.cli.compare_profiles import are_profiles
from almaflow.errors import ALERT, UsageError
from almaflow.secrets import printable
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.analysis.compare import Comparison, Side
    from almaflow.analysis.gate import Judged

FORMATS = ("table", "markdown", "html", "csv", "json")
GATED = ("table", "markdown", "json")
"""Formats that have a place for the verdict of the gate."""
TWO = 2


@click.command()
@click.argument("what", nargs=-1)
@click.option("--filter", "filters", multiple=True, help="Instead of an ID: runs by MLflow's filter; give it twice.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--all", "everything", is_flag=True, help="Every metric, not only those that people decide by.")
@click.option("--fail-above", type=click.FloatRange(0), metavar="PCT",
              help="Exit 3 where a metric is worse by more, beyond noise.")  # fmt: skip
@click.option("--metric", "metrics", multiple=True, metavar="NAME[=PCT]",
              help="With --fail-above: a metric, with its own limit or not.  [default: latency/floor]")  # fmt: skip
@click.option("--uri", help="MLflow store or server to read.  [default: the one that `almaflow run` writes to]")
def compare(  # noqa: PLR0913, PLR0917 - one for each option
    what: tuple[str, ...],
    filters: tuple[str, ...],
    kind: str,
    everything: bool,  # noqa: FBT001 - click passes a flag so
    fail_above: float | None,
    metrics: tuple[str, ...],
    uri: str | None,
) -> int:
    """Compare two runs, jobs, sweeps or profiles by their IDs (WHAT); give the baseline first.

    Conversions are paired by model, batch size and name; the totals of profiles by function and conversion. A
    difference in latency counts where the intervals of both have no point in common.

    Exit code 3: a metric that --fail-above or --metric gave a limit became worse than that; 2: no verdict.
    """
    from almaflow.analysis.compare import compare as compare_sides
    from almaflow.analysis.compare import pair
    from almaflow.report import compare as report
    from almaflow.report.console import PlainConsole
    from almaflow.report.gate import gate_lines, gate_markdown

    if len(what) + len(filters) != TWO:
        message = "compare takes two things: IDs of runs, jobs or sweeps, or --filter given twice"
        raise UsageError(message)
    if are_profiles(what, kind, gated=bool(metrics) or fail_above is not None):
        return 0
    limits = _limits(fail_above, metrics)
    if limits and kind not in GATED:
        message = f"--format {kind} has no place for the gate's verdict: take {', '.join(GATED)}"
        raise UsageError(message)
    uri = resolve_uri(uri)
    before, after = [_sides(uri, each, "") for each in what] + [_sides(uri, "", each) for each in filters]
    pairs, alone = pair(before, after)
    comparisons = [compare_sides(*each, everything=everything) for each in pairs]
    judged = _judged(uri, before, comparisons, limits) if limits else []
    if kind == "table":
        console = PlainConsole()
        report.render_comparisons(comparisons, alone, console)
        for line in ("", *gate_lines(judged)) if judged else ():
            click.echo(printable(line))
    elif kind == "markdown":
        text = report.comparisons_markdown(comparisons, alone)
        click.echo(gate_markdown(judged, before[0].label, after[0].label, text) if judged else text)
    elif kind == "json":
        click.echo(report.comparisons_json(comparisons, alone, judged))
    else:
        click.echo(printable(report.comparisons_table(comparisons, kind)))
    return _exit_code(judged)


def _limits(fail_above: float | None, metrics: Sequence[str]) -> dict[str, float]:
    """Return the most that each metric may become worse; none where no gate was asked for."""
    from almaflow.analysis.metric_names import is_metric, unknown_metric

    limits: dict[str, float] = {}
    for given in metrics or (("latency/floor",) if fail_above is not None else ()):
        name, own, limit = given.partition("=")
        if not is_metric(name):
            message = f"--metric {unknown_metric(name)}"
            raise UsageError(message)
        if not own and fail_above is None:
            message = f"--metric {name} needs a limit: --fail-above 5, or --metric {name}=5"
            raise UsageError(message)
        limits[name] = _limit(name, limit if own else fail_above)
    return limits


def _limit(name: str, given: object) -> float:
    try:
        limit = float(str(given))
    except ValueError:
        limit = math.nan
    if not (math.isfinite(limit) and limit >= 0):
        message = f"the limit of {name} must be a number from 0 on, and is {given}"
        raise UsageError(message)
    return limit


def _judged(
    uri: str, before: Sequence[Side], comparisons: Sequence[Comparison], limits: dict[str, float]
) -> list[Judged]:
    """Judge every conversion that counted.

    Raises:
        UsageError: the two cannot be compared, or there is nothing to judge.
    """
    from almaflow.analysis.gate import gate
    from almaflow.records.quality import is_quality_metric
    from almaflow.tracking.resumable import stored_outcome

    of_quality = any(map(is_quality_metric, limits))
    for each in comparisons:
        if why := (*each.incomparable, *(each.other_evaluation if of_quality else ())):
            message = f"no gate between {each.before.label} and {each.after.label}: {'; '.join(why)}"
            raise UsageError(message)
    if not comparisons:
        message = f"{before[0].label} and the other have no conversion of the same model and batch size in common"
        raise UsageError(message)
    outcome_of = cache(partial(stored_outcome, uri))
    judged = gate(before, comparisons, limits, lambda side: outcome_of(side.run_id))
    if not judged:
        message = f"{before[0].label}: no conversion has a latency that counts, so that nothing can become worse"
        raise UsageError(message)
    return judged


def _exit_code(judged: Sequence[Judged]) -> int:
    """Return the exit code of the gate's verdicts.

    Raises:
        UsageError: nothing failed, and what may have become worse could not be judged.
    """
    from almaflow.analysis.gate import FAILED, undecided

    if any(each.verdict == FAILED for each in judged):
        return ALERT
    if open_ones := undecided(judged):
        message = (
            f"no verdict: {len(open_ones)} of {len(judged)} could not be judged, the first one is {open_ones[0].why}"
        )
        raise UsageError(message)
    return 0


def _sides(uri: str, named: str, where: str) -> list[Side]:
    """Return the newest result of each conversion of a run, job or sweep, or of a filter."""
    from almaflow.analysis.compare import Side
    from almaflow.tracking.reader import conversion_runs, runs_of

    runs = runs_of(uri, named) if named else list(conversion_runs(uri, where=where))
    if not runs:
        message = f"{named or where}: no such run, job or sweep with conversions in this store"
        raise UsageError(message)
    label = named or where
    newest: dict[tuple[str, ...], Side] = {}
    for run in runs:  # the newest first
        facts = {f"params.{key}": value for key, value in run.params.items()}
        facts |= {f"tags.{key}": value for key, value in run.tags.items()}
        side = Side(label, run.params.get("conversion", ""), run.metrics, facts, run.run_id)
        newest.setdefault(side.conditions, side)
    return list(newest.values())
