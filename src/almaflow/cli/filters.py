"""Options that ``almaflow accuracy`` and ``almaflow rescore`` have in common."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.judging import Filter
    from almaflow.records import JudgedRun

OPTIONS = (
    click.option("--model", "models", multiple=True, metavar="PATTERN", help="Only these: resnet18, 'resnet*'."),
    click.option("--hardware", multiple=True, metavar="PATTERN", help="Only these hardware configs."),
    click.option("--conversion", "conversions", multiple=True, metavar="PATTERN", help="Only these: 'ONNX*'."),
    click.option("--experiment", "experiments", multiple=True, metavar="NAME", help="Only these experiments."),
    click.option("--since", metavar="DAY", help="Only what was measured since: 2026-11-26, or 30d."),
    click.option("--uri", "uris", multiple=True, help="Stores to read.  [default: the one `almaflow run` writes to]"),
    click.option("--fresh", is_flag=True, help="Read the whole store again, not only what is new."),
)


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def filter_of(  # noqa: PLR0913 - one for each option
    *,
    models: tuple[str, ...],
    hardware: tuple[str, ...],
    conversions: tuple[str, ...],
    experiments: tuple[str, ...],
    since: str | None,
    predictors: tuple[str, ...] = (),
    named: bool = False,
) -> Filter:
    """What the options mean.

    Raises:
        UsageError: ``--since`` is no time.
    """
    from almaflow.judging import Filter, moment_of

    earliest = None if since is None else moment_of(since)
    return Filter(models, hardware, conversions, predictors, experiments, earliest, named)


def resolved(uris: Sequence[str]) -> list[str]:
    """The stores that are named, or almaflow's own."""
    from almaflow.tracking.uris import resolve_uri

    return [resolve_uri(uri) for uri in uris] or [resolve_uri(None)]


def read(uris: Sequence[str], *, fresh: bool) -> list[JudgedRun]:
    """All judgements of the stores; says on standard error how far it is, where that takes long."""
    from almaflow.judging import judgements
    from almaflow.tracking.uris import display_uri

    # Records hold no cycles, and looking for some among hundreds of thousands takes a fifth of the time.
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)
    console = Console(stderr=True)
    with console.status("reading the store") as status:
        return judgements(
            uris, lambda uri, count: status.update(f"reading {display_uri(uri)}: {count} runs"), fresh=fresh
        )
