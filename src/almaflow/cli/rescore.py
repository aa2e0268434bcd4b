"""``almaflow rescore``: stored measurements judged by another predictor, without measuring again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import track

from almaflow.cli.filters import Asked, filtered, read
from almaflow.errors import UsageError

if TYPE_CHECKING:
    from almaflow.predict import Predictor
    from almaflow.predict.rescore import Rescorer
    from almaflow.records import ScoredRun


@click.command()
@click.argument("overrides", nargs=-1)
@filtered
def rescore(overrides: tuple[str, ...], asked: Asked) -> None:
    """Ask the predictors of OVERRIDES (predictor=NAME) of what the store has measured, and keep it beside.

    A predictor is called NAME@VERSION there. What it was learnt from is left out.
    """
    from almaflow.config.composition import compose
    from almaflow.predict.configured import resolve_predictors
    from almaflow.predict.rescore import Rescorer

    predictors = resolve_predictors(compose(overrides))
    if not any(each.lstrip("+").startswith("predict") for each in overrides):
        message = "rescore needs a predictor: almaflow rescore predictor=calibrated"
        raise UsageError(message)
    if len(asked.stores) > 1:
        message = "rescore writes into the store that it reads: name one --uri"
        raise UsageError(message)
    runs = [run for run in read(asked) if asked.filter.fits(run)]
    if not runs:
        message = "nothing was measured that fits: almaflow accuracy --baselines shows what there is"
        raise UsageError(message)
    console = Console()
    for predictor in predictors:
        judged = Rescorer(asked.stores[0], predictor, lambda text: console.print(f"almaflow: {text}", markup=False))
        list(track(judged.judge(runs), f"asking {predictor.name}", len(runs), console=Console(stderr=True)))
        _tell(judged, predictor, console)
        _keep(judged, runs, console)


def _tell(judged: Rescorer, predictor: Predictor, console: Console) -> None:
    made = sum(len(each) for each in judged.made.values())
    left_out = {
        "said of already": judged.known,
        "learnt from": judged.seen,
        "without an answer": judged.silent,
        "whose job cannot be read": judged.unreadable,
    }
    rest = ", ".join(f"{count} {why}" for why, count in left_out.items() if count)
    console.print(f"{predictor.name}: {made} measurements judged{f'; {rest}' if rest else ''}", highlight=False)


def _keep(judged: Rescorer, runs: list[ScoredRun], console: Console) -> None:
    """Write what is new, and compare it with what was said of the same measurements before."""
    from almaflow.accuracy.summary import compared, series_of
    from almaflow.report.accuracy.terminal import render_compared
    from almaflow.tracking.accuracy.rescored import log_rescored

    for (experiment, name), pairs in judged.made.items():
        said = [(run.run_id, made) for run, made in pairs]
        series = series_of(judged.beside(runs, name))
        own = [each for each in series if each.key.predictor == name]
        errors = {
            "rescore/count": float(len(said)),
            "rescore/mean_abs_error_pct": sum(each.summary.mean_abs.value for each in own) / len(own),
        }
        run_id = log_rescored(judged.uri, experiment, said, errors)
        console.print(f"{experiment}: kept as run {run_id}, in almaflow accuracy as {name}", highlight=False)
        others = {each.key.predictor for each in series if each.named and each.key.predictor != name}
        for other in sorted(others):
            render_compared((name, other), compared(series, name, other), console)
