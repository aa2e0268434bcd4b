"""The result of a job, as Python programs get it."""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow.errors import UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import pandas as pd

    from almaflow.analysis.choose import Choice


@dataclass(frozen=True)
class ValidationResult:
    """One model on one machine through its conversions: what ``output=FILE.json`` holds, by the same names."""

    form: int
    """The form of the output, which is raised where a name changes its meaning."""
    almaflow: str
    """The version of almaflow that made it."""
    model: str
    hardware: str
    price_per_hour: float | None
    """USD for an hour of the machine, where its configuration says."""
    price_source: str
    tier: int
    batch_size: int
    threads: int
    job_id: str
    machine: str | None
    """Random ID of the machine that measured it."""
    experiment_name: str
    run_id: str | None
    """The job's MLflow run; None where the store could not be written."""
    interrupted: bool
    environment: dict[str, str]
    measure: dict[str, Any]
    """Settings by which each conversion was measured."""
    notes: list[str]
    """What eager calls showed of the model that changes how it was measured."""
    warnings: list[str]
    """What speaks against the figures, such as a busy machine."""
    conversions: list[dict[str, Any]]
    """One dict for each conversion in plan order: conversion, status, failure, message, traceback, run_id and metrics,
    None if unknown."""
    best_conversion: str | None
    """The fastest whose output is right; None where none is."""
    best_latency_ms: float | None
    """Median of one forward call on one batch."""
    best_speedup_vs_eager: float | None
    """None where the rounds tell too little for one figure, as ``best_speedup_vs_inductor``."""
    best_speedup_vs_inductor: float | None
    inductor_latency_ms: float | None
    """Median of COMPILE_INDUCTOR_DEFAULT in milliseconds; None where it was not measured, or is not right."""
    inductor_error_pct: float | None
    """Error of the prediction for it: 100 (predicted - measured) / measured."""
    tied_with_best: list[str]
    """Conversions that are as fast as the best one, as far as can be told."""
    unclear_beside_best: list[str]
    """Conversions of which the rounds do not tell how they compare with the best one."""
    recommendations: list[dict[str, Any]]
    headroom: float | None
    """How many times faster than COMPILE_INDUCTOR_DEFAULT the best one is; 1 where they are tied, None if unknown."""
    lower_is_better: list[str] | None
    """Figures of quality of which less is better although their names do not say so."""
    pareto: list[str]
    """Conversions on the Pareto front of latency, accuracy (quality where it was evaluated, else fidelity) and size of
    the model: no other is as good in all three, and better in one."""
    choice: dict[str, Any] | None
    """The best ``conversion`` under the job's limits, with its ``value``, what else was ``fitting``, and what was
    ``rejected`` for which reasons; None where the job had no limits."""

    def choose(
        self,
        *,
        max: Mapping[str, float] | None = None,  # noqa: A002 - the words of the settings
        min: Mapping[str, float] | None = None,  # noqa: A002 - the words of the settings
        by: str = "latency_ms",
    ) -> Choice:
        """Choose the best conversion under limits, without measuring again.

        Two are not told apart by their latencies where the 95% intervals of these overlap.

        Args:
            max: The most that metrics may be, by their names: ``{"latency/p99": 20}``.
            min: The least.
            by: The metric by which the best of those that fit is chosen.

        Raises:
            UsageError: there is no such metric.
        """
        from almaflow.analysis.choose import candidates_of, choose, fallen_in
        from almaflow.analysis.metric_names import is_metric, unknown_metric
        from almaflow.records import Choosing

        asked = Choosing(dict(max or {}), dict(min or {}), by)
        for name in (*asked.max, *asked.min, by):
            if not is_metric(name):
                raise UsageError(unknown_metric(name))
        output = self.to_dict()
        return choose(
            candidates_of(output), asked, fallen=fallen_in(output), lower_is_better=self.lower_is_better or ()
        )

    def export(
        self,
        conversion: str | None = None,
        *,
        to: str | os.PathLike[str],
        check: bool = True,
        tracking_uri: str | None = None,
    ) -> Path:
        """Write a converted model that the job has kept as a folder that works without almaflow.

        Args:
            conversion: A name or an alias; by default the best that is kept: under the job's limits, or the fastest.
            to: A directory that is empty or does not exist.
            check: Load it in a fresh process, compare its answer with the job's, and write how long it took to the
                store, as ``almaflow export`` does.
            tracking_uri: The job's store; by default the one that it was written to.

        Returns:
            The directory.

        Raises:
            UsageError: the conversion is not kept, the job was not measured on this machine, or ``to`` is not empty.
            AlmaflowError: the folder cannot be written, or its model answers otherwise than in the job.
        """
        from almaflow.jobs.kept_check import checked
        from almaflow.jobs.kept_export import export_kept, job_of, store_of
        from almaflow.tracking.uris import resolve_uri

        job, _ = job_of(self.job_id, resolve_uri(tracking_uri))
        exported = export_kept(job, conversion, Path(to))
        if check:
            checked(exported, store_of(job, tracking_uri), logging.getLogger("almaflow").warning)
        return exported.directory

    def to_dict(self) -> dict[str, Any]:
        """Return plain data as ``output=FILE.json`` holds them, a copy of its own."""
        return asdict(self)

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas DataFrame: a row for each conversion in plan order, and a column for each field or metric."""
        import pandas as pd

        return pd.DataFrame(deepcopy(self.conversions))

    def print(self, *, tracebacks: bool = False) -> None:
        """Print the table on standard output: the conversions by latency, what failed and why, and the best one.

        Args:
            tracebacks: Whether the traceback of each conversion that raised is printed too.
        """
        from almaflow.report.console import PlainConsole
        from almaflow.report.result import render_result

        render_result(self.to_dict(), PlainConsole(), tracebacks=tracebacks)


def result_of(output: Mapping[str, Any]) -> ValidationResult:
    """Return the result of a job from what ``output=FILE.json`` holds; what an older almaflow did not write is None."""
    values: dict[str, Any] = {each.name: output.get(each.name) for each in fields(ValidationResult)}
    return ValidationResult(**values)
