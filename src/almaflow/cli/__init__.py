"""The command line. Each command lives in a module of its own, loaded when it is called."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module

import click

from almaflow.cli.streams import drop_lost_readers
from almaflow.cli.surroundings import existing_directory, show_warnings, writable_home
from almaflow.errors import AlmaflowError
from almaflow.secrets import mask, printable

COMMANDS = {
    "run": "Measure a model through its conversions (Hydra overrides and flags).",
    "conversions": "List the conversions, and whether each can run here.",
    "models": "List the models that the configs offer.",
    "hardware": "Show what this machine is, and the hardware configs.",
    "calibrate": "Measure how fast this machine is, for predictors.",
    "predict": "Predict latencies without running, also for hardware that you do not have.",
    "accuracy": "Show how far predictions were off over time, and why that changed.",
    "rescore": "Run another predictor on stored measurements, without measuring again.",
    "compare": "Compare runs, jobs or sweeps: what differs, and whether it is more than noise.",
    "report": "Write a job or a sweep as one HTML file to send.",
    "export": "Write a converted model of a job as a folder that works without almaflow.",
    "profile": "Record a function of an application, and measure its graphs in several conversions.",
    "fleet": "Measure on more than one machine: a head, machines that join it, and their queue.",
    "sync": "Write to the store what it missed while it could not be reached.",
    "ui": "Open the MLflow UI on the store.",
    "doctor": "Check the installation.",
}
INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended, as shells give it: 128 + SIGINT."""


class _Lazy(click.Group):
    """Loads a command's module only when it is called, so that every command starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"almaflow.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(context: click.Context, _: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click passes a flag so
    if asked and not context.resilient_parsing:
        from almaflow.records.distribution import distribution

        click.echo(f"almaflow, version {distribution().version}")
        context.exit()


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def almaflow() -> None:
    """Benchmark a PyTorch model under many ways of deploying it, each one an MLflow run.

    Exit codes: 0 done, 1 the job failed, 2 wrong input, 3 an alert or limits that nothing meets, 130 interrupted.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line: one line for what a user can mend, a traceback for our own bugs.

    A reader of the output that goes away changes nothing, and the exit code is the command's own.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] in (["-sc"], ["--shell-completion"]):  # how the shell asks, whatever the command
        arguments = ["run", *arguments]
    show_warnings()
    output = drop_lost_readers()
    code = _exit_code(arguments)
    if output:
        sys.stdout.flush()
        if output.full and arguments[:1] != ["run"]:  # of a job the store has everything
            code = code or AlmaflowError.exit_code
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    try:
        with writable_home(), existing_directory():
            code = almaflow.main(arguments, prog_name="almaflow", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except AlmaflowError as error:
        click.echo(f"almaflow: {error}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("almaflow: interrupted", err=True)
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - our own bug, whose text may repeat what the user gave
        click.echo(printable(mask(traceback.format_exc())), err=True, nl=False)
        return AlmaflowError.exit_code
    return code if isinstance(code, int) else 0
