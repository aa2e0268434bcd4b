"""``almaflow accuracy``: how far predictions were off over time, and what changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from almaflow.cli.console import wide_console
from almaflow.cli.options import Selection, filtered, plotted, read_selected
from almaflow.errors import ALERT, UsageError
from almaflow.report.console import PlainConsole

if TYPE_CHECKING:
    from almaflow.accuracy.series import Series


@click.command()
@filtered
@click.option("--predictor", "predictors", multiple=True, metavar="PATTERN", help="Only these, baselines included.")
@click.option("--baselines", is_flag=True, help="Also show the baselines that every job records.")
@click.option(
    "--against", type=click.Choice(["floor", "median"]), default="floor", show_default=True,
    help="Compare with this latency: floor repeats from day to day, median is what users see.",
)  # fmt: skip
@click.option(
    "--compare", nargs=2, metavar="ONE OTHER", help="Compare two predictors on measurements that both predicted."
)
@click.option("--false-alarm-rate", type=click.FloatRange(0, 0.5, min_open=True), default=0.001, show_default=True,
              help="Probability of reporting a step that is not there.")  # fmt: skip
@click.option("--fail-above", type=click.FloatRange(0, min_open=True), metavar="PCT",
              help="Exit 3 if a mean absolute error since the last change exceeds PCT.")  # fmt: skip
@click.option("--fail-on-regression", is_flag=True, help="Exit 3 if an error has recently stepped up.")
@click.option("--by", type=click.Choice(["hardware", "machine"]), default="hardware", show_default=True,
              help="Pool the machines of a hardware config, or show each machine by itself.")  # fmt: skip
@click.option("--recent", type=click.IntRange(1), default=10, show_default=True,
              help="How many points back a step still counts as recent.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Show every series, not only the most notable ones.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as data.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with pictures.")
@plotted
@click.option("--track", is_flag=True, help="Update the run of each series in MLflow.")
def accuracy(  # noqa: PLR0913, PLR0917 - one for each option
    selection: Selection,
    predictors: tuple[str, ...],
    baselines: bool,  # noqa: FBT001 - click passes a flag so
    against: str,
    compare: tuple[str, str] | None,
    false_alarm_rate: float,
    fail_above: float | None,
    fail_on_regression: bool,  # noqa: FBT001
    by: str,
    recent: int,
    everything: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    html: Path | None,
    plot: Path | None,
    track: bool,  # noqa: FBT001
) -> int:
    """Show how far predictions were from measurements, by model, hardware, conversion and predictor, over time.

    Exit code 3: an alert that --fail-above or --fail-on-regression asked for.
    """
    from almaflow.accuracy.alerts import alerts
    from almaflow.accuracy.filter import by_machine
    from almaflow.accuracy.summary import Against, compared, series_of
    from almaflow.report.accuracy import terminal as report
    from almaflow.report.accuracy.data import to_dict

    others = selection.filter.since is not None or against != "floor" or len(selection.stores) > 1 or by != "hardware"
    if track and others:
        message = "--track keeps whole series against the floor: leave out --since, --against, --by and a second --uri"
        raise UsageError(message)
    wanted = replace(
        selection.filter, predictors=predictors or compare or (), named=not (baselines or predictors or compare)
    )
    runs = read_selected(selection)
    selected = map(wanted.through, runs)
    series = series_of(map(by_machine, selected) if by == "machine" else selected, Against(against), false_alarm_rate)
    if not series:
        fitting = [run for run in runs if wanted.fits(run)]
        raise UsageError(report.nothing(fitting, selection.stores, named=bool(predictors or compare)))
    news = list(alerts(series, fail_above, recent, regressions=fail_on_regression))
    both = compared(series, *compare) if compare else None
    console = wide_console(140)
    if as_json:
        data = to_dict(series, news, selection.stores, Against(against), false_alarm_rate, (compare, both))
        click.echo(json.dumps(data, indent=1))
    else:
        report.render(series, console, against=against, everything=everything)
        if compare:
            report.render_compared(compare, both, console)
    _write(series, html, plot, against)
    if track:
        _track(series, selection.stores[0])
    report.render_alerts(news, PlainConsole(stderr=True) if as_json else console)
    return ALERT if any(alert.fails for alert in news) else 0


def _write(series: list[Series], html: Path | None, plot: Path | None, against: str) -> None:
    if html is not None:
        from almaflow.report.accuracy.page import page

        html.write_text(page(series, against), encoding="utf-8")
        click.echo(f"written: {html}", err=True)
    if plot is not None:
        from almaflow.report.accuracy.pictures import draw

        draw(series, plot)
        click.echo(f"drawn: {plot}", err=True)


def _track(series: list[Series], store: str) -> None:
    from almaflow.tracking.accuracy.series_runs import track

    written = track(store, series)
    click.echo(f"tracked: {written} of {len(series)} series have new points", err=True)
