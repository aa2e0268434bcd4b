"""Runs the jobs of recorded segments on a machine of a fleet: all are sent at once, and recorded as they end."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow.config.composition import compose
from almaflow.config.overrides import override
from almaflow.config.schema import FleetEngine
from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet.adopt import job_files, resumed
from almaflow.fleet.coordinate import Coordinator
from almaflow.fleet.display import FleetDisplay
from almaflow.fleet.engines import open_engine
from almaflow.fleet.make import account, check_address, make_order, prepare_store
from almaflow.fleet.matching import offered
from almaflow.jobs.segments import SegmentJobs, settings_of
from almaflow.records.kept_order import Kept
from almaflow.records.order import INTERRUPTED
from almaflow.records.profile import LOCAL
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from almaflow.config.schema import JobConfig
    from almaflow.fleet.engine import Engine
    from almaflow.fleet.make import Made
    from almaflow.records import Job, ModelSpec
    from almaflow.records.profile import Backend


def has_fleet(overrides: Sequence[str]) -> bool:
    """Whether overrides of ``almaflow run`` name a fleet, whose machines backends may name.

    Raises:
        UsageError: a setting is unknown.
    """
    return compose(["model=custom", *overrides]).fleet.engine is not FleetEngine.none


def jobs_of(
    backends: Sequence[Backend],
    *,
    measure: str = "default",
    tracking_uri: str | None = None,
    experiment_name: str = "almaflow",
    overrides: Sequence[str] = (),
) -> tuple[SegmentJobs | None, tuple[FleetSegmentJobs, ...]]:
    """Return what runs the jobs of segments on this machine, where a backend names it, and on each other one.

    Args:
        backends: What segments are measured in, on any machines; eager is always one of them.
        measure: The preset of the measurement's settings.
        tracking_uri: An MLflow tracking URI; by default the store that ``almaflow run`` writes to.
        experiment_name: The MLflow experiment.
        overrides: Anything else as ``almaflow run`` takes it, such as the fleet.

    Raises:
        UsageError: a setting is unknown, or no machine of the fleet is what a backend names; nothing was measured.
        AlmaflowError: the fleet cannot be reached.
    """
    here = None
    there = []
    for machine in dict.fromkeys(each.machine for each in backends):
        own = [each for each in backends if each.machine == machine]
        given = settings_of(own, measure=measure, tracking_uri=tracking_uri, experiment_name=experiment_name)
        if machine == LOCAL:
            here = SegmentJobs(
                own,
                measure=measure,
                tracking_uri=tracking_uri,
                experiment_name=experiment_name,
                overrides=overrides,
            )
        else:
            # Its hardware comes last: a choice among the overrides is that of this machine.
            there.append(FleetSegmentJobs(machine, compose([*given, *overrides, override("hardware", machine)])))
    if there:
        there[0].check_offered([each.machine for each in there])
    return here, tuple(there)


class FleetSegmentJobs:
    """Jobs on one machine of a fleet that have all in common but the segment.

    Args:
        machine: Name of the hardware config that the machine has to match.
        config: The configuration of the jobs, which names a fleet.
    """

    def __init__(self, machine: str, config: JobConfig) -> None:
        self.machine = machine
        self.conversions = tuple(str(each) for each in config.conversions or ())
        self.experiment_name = config.experiment_name
        self.uri = resolve_uri(config.tracking.uri)
        self._config = config

    def check_offered(self, kinds: Sequence[str]) -> None:
        """Refuse hardware configs that no machine of the fleet matches.

        Raises:
            UsageError: so it is; the line says who offers what.
            AlmaflowError: the fleet cannot be reached.
        """
        check_address(self._config)
        with closing(self._engine(account())) as engine:
            machines = engine.machines()
        for kind in kinds:
            if not any(kind in each.kinds for each in machines):
                has = f"it has {offered(machines)}" if machines else "it has none: join one with almaflow fleet join"
                message = f"backend {kind}/...: no machine of the fleet is one; {has}"
                raise UsageError(message)

    def _engine(self, user: str) -> Engine:
        fleet = self._config.fleet
        return open_engine(str(fleet.engine), fleet.address, fleet.quota, fleet.user or user)

    def run(self, models: Sequence[ModelSpec]) -> Iterator[tuple[str, Job | AlmaflowError]]:
        """Send a job for each segment, and yield the segment's ID with its job, or with why it has none, as they end.

        The same order of an earlier time is not sent again: its job is taken, or waited for.

        Raises:
            UsageError: something must not be sent.
            AlmaflowError: the fleet cannot be reached, or the store on this machine is broken.
            KeyboardInterrupt: interrupted; what was measured by then was yielded.
        """
        if not models:
            return
        orders = {_segment(each): self._order(each) for each in models}
        prepare_store(next(iter(orders.values())).request)
        sent: dict[str, Made] = {}
        for segment, made in orders.items():
            kept = resumed(made.kept)
            if kept and kept.state is Kept.recorded:
                yield segment, job_files(kept).read_job()
            else:
                sent[segment] = replace(made, kept=kept) if kept else made
        if sent:
            yield from self._followed(sent)

    def _order(self, model: ModelSpec) -> Made:
        return make_order(
            self._config,
            kind=self.machine,
            model=model,
            profile_id=model.segment.profile_id if model.segment else None,
            warn=logging.getLogger("almaflow").warning,
        )

    def _followed(self, sent: Mapping[str, Made]) -> Iterator[tuple[str, Job | AlmaflowError]]:
        """Send orders by the IDs of their segments, and yield what became of each."""
        by_order = {made.kept.order.order_id: segment for segment, made in sent.items()}
        kept = [made.kept for made in sent.values()]
        files = {sha256: path for made in sent.values() for sha256, path in made.files.items()}
        engine = self._engine(kept[0].order.user)
        display = FleetDisplay({order_id: f"segment {segment}" for order_id, segment in by_order.items()})
        interrupted = False
        with closing(engine), closing(display):
            for ended in Coordinator(engine, display, dict.fromkeys(by_order, self.uri)).run(kept, files):
                segment = by_order[ended.kept.order.order_id]
                interrupted = interrupted or ended.code == INTERRUPTED
                if ended.job is not None:
                    yield segment, ended.job
                elif ended.code != INTERRUPTED:
                    error = UsageError if ended.code == UsageError.exit_code else AlmaflowError
                    yield segment, error(ended.error or "the order has no result")
        if interrupted:
            raise KeyboardInterrupt


def _segment(model: ModelSpec) -> str:
    return model.segment.segment_id if model.segment else model.name
