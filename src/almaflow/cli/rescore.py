"""``almaflow rescore``: another predictor asked about stored measurements, without measuring again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.progress import track

from almaflow.cli.options import Selection, filtered, read_selected
from almaflow.errors import UsageError
from almaflow.report.console import PlainConsole

if TYPE_CHECKING:
    from rich.console import Console

    from almaflow.predict.rescore import Rescorer


@click.command()
@click.argument("overrides", nargs=-1)
@click.option(
    "--run-code", is_flag=True, help="Let predictors build models by the code that the store names; it is shown first."
)
@filtered
def rescore(overrides: tuple[str, ...], run_code: bool, selection: Selection) -> None:  # noqa: FBT001 - click passes a flag so
    """Run the predictors of OVERRIDES (predictor=NAME) on stored measurements, and record their errors.

    The predictions are kept as NAME@VERSION. Models that a predictor has learnt from are left out.
    """
    from almaflow.config.composition import compose
    from almaflow.predict.configured import resolve_predictors
    from almaflow.predict.rescore import Rescorer
    from almaflow.report.accuracy.terminal import render_compared

    predictors = resolve_predictors(compose(overrides))
    if not any(each.lstrip("+").startswith("predict") for each in overrides):
        message = "rescore needs a predictor: almaflow rescore predictor=calibrated"
        raise UsageError(message)
    store, *others = selection.stores
    if others:
        message = "rescore writes into the store that it reads: name one --uri"
        raise UsageError(message)
    runs = [run for run in read_selected(selection) if selection.filter.fits(run)]
    if not runs:
        message = "no stored measurement matches: almaflow accuracy --baselines shows what there is"
        raise UsageError(message)
    console = PlainConsole()
    for predictor in predictors:
        rescorer = Rescorer(store, predictor, lambda text: console.print(f"almaflow: {text}"), run_code)
        list(track(rescorer.ask_about(runs), f"asking {predictor.name}", len(runs), console=PlainConsole(stderr=True)))
        _show_counts(rescorer, console)
        for saved in rescorer.save(runs):
            where = f"{saved.experiment}: kept as run {saved.run_id}, in almaflow accuracy as {saved.predictor}"
            console.print(where, highlight=False)
            for other, comparison in saved.comparisons.items():
                render_compared((saved.predictor, other), comparison, console)


def _show_counts(rescorer: Rescorer, console: Console) -> None:
    count = sum(len(each) for each in rescorer.predictions.values())
    left_out = {
        "said of already": rescorer.already,
        "learnt from": rescorer.learnt_from,
        "without an answer": rescorer.unanswered,
        "without an answer about a model whose code was not run (--run-code)": rescorer.held_back,
        "whose job cannot be read": rescorer.unreadable,
    }
    rest = ", ".join(f"{number} {why}" for why, number in left_out.items() if number)
    console.print(
        f"{rescorer.predictor.name}: {count} measurements judged{f'; {rest}' if rest else ''}", highlight=False
    )
