"""``almaflow calibrate``: how fast this machine is, as a hardware config that predictors use."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import click
import yaml
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from almaflow.errors import TrackingError, UsageError
from almaflow.report.console import PlainConsole

LINE_EVERY = 100
"""Steps between two lines of progress where there is no terminal."""


@click.command()
@click.option("--name", default="here", show_default=True, help="Name of the hardware config.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="What to measure.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads to measure with.  [default: the physical cores]")
@click.option("--conversions", help="Calibrate these, separated by commas.  [default: eager, inductor, ONNX, OpenVINO]")
@click.option("--quick", is_flag=True, help="Only the machine's limits, in 20 seconds: enough for roofline.")
@click.option("--history", is_flag=True, help="Measure nothing: correct by the models that the store has measured.")
@click.option("--operators", is_flag=True, help="Time single operators of ONNX and OpenVINO, in ten minutes; goes on.")
@click.option(
    "--for",
    "models",
    multiple=True,
    metavar="OVERRIDE",
    help="Time the operators of a model of your own, e.g. model=resnet18; more for its other overrides. Takes seconds.",
)
@click.option("--experiment", default="almaflow", show_default=True, help="Experiment to learn from and register in.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the config to FILE.yaml too.")
def calibrate(  # noqa: PLR0913 - click passes each option
    *,
    name: str,
    device: str,
    threads: int | None,
    conversions: str | None,
    quick: bool,
    history: bool,
    operators: bool,
    models: tuple[str, ...],
    experiment: str,
    output: Path | None,
) -> None:
    """Measure this machine's CPU or GPU: its limits in PyTorch, and what operations cost by each conversion.

    Takes ten minutes on two cores, in which nothing else should run. Jobs on that device with as many threads use the
    result from then on, and predictor=calibrated predicts by it.
    """
    from almaflow.calibration import calibrate as calibration
    from almaflow.config.calibrations import check_writable, config_path, text_of
    from almaflow.config.composition import compose
    from almaflow.config.resolve import resolve_hardware

    if models or operators:
        if quick or history or output:
            message = "--for and --operators time operators only: leave out --quick, --history and --output"
            raise UsageError(message)
        if models and operators:
            message = "--for times the operators of models, --operators those of drawn layers: give one of them"
            raise UsageError(message)
        _time_operators(models, device, threads, conversions)
        return
    if history and (quick or conversions):
        message = "--history measures nothing: leave out --quick and --conversions"
        raise UsageError(message)
    files = [config_path(name), *([output] if output else [])]
    check_writable(files)
    with _Display() as display:
        if history:
            calibrated = calibration.learn_from_history(name, experiment, display)
        else:
            hardware = resolve_hardware(compose([f"hardware={device}", f"hardware.threads={threads or 'null'}"]))
            names = conversions.split(",") if conversions else None
            plan = () if quick else calibration.conversions_to_calibrate(names, device)
            calibrated = calibration.calibrate_machine(name, hardware, plan, display)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text_of(calibrated), encoding="utf-8")
    click.echo(yaml.safe_dump({"limits": calibrated.measured}, sort_keys=False, default_flow_style=None).rstrip())
    click.echo(f"Written: {', '.join(map(str, files))}")
    if quick:
        return
    try:
        display.notify(calibration.register(calibrated, "history" if history else "kernels", experiment))
    except TrackingError as error:  # the config is as good without a version in the registry
        display.notify(f"almaflow: {error}")


def _time_operators(models: tuple[str, ...], device: str, threads: int | None, conversions: str | None) -> None:
    """Time the operators of models, or of drawn layers where none is named."""
    from almaflow.calibration.operators.configs import time_configs
    from almaflow.calibration.operators.models import time_models, timed_conversions
    from almaflow.config.composition import compose
    from almaflow.config.explain import explain
    from almaflow.config.overrides import expand
    from almaflow.config.resolve import resolve_hardware

    if device != "cpu":
        message = "operators are timed one by one on the CPU only; leave out --device"
        raise UsageError(message)
    plan = timed_conversions(conversions.split(",") if conversions else None)
    more = [f"hardware.threads={threads}"] if threads else []
    try:
        jobs = [compose([*each, *more]) for each in expand(models)]
    except Exception as error:
        raise explain(error) or error from error
    with _Display() as display:
        if models:
            tables = time_models(jobs, plan, display)
        else:
            tables = time_configs(resolve_hardware(compose(["hardware=cpu", *more])), plan, display)
    for table in tables:
        click.echo(f"{table.conversion}: {len(table.entries)} operators timed with {table.threads} threads")


class _Display:
    """Progress on standard error: a bar for the steps of timing, a spinner for everything else."""

    def __init__(self) -> None:
        self._console = PlainConsole(stderr=True)
        self._spinner = self._console.status("")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console, refresh_per_second=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        self._spinner.stop()

    def notify(self, text: str) -> None:
        self._console.print(text)

    def status(self, text: str) -> None:
        self._bar.stop()
        self._spinner.update(text)
        self._spinner.start()

    def timing(self, text: str, steps: int, total: int) -> None:
        if not self._bar.tasks:
            self._spinner.stop()
            self._bar.add_task(text, total=total)
            self._bar.start()
        (task,) = self._bar.tasks
        self._bar.update(task.id, description=text, advance=steps)
        if not self._console.is_terminal and task.completed % LINE_EVERY == 0:
            self.notify(f"{text}: {task.completed:.0f} of {total}, {task.elapsed or 0:.0f} s")
