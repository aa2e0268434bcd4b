"""Runs one job on a fleet, for a caller in Python."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet.coordinate import Coordinator
from almaflow.fleet.display import FleetDisplay
from almaflow.fleet.engines import open_engine
from almaflow.fleet.make import make_order, prepare_store
from almaflow.records.order import INTERRUPTED
from almaflow.report.terminal import show_table

if TYPE_CHECKING:
    from almaflow.config.schema import JobConfig
    from almaflow.fleet.coordinate import Display
    from almaflow.fleet.make import Made
    from almaflow.records import Job, ModelSpec
    from almaflow.records.order import OrderEvent


WARNING = "warning: "
"""Begins the line of an event that is a warning."""


class Silent:
    """A display that only warns, through the logger ``almaflow``."""

    def event(self, event: OrderEvent) -> None:
        """Warn of what the machine warns of."""
        if event.line.startswith(WARNING):
            logging.getLogger("almaflow").warning(event.line.removeprefix(WARNING))

    def note(self, order_id: str, line: str) -> None:
        """Warn of what a store could not take."""
        logging.getLogger("almaflow").warning("%s", f"{order_id}: {line}" if order_id else line)

    def close(self) -> None:
        """End."""


def run_model(job_config: JobConfig, model: ModelSpec, *, verbose: bool) -> Job:
    """Let a machine of a fleet measure a model whose files are written.

    Raises:
        UsageError: something in the configuration is wrong, no machine may run it, or the model does not run there.
        AlmaflowError: the fleet cannot be reached, or there is no result.
        KeyboardInterrupt: interrupted before anything was measured.
    """
    display: Display = FleetDisplay({}) if verbose else Silent()
    with closing(display):
        made = make_order(job_config, kind=_kind(job_config), model=model, warn=lambda line: display.note("", line))
        job = run_one(made, display)
    if verbose:
        show_table(job)
    return job


def _kind(job: JobConfig) -> str | None:
    """Return the choice of ``hardware``: by its name where it is of a certain machine, else by its device."""
    hardware = job.hardware
    return hardware.name if hardware.cpu_match or hardware.gpu_match else str(hardware.device)


def run_one(made: Made, display: Display) -> Job:
    """Send an order, follow it to its end, and return the job that came of it, which is recorded.

    Raises:
        UsageError: no machine may run it, or the model does not build or run there.
        AlmaflowError: the fleet cannot be reached, or the order has no result.
        KeyboardInterrupt: interrupted before anything was measured.
    """
    prepare_store(made.request)
    kept = made.kept
    engine = open_engine(kept.engine, kept.address, made.job.fleet.quota, kept.order.user)
    with closing(engine):
        (ended,) = Coordinator(engine, display, {kept.order.order_id: made.request.uri}).run([kept], made.files)
    if ended.job is not None:
        return ended.job
    if ended.code == INTERRUPTED:
        raise KeyboardInterrupt
    error = UsageError if ended.code == UsageError.exit_code else AlmaflowError
    raise error(ended.error or "the order has no result")
