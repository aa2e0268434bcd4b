"""Time the operators of a user's own models, so that predictions of these models need no model to be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.calibration.operators.fill import SOURCE, busy_warning, fill_table, table_here, wanted_operators
from almaflow.conversions.catalogue.plan import plan
from almaflow.errors import AlmaflowError, UsageError
from almaflow.machine.lock import alone
from almaflow.predict.configured import resolve_job
from almaflow.predict.operators.graphs import graph_of
from almaflow.predict.operators.versions import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.calibration.calibrate import CalibrationProgress
    from almaflow.config.schema import JobConfig
    from almaflow.records import HardwareSpec, PlannedConversion
    from almaflow.records.operators import Operator, OperatorTable


def timed_conversions(names: Sequence[str] | None) -> tuple[PlannedConversion, ...]:
    """Return the conversions of these names, or all whose operators can be timed here.

    Raises:
        UsageError: one is unknown, cannot run here, or has no operators that could be timed alone.
    """
    conversions = plan(list(names or RUNTIMES), 1, "cpu", allow_device_override=False)
    for each in conversions:
        if each.name not in RUNTIMES:
            message = f"--conversions {each.name}: operators are timed one by one for {', '.join(RUNTIMES)} only"
            raise UsageError(message)
        if names and each.unavailable:
            message = f"--conversions {each.name}: cannot run here ({each.unavailable})"
            raise UsageError(message)
    return tuple(each for each in conversions if not each.unavailable)


def time_models(
    jobs: Sequence[JobConfig], conversions: Sequence[PlannedConversion], progress: CalibrationProgress
) -> list[OperatorTable]:
    """Add the operators of models to this machine's tables, and return the tables.

    Args:
        jobs: Validated configurations, of which the models and the hardware count.
        conversions: The conversions to time operators of.
        progress: Shows how far it is.

    Raises:
        UsageError: a model does not build, or a configuration describes other hardware.
        AlmaflowError: a model could not be converted by any of the conversions.
    """
    resolved = [resolve_job(job, here=True) for job in jobs]
    hardware = resolved[0].hardware
    if hardware.device != "cpu" or any(each.hardware.threads != hardware.threads for each in resolved):
        message = "--for: operators are timed on the CPU, with one number of threads at a time; calibrate others apart"
        raise UsageError(message)
    tables = []
    for conversion in conversions:
        operators: list[Operator] = []
        for each in resolved:
            progress.status(f"finding the operators of {each.model.name} by {conversion.name}")
            try:
                operators += graph_of(each.model, conversion, hardware.threads).operators
            except UsageError:
                raise
            except AlmaflowError as error:
                progress.notify(str(error))
        if operators:
            tables.append(_filled(conversion.name, hardware, operators, progress))
    if not tables:
        message = "nothing was timed: no conversion of these models succeeded"
        raise AlmaflowError(message)
    return tables


def _filled(
    conversion: str, hardware: HardwareSpec, operators: Sequence[Operator], progress: CalibrationProgress
) -> OperatorTable:
    with alone("wait", progress.notify):
        table = table_here(conversion, hardware)  # with what the one that was waited for has added
        total = len(wanted_operators(table, operators, again=True))
        if table.rest_is_wanted:
            progress.status(f"timing calls of {conversion}")
        table = fill_table(
            table,
            operators,
            SOURCE,
            progress.notify,
            lambda steps: progress.timing(f"timing operators of {conversion}", steps, total),
        )
    if warning := busy_warning(table, operators, "the same command on a quieter machine times these again"):
        progress.notify(warning)
    return table
