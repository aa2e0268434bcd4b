"""``almaflow ui``: MLflow's pages on the store that ``almaflow run`` writes."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from almaflow.errors import AlmaflowError, UsageError
from almaflow.processes.interrupts import as_interrupts
from almaflow.secrets import printable
from almaflow.tracking.store import experiment_link
from almaflow.tracking.ui_pages import link, prepare_pages
from almaflow.tracking.ui_server import HOST, free_port, log_path, serving
from almaflow.tracking.uris import display_uri, is_server, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.tracking.ui_pages import Pages


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: first free one from 5000]")
@click.option("--no-open", is_flag=True, help="Print the link only.")
@click.option("--uri", help="MLflow store or server to show.  [default: the one that `almaflow run` writes to]")
def ui(port: int | None, no_open: bool, uri: str | None) -> None:  # noqa: FBT001 - click passes a flag so
    """Show the runs in MLflow's pages, until Ctrl-C."""
    uri = resolve_uri(uri)
    pages = prepare_pages(uri)
    if not pages:
        message = f"there are no runs in {display_uri(uri)} yet: make some with `almaflow run`"
        raise UsageError(message)
    if is_server(uri):
        _show(uri, pages, no_open=no_open)
        return
    if uri.startswith("databricks"):
        message = "this store is a Databricks workspace: open its Experiments page instead"
        raise UsageError(message)
    port = free_port(port)
    click.echo(f"Starting MLflow on {display_uri(uri)} ...")
    with suppress(KeyboardInterrupt), as_interrupts(signal.SIGTERM, signal.SIGHUP), serving(uri, port) as process:
        _show(f"http://{HOST}:{port}", pages, no_open=no_open)
        click.echo("Ctrl-C ends it.")
        process.wait()
        message = f"MLflow's server ended by itself: see {log_path(port)}"
        raise AlmaflowError(message)
    click.echo("\nMLflow's server has ended.")


def _show(base: str, pages: Sequence[Pages], *, no_open: bool) -> None:
    for each in pages:
        click.echo(f"Experiment {printable(each.experiment)}: {experiment_link(base, each.experiment_id)}")
        for view in each.views:
            click.echo(f"  {printable(view.title)}: {link(base, each.experiment_id, view.key, charts=view.charts)}")
    # Without a display Python falls back to a browser that takes the terminal over.
    has_display = sys.platform in {"darwin", "win32"} or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if has_display and not no_open:
        webbrowser.open(link(base, pages[0].experiment_id, pages[0].views[0].key))
