"""``almaflow profile``: a function of an application, cut into graphs and measured in several conversions."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from almaflow.errors import AlmaflowError, UsageError
from almaflow.processes.interrupts import as_interrupts
from almaflow.secrets import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.fleet.segments import FleetSegmentJobs
    from almaflow.jobs.segments import SegmentJobs
    from almaflow.segments.session import ProfilingSession

    Jobs = tuple[SegmentJobs | None, tuple[FleetSegmentJobs, ...]]

MEASURE = ("quick", "default", "thorough")
DEFAULT = "local/tier1"


class _Profile(click.Group):
    """Takes a first word that is no command for the application to record."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command in front that records, where none is named."""
        if args and args[0] not in {*self.commands, "--help", "-h"}:
            args = ["record", *args]
        return super().parse_args(ctx, args)


def _measuring(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of measuring."""
    for option in (
        click.option(
            "--measure",
            type=click.Choice(MEASURE),
            default="default",
            show_default=True,
            help="How long each segment is measured.",
        ),
        click.option(
            "--time-budget",
            type=click.FloatRange(0),
            metavar="S",
            help="Begin no further segment after so many seconds.",
        ),
        click.option("--experiment", default="almaflow", show_default=True, help="The MLflow experiment."),
        click.option("--uri", help="MLflow store or server to write to.  [default: as `almaflow run`]"),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help="Anything else as `almaflow run` takes it, such as fleet=ray and fleet.address=HOST:PORT.",
        ),
    ):
        command = option(command)
    return command


@click.group(cls=_Profile, subcommand_metavar="APP.py [OPTIONS] -- ARGS | measure ... | show ...")
def profile() -> None:
    """Record a function of an application, and measure its graphs in several conversions.

    `almaflow profile APP.py --function NAME -- ARGS` runs the application once, as it is; no line of it needs to be
    changed. Then each graph that PyTorch captures in the function is measured as a job.
    """


@profile.command()
@click.argument("app", type=click.Path(path_type=Path))
@click.option(
    "--function", "functions", multiple=True, required=True, metavar="NAME", help="A function of APP, or Class.method."
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    default=[DEFAULT],
    show_default=True,
    help="local/CONVERSION or local/tier2; with a fleet MACHINE/CONVERSION.",
)
@click.option("--no-measure", is_flag=True, help="Only record.")
@click.option("--verify", "verifies", is_flag=True, help="Then run calls with the best conversions in place.")
@_measuring
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def record(  # noqa: PLR0913 - a command's options
    *,
    app: Path,
    functions: tuple[str, ...],
    backends: tuple[str, ...],
    no_measure: bool,
    verifies: bool,
    arguments: tuple[str, ...],
    **settings: Any,
) -> int:
    """Run APP, record its functions, and measure them."""
    from almaflow.segments.application import decorated, run_application
    from almaflow.segments.session import ProfilingSession

    if verifies and no_measure:
        message = "--verify: needs what --no-measure leaves out; give one of them"
        raise UsageError(message)
    code = decorated(app, functions)
    jobs = _jobs(backends, **settings)  # before the application runs: a name may be wrong
    session = ProfilingSession((), print_to=sys.stderr)
    try:
        with session:
            run_application(app, code, arguments)
    except SystemExit as error:  # the application said how it ended
        if error.code not in {None, 0}:
            click.echo(f"almaflow: {app} ended with exit code {error.code}; recorded: {session.profile_id}", err=True)
            return AlmaflowError.exit_code
    if no_measure:
        click.echo(
            f"Profile: {session.profile_id}; to measure it: almaflow profile measure {session.profile_id} {DEFAULT}"
        )
        return 0
    return _measured(session.files.root, jobs, settings["time_budget"], session if verifies else None)


@profile.command()
@click.argument("profile_id", metavar="PROFILE")
@click.argument("backends", nargs=-1, required=True)
@_measuring
def measure(*, profile_id: str, backends: tuple[str, ...], **settings: Any) -> int:
    """Measure a recorded PROFILE in BACKENDS, such as local/ONNX_CPU or local/tier2, without running its application.

    What was measured before, in this or in another profile, is not measured again.
    """
    from almaflow.profiles.files import MeasuredFiles

    root = MeasuredFiles.of(profile_id).recorded.root
    return _measured(root, _jobs(backends, **settings), settings["time_budget"])


@profile.command()
@click.argument("profile_id", metavar="PROFILE")
@click.option("--verbose", is_flag=True, help="Every segment with all its conversions.")
@click.option("--graphs", is_flag=True, help="The code of each graph.")
def show(profile_id: str, *, verbose: bool, graphs: bool) -> None:
    """Show what the functions of a PROFILE take, and where their time goes."""
    from almaflow.profiles.files import MeasuredFiles
    from almaflow.profiles.report import ProfileReport

    files = MeasuredFiles.of(profile_id)
    report = ProfileReport.of(files.recorded.root)
    report.print(verbose=verbose)
    if graphs:
        for piece in files.workload().pieces.values():
            code = files.recorded.segment_dir(piece.segment_id) / "graph.py"
            click.echo(f"\n# {piece.segment_id}, {piece.location}, {piece.what}")
            click.echo(printable(code.read_text(encoding="utf-8")) if code.is_file() else "# not kept")


def _jobs(
    backends: tuple[str, ...],
    *,
    measure: str,
    experiment: str,
    uri: str | None,
    overrides: tuple[str, ...],
    **_others: object,
) -> Jobs:
    from almaflow.fleet.segments import has_fleet, jobs_of
    from almaflow.segments.backends import resolve_backends

    found, notes = resolve_backends(backends, fleet=has_fleet(overrides))
    for line in notes:
        click.echo(line, err=True)
    return jobs_of(found, measure=measure, tracking_uri=uri, experiment_name=experiment, overrides=overrides)


def _measured(root: Path, jobs: Jobs, time_budget_s: float | None, verified: ProfilingSession | None = None) -> int:
    """Measure a profile, repeat calls of a session that is still here, and print the report."""
    from almaflow import machine
    from almaflow.profiles.files import MeasuredFiles
    from almaflow.profiles.measure import measure_profile
    from almaflow.profiles.report import ProfileReport

    def tell(line: str) -> None:
        click.echo(line, err=True)

    with as_interrupts(signal.SIGTERM, signal.SIGHUP):
        here, there = jobs
        measure_profile(root, here, fleet=there, time_budget_s=time_budget_s, tell=tell)
        try:
            if verified:
                from almaflow.profiles.verify import ROUNDS, verify

                uri = next(each.uri for each in (here, *there) if each)
                verify(verified, MeasuredFiles.of(root), uri, ROUNDS, tell)
        finally:  # what was measured is shown, whatever the application raises when its calls are repeated
            ProfileReport.of(root).print()
    # By its name alone a profile is found in the usual home only.
    known_by = root.name if root.parent.resolve() == (machine.home() / "profiles").resolve() else root
    click.echo(f"Profile: {known_by}; all of it: almaflow profile show {shlex.quote(str(known_by))} --verbose")
    return 0
