"""``almaflow calibrate``: how fast this machine is, as a hardware config that predictors use."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import click
import yaml
from rich.console import Console

from almaflow.errors import AlmaflowError

TIME_LIMIT_S = 600


@click.command()
@click.option("--name", default="here", show_default=True, help="What the hardware config is called.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to measure with.  [default: the physical cores]")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the config to FILE.yaml too.")
def calibrate(name: str, threads: int | None, output: Path | None) -> None:
    """Measure this machine's CPU in PyTorch: rates by element type, bandwidth by working set, overhead of a call.

    Takes about 15 seconds. Jobs with hardware=auto or hardware=cpu on as many threads use the result from then on.
    """
    from almaflow.config import calibration
    from almaflow.machine import describe
    from almaflow.measure.exclusive import alone

    place, here, console = calibration.place(name), describe(), Console(stderr=True)
    threads = threads or here.threads
    with alone("wait", console.print), console.status(f"measuring with {threads} threads, about 15 seconds"):
        limits = _measured(threads)
    remark = f"Measured by almaflow calibrate, {time.strftime('%Y-%m-%d')}, PyTorch {metadata.version('torch')}"
    text = calibration.text_of(name, here, threads, limits, remark)
    for file in filter(None, (place, output)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    click.echo(yaml.safe_dump({"limits": limits}, sort_keys=False).rstrip())
    click.echo(f"Written: {', '.join(str(file) for file in filter(None, (place, output)))}")


def _measured(threads: int) -> dict[str, object]:
    command = [sys.executable, "-m", "almaflow.measure.limits", str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIME_LIMIT_S)
    except subprocess.TimeoutExpired as error:
        message = f"this machine was not measured in {TIME_LIMIT_S} s; try it when less else runs"
        raise AlmaflowError(message) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        message = f"this machine could not be measured: {last[:300]}"
        raise AlmaflowError(message)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found
