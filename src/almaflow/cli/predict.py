"""``almaflow predict``: latencies without running, also for hardware that is not here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from almaflow.cli.console import wide_console
from almaflow.cli.options import plotted
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from almaflow.config.schema import JobConfig

NOTHING = (
    "no predictor has an answer: name one (predictor=roofline), on hardware whose limits are known (h100, t4 ...) or "
    "that the store has measurements of"
)


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("overrides", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.option("--explain", is_flag=True, help="Where the predicted time goes, by kinds of operations.")
@click.option("--profile", is_flag=True, help="With --explain: run it here, and show what a profiler measured.")
@plotted
def predict(
    overrides: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - click passes a flag so
    explain: bool,  # noqa: FBT001 - click passes a flag so
    profile: bool,  # noqa: FBT001 - click passes a flag so
    plot: Path | None,
) -> None:
    """Predict by OVERRIDES as `almaflow run` takes them; several values in commas are all tried.

    almaflow predict model=resnet18 hardware=a100,h100,t4 predictor=roofline
    """
    from almaflow.predict.forecast import forecasts
    from almaflow.report import forecast as predicted

    jobs = _jobs(overrides)
    shown: set[str] = set()

    def notify(text: str) -> None:
        if text not in shown:
            shown.add(text)
            click.echo(f"almaflow: {text}", err=True)

    answers = [each for job in jobs for each in forecasts(job, notify)]
    if not answers:
        raise UsageError(NOTHING)
    if as_json:
        click.echo(json.dumps([predicted.to_dict(each) for each in answers], indent=1))
    else:
        console = wide_console(120)
        predicted.render(answers, console)
        for job in jobs if explain or profile else ():
            _explain(job, console, profile=profile)
    if plot is not None:
        predicted.draw(answers, plot)
        click.echo(f"drawn: {plot}", err=True)


def _jobs(overrides: tuple[str, ...]) -> list[JobConfig]:
    from almaflow.config.composition import compose
    from almaflow.config.explain import explain as explained
    from almaflow.config.overrides import expand

    try:
        return [compose(each) for each in expand(overrides)]
    except Exception as error:
        raise explained(error) or error from error


def _explain(job: JobConfig, console: Console, *, profile: bool) -> None:
    """Tables for each conversion: milliseconds by part and by operator, by predictors that tell and by the profiler."""
    from almaflow.config.resolve import obstacle
    from almaflow.predict import with_baselines
    from almaflow.predict.configured import resolve_job
    from almaflow.predict.forecast import questions
    from almaflow.profiling.operators import compared_operators, predicted_parts, profiled_operators
    from almaflow.profiling.parts import by_part
    from almaflow.report.operators import operators_table

    if profile and (reason := obstacle(job.hardware)):
        message = f"--profile runs the model here, and {reason}; leave it out for other hardware"
        raise UsageError(message)
    resolved = resolve_job(job, here=False)
    predictors = with_baselines(resolved.predictors)
    for question in questions(resolved, job.experiment_name):
        columns = {each.name: parts for each in predictors if (parts := predicted_parts(each, question))}
        profiled = profiled_operators(question, console.print) if profile else []
        if profile:
            columns["profiler"] = by_part((each.kind, each.total_ms) for each in profiled)
        if not columns:
            continue
        console.print(Text(f"{question.hardware.name} {question.conversion.name}: ms of one call", style="bold"))
        console.print(_parts_table(columns))
        for each in predictors:
            if compared := compared_operators(each, question, profiled):
                console.print(Text(f"{each.name}, operator by operator, the farthest off first", style="bold"))
                console.print(operators_table(compared))


def _parts_table(columns: dict[str, dict[str, float]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    longest = sorted({part for each in columns.values() for part in each}, key=lambda part: -_largest(columns, part))
    for part in longest:
        table.add_row(part, *(_cell(each.get(part)) for each in columns.values()))
    table.add_row("all", *(_cell(sum(each.values())) for each in columns.values()), style="bold")
    return table


def _largest(columns: dict[str, dict[str, float]], part: str) -> float:
    return max(each.get(part, 0.0) for each in columns.values())


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
