"""``almaflow predict``: latencies without running, also for hardware that is not here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from almaflow.config import JobConfig

WIDTH = 120
"""Columns of the table where there is no terminal to ask."""

NOTHING = (
    "no predictor has an answer: name one (predictor=roofline), on hardware whose limits are known (h100, t4 ...) or "
    "that the store has measurements of"
)


@click.command(context_settings={"ignore_unknown_options": False})
@click.argument("overrides", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects.")
@click.option("--explain", is_flag=True, help="Where the predicted time goes, by class of operations.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw them: FILE.svg, .png or .pdf.")
def predict(
    overrides: tuple[str, ...],
    as_json: bool,  # noqa: FBT001 - click passes a flag so
    explain: bool,  # noqa: FBT001 - click passes a flag so
    plot: Path | None,
) -> None:
    """Predict by OVERRIDES as `almaflow run` takes them; several values in commas are all tried.

    almaflow predict model=resnet18 hardware=a100,h100,t4 predictor=roofline
    """
    from almaflow.forecasting import forecasts
    from almaflow.report import predicted

    if plot is not None and plot.suffix.lower() not in {".svg", ".png", ".pdf"}:
        message = f"--plot {plot}: must end in .svg, .png or .pdf"
        raise UsageError(message)
    jobs = _jobs(overrides)
    told: set[str] = set()

    def warn(text: str) -> None:
        if text not in told:
            told.add(text)
            click.echo(f"almaflow: {text}", err=True)

    found = [each for job in jobs for each in forecasts(job, warn)]
    if not found:
        raise UsageError(NOTHING)
    if as_json:
        click.echo(json.dumps([predicted.to_dict(each) for each in found], indent=1))
    else:
        console = Console()
        if not console.is_terminal:
            console.width = max(console.width, WIDTH)
        predicted.render(found, console)
        for job in jobs if explain else ():
            _explain(job, console)
    if plot is not None:
        predicted.draw(found, plot)
        click.echo(f"drawn: {plot}", err=True)


def _jobs(overrides: tuple[str, ...]) -> list[JobConfig]:
    from almaflow.config import compose, expand
    from almaflow.config import explain as explained

    try:
        return [compose(each) for each in expand(overrides)]
    except Exception as error:
        raise explained(error) or error from error


def _explain(job: JobConfig, console: Console) -> None:
    from almaflow.config import resolve_predictors
    from almaflow.forecasting import by_kind, questions
    from almaflow.predict import with_baselines

    for question in questions(job, lambda _: None):
        for predictor in with_baselines(resolve_predictors(job)):
            rows = by_kind(predictor, question)
            if not rows:
                continue
            total = sum(ms for _, _, ms in rows)
            title = f"{question.hardware.name} {question.conversion.name}: {total:.3g} ms by {predictor.name}"
            console.print(Text(title, style="bold"))
            table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim")
            for header in ("operations", "count", "ms", "share"):
                table.add_column(header, justify="left" if header == "operations" else "right")
            for kind, count, ms in rows:
                table.add_row(kind, str(count), f"{ms:.3g}", f"{ms / total:.0%}")
            console.print(table)
