"""``almaflow calibrate``: how fast this machine is, as a hardware config that predictors use."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from almaflow.config.calibrations import Calibration
from almaflow.errors import TrackingError, UsageError

if TYPE_CHECKING:
    from almaflow.calibration.calibrate import KernelTimes
    from almaflow.records import HardwareSpec, LearnedCosts, PlannedConversion


LINE_EVERY = 100
"""Steps between two lines of progress where there is no terminal."""


@click.command()
@click.option("--name", default="here", show_default=True, help="What the hardware config is called.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="What to measure.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to measure with.  [default: the physical cores]")
@click.option("--conversions", help="Calibrate these, separated by commas.  [default: eager, inductor, ONNX, OpenVINO]")
@click.option("--quick", is_flag=True, help="Only the machine's limits, in 20 seconds: enough for roofline.")
@click.option("--history", is_flag=True, help="Measure nothing: learn again, with the models that the store has.")
@click.option("--experiment", default="almaflow", show_default=True, help="Whose models, and where versions go.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the config to FILE.yaml too.")
def calibrate(  # noqa: PLR0913 - click passes each option
    *,
    name: str,
    device: str,
    threads: int | None,
    conversions: str | None,
    quick: bool,
    history: bool,
    experiment: str,
    output: Path | None,
) -> None:
    """Measure this machine's CPU or GPU: its limits in PyTorch, and what operations cost by each conversion.

    Takes ten minutes on two cores, in which nothing else should run. Jobs on that device with as many threads use the
    result from then on, and predictor=calibrated predicts by it.
    """
    from almaflow.calibration import calibrate as calibrating
    from almaflow.config import calibrations as calibration
    from almaflow.config.composition import compose
    from almaflow.config.resolve import resolve_hardware

    if history and (quick or conversions):
        message = "--history measures nothing: leave out --quick and --conversions"
        raise UsageError(message)
    place, console = calibration.place(name), Console(stderr=True)
    for file in filter(None, (place, output)):
        _check_writable(file)
    if history:
        made = _with_history(name, experiment, console)
    else:
        hardware = resolve_hardware(compose([f"hardware={device}", f"hardware.threads={threads or 'null'}"]))
        plan = () if quick else calibrating.planned(conversions.split(",") if conversions else None, device)
        made = _measured(name, hardware, plan, console)
    text = calibration.text_of(made)
    for file in filter(None, (place, output)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    click.echo(yaml.safe_dump({"limits": made.measured}, sort_keys=False, default_flow_style=None).rstrip())
    click.echo(f"Written: {', '.join(str(file) for file in filter(None, (place, output)))}")
    if not quick:
        _register(made, "history" if history else "kernels", experiment, console)


def _check_writable(file: Path) -> None:
    """Find out before minutes of measuring."""
    there = next(each for each in (file.absolute(), *file.absolute().parents) if each.exists())
    if not os.access(there, os.W_OK) or (there != file.absolute() and not there.is_dir()):
        message = f"{file}: cannot be written"
        raise UsageError(message)


def _measured(name: str, hardware: HardwareSpec, plan: tuple[PlannedConversion, ...], console: Console) -> Calibration:
    from almaflow.calibration import calibrate as calibrating
    from almaflow.machine import describe
    from almaflow.machine.lock import alone

    device, threads, here = hardware.device, hardware.threads, describe()
    processor = here.processor(device)
    with alone("wait", console.print):
        with console.status(f"measuring the limits with {threads} threads, about 20 seconds"):
            limits = calibrating.limits_of(threads, device)
        times = _timed(plan, threads, console) if plan else None
    learnt = {} if times else _learnt_before(name, processor, threads)
    if times:
        calibrating.keep(name, times)
        with console.status("learning what operations cost") as status:
            learnt["kernels"] = calibrating.learn(
                times, tell=lambda conversion: status.update(f"learning {conversion}")
            )
    remark = f"Measured by almaflow calibrate, {time.strftime('%Y-%m-%d')}, PyTorch {metadata.version('torch')}"
    description = f"{here.cpu}, {here.physical_cores} cores"
    if device == "cuda":
        description = f"{processor} beside {description}"
    return Calibration(name, device, processor, description, threads, limits, learnt, remark)


def _learnt_before(name: str, processor: str, threads: int) -> dict[str, LearnedCosts]:
    """What --quick leaves as it is."""
    from almaflow.config import calibrations as calibration

    with suppress(UsageError):
        found = calibration.read(name)
        return found.learnt if (found.processor, found.threads) == (processor, threads) else {}
    return {}


def _timed(plan: tuple[PlannedConversion, ...], threads: int, console: Console) -> KernelTimes:
    from almaflow.calibration import calibrate as calibrating
    from almaflow.calibration.timing import PASSES, time_kernels

    networks = calibrating.networks(plan)
    steps = sum(len(each) for each in networks.values()) * (1 + PASSES)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, refresh_per_second=1) as progress:
        number = progress.add_task("building", total=steps)
        (task,) = progress.tasks

        def tell(what: str, count: int) -> None:
            progress.update(number, description=what, advance=count)
            if not console.is_terminal and task.completed % LINE_EVERY == 0:
                console.print(f"{what}: {task.completed:.0f} of {steps}, {task.elapsed or 0:.0f} s", markup=False)

        timed = time_kernels(networks, threads, tell)
    for conversion, network, why in timed.failed:
        console.print(f"{conversion} did not build {network}: {why}", markup=False)
    return calibrating.kernel_times(timed, plan[0].device)


def _with_history(name: str, experiment: str, console: Console) -> Calibration:
    from almaflow.calibration import calibrate as calibrating
    from almaflow.config import calibrations as calibration

    times, found = calibrating.kept(name), calibration.read(name)
    if "kernels" not in found.learnt:
        message = f"nothing to correct: run `almaflow calibrate --name {name}` first, without --quick"
        raise UsageError(message)
    with console.status("reading the store"):
        models = calibrating.measured(experiment, found)
    with console.status("learning what operations cost") as status:
        before = found.learnt["kernels"].backends
        learnt = calibrating.learn(times, models, before, lambda conversion: status.update(f"learning {conversion}"))
    console.print(f"learnt from {len(models)} measurements of {len({each.model for each in models})} models")
    return replace(found, learnt=found.learnt | {"history": learnt})


def _register(made: Calibration, source: str, experiment: str, console: Console) -> None:
    """A version in MLflow's registry; without one the config is as good."""
    from almaflow.calibration.calibrate import register

    try:
        console.print(register(made, source, experiment), markup=False)
    except TrackingError as error:
        console.print(f"almaflow: {error}", markup=False)
