"""Options that several commands have in common."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from almaflow.errors import UsageError
from almaflow.report.console import PlainConsole

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.accuracy.filter import Filter
    from almaflow.records import ScoredRun

PICTURES = {".svg", ".png", ".pdf"}
OPTIONS = (
    click.option("--model", "models", multiple=True, metavar="PATTERN", help="Only these: resnet18, 'resnet*'."),
    click.option("--hardware", multiple=True, metavar="PATTERN", help="Only these hardware configs."),
    click.option("--conversion", "conversions", multiple=True, metavar="PATTERN", help="Only these: 'ONNX*'."),
    click.option("--experiment", "experiments", multiple=True, metavar="NAME", help="Only these experiments."),
    click.option("--since", metavar="DAY", help="Only what was measured since: 2026-11-26, or 30d."),
    click.option("--uri", "uris", multiple=True, help="Stores to read.  [default: the one `almaflow run` writes to]"),
    click.option("--fresh", is_flag=True, help="Read the whole store again, not only what is new."),
)


@dataclass(frozen=True)
class Selection:
    """The scored runs that the options select."""

    filter: Filter
    stores: tuple[str, ...]
    """The stores to read, resolved."""
    fresh: bool


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that select scored runs, as one argument ``selection``."""

    @wraps(command)
    def with_selection(  # noqa: PLR0913 - one for each option
        *,
        models: tuple[str, ...],
        hardware: tuple[str, ...],
        conversions: tuple[str, ...],
        experiments: tuple[str, ...],
        since: str | None,
        uris: tuple[str, ...],
        fresh: bool,
        **others: Any,
    ) -> Any:
        from almaflow.accuracy.filter import Filter, moment_of
        from almaflow.tracking.uris import resolve_uri

        earliest = None if since is None else moment_of(since)
        chosen = Filter(models, hardware, conversions, experiments=experiments, since=earliest)
        stores = tuple(resolve_uri(uri) for uri in uris) or (resolve_uri(None),)
        return command(selection=Selection(chosen, stores, fresh), **others)

    for option in reversed(OPTIONS):
        with_selection = option(with_selection)
    return with_selection


def _picture(_: click.Context, __: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() not in PICTURES:
        message = f"--plot {path}: must end in .svg, .png or .pdf"
        raise UsageError(message)
    return path


plotted = click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_picture,
    help="Draw it: FILE.svg, .png or .pdf.",
)
"""Gives a command the option ``--plot``: a file whose name says that it is a picture."""


def read_selected(selection: Selection) -> list[ScoredRun]:
    """Read all scored runs of the selected stores, and show on standard error how far that is."""
    from almaflow.tracking.accuracy.history import scored_history
    from almaflow.tracking.uris import display_uri

    # Records hold no cycles, and searching hundreds of thousands for some takes a fifth of the time.
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)
    console = PlainConsole(stderr=True)
    with console.status("reading the store") as status:
        return scored_history(
            selection.stores,
            lambda uri, count: status.update(Text(f"reading {display_uri(uri)}: {count} runs")),
            fresh=selection.fresh,
        )
