"""``almaflow ui``: MLflow's pages on the store that ``almaflow run`` writes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import click

from almaflow.errors import AlmaflowError, UsageError
from almaflow.machine import home
from almaflow.processes.interrupts import as_interrupts
from almaflow.tracking.store import experiment_link
from almaflow.tracking.ui_views import link, prepare_pages
from almaflow.tracking.uris import artifact_root, display_uri, is_server, resolve_uri

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from almaflow.tracking.ui_views import Pages

HOST = "127.0.0.1"
FIRST_PORT = 5000
PORTS_TRIED = 20
HEALTHY_WITHIN_S = 120.0
ENDED_WITHIN_S = 10.0


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: first free one from 5000]")
@click.option("--no-open", is_flag=True, help="Print the link only.")
@click.option("--uri", help="MLflow store or server to show.  [default: the one that `almaflow run` writes to]")
def ui(port: int | None, no_open: bool, uri: str | None) -> None:  # noqa: FBT001 - click passes a flag so
    """Show the runs in MLflow's pages, until Ctrl-C."""
    uri = resolve_uri(uri)
    found = prepare_pages(uri)
    if found is None:
        message = f"there are no runs in {display_uri(uri)} yet: make some with `almaflow run`"
        raise UsageError(message)
    if is_server(uri):
        _show(uri, found, no_open=no_open)
        return
    if uri.startswith("databricks"):
        message = "this store is a Databricks workspace: open its Experiments page instead"
        raise UsageError(message)
    port = free_port(port)
    click.echo(f"Starting MLflow on {display_uri(uri)} ...")
    with suppress(KeyboardInterrupt), serving(uri, port) as process:
        _show(f"http://{HOST}:{port}", found, no_open=no_open)
        click.echo("Ctrl-C ends it.")
        process.wait()
        message = f"MLflow's server ended by itself: see {_log_path(port)}"
        raise AlmaflowError(message)
    click.echo("\nMLflow's server has ended.")


def _show(base: str, found: Pages, *, no_open: bool) -> None:
    click.echo(f"{found.experiment}: {experiment_link(base, found.experiment_id)}")
    links = [link(base, found.experiment_id, view.key) for view in found.views]
    for view, address in zip(found.views, links, strict=True):
        click.echo(f"{view.title}: {address}")
    # Without a display Python falls back to a browser that takes the terminal over.
    has_display = sys.platform in {"darwin", "win32"} or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if has_display and not no_open:
        webbrowser.open(links[0])


def free_port(wanted: int | None) -> int:
    """The wanted port, or the first free one.

    Raises:
        UsageError: the wanted port, or every port that was tried, is taken.
    """
    ports = [wanted] if wanted else list(range(FIRST_PORT, FIRST_PORT + PORTS_TRIED))
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((HOST, port))
                return port
    taken = f"port {wanted} is" if wanted else f"the ports {ports[0]} to {ports[-1]} are"
    message = f"{taken} taken or not allowed: choose another one with --port"
    raise UsageError(message)


def _log_path(port: int) -> Path:
    return home() / f"ui-{port}.log"


@contextmanager
def serving(uri: str, port: int, workers: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """A healthy MLflow server, ended with the body, which SIGTERM and SIGHUP interrupt as Ctrl-C does.

    Raises:
        AlmaflowError: the server did not start.
    """
    artifacts = artifact_root(uri)
    artifacts.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", str(workers)]
    command += ["--artifacts-destination", str(artifacts)]
    # The store's URI may hold a password, and everybody on a machine sees command lines.
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true"} | os.environ | {"MLFLOW_BACKEND_STORE_URI": uri}
    log_path = _log_path(port)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with as_interrupts(signal.SIGTERM, signal.SIGHUP), log_path.open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=artifacts.parent,  # MLflow leaves files in its working directory
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_healthy(process, port)
            yield process
        finally:
            _end(process)


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int) -> None:
    opener = build_opener(ProxyHandler({}))  # the way to this machine leads through no proxy
    deadline = time.monotonic() + HEALTHY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(URLError, OSError), opener.open(f"http://{HOST}:{port}/health", timeout=2) as answer:
            if answer.status == HTTPStatus.OK:
                return
        time.sleep(0.2)
    message = f"MLflow's server did not start: see {_log_path(port)}"
    raise AlmaflowError(message)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and whatever it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(ENDED_WITHIN_S)
