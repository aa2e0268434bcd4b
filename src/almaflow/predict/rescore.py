"""Judging stored measurements by another predictor, without measuring again."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import yaml

from almaflow.config.calibrations import calibrated_here, learnt_from
from almaflow.config.resolve import configured_limits, resolve_model
from almaflow.config.validation import validate_stored
from almaflow.conversions.catalogue.plan import plan
from almaflow.errors import AlmaflowError
from almaflow.predict import PredictorPool
from almaflow.records import HardwareSpec, PredictionRequest, RecordedPrediction
from almaflow.tracking.accuracy.rescored import label
from almaflow.tracking.reader import downloaded
from almaflow.tracking.training_data import kept_workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from almaflow.config.schema import JobConfig
    from almaflow.predict import Predictor
    from almaflow.records import PlannedConversion, Prediction, ScoredRun, Workload


@dataclass
class Rescorer:
    """One predictor over what was measured."""

    uri: str
    predictor: Predictor
    warn: Callable[[str], None]
    known: int = 0
    """Measurements that it was asked of before in this version, and that have its answer."""
    seen: int = 0
    """Measurements of models that the predictor had learnt from."""
    unreadable: int = 0
    """Measurements whose job's configuration is not there, or is another almaflow's."""
    silent: int = 0
    """Measurements of which it says nothing."""
    made: dict[tuple[str, str], list[tuple[ScoredRun, Prediction]]] = field(default_factory=lambda: defaultdict(list))
    """By experiment and ``NAME@VERSION``: what was learnt on two machines has two versions."""
    _models: dict[str, str] = field(default_factory=dict)
    """Of the runs, by their IDs."""

    def judge(self, runs: Iterable[ScoredRun]) -> Iterator[ScoredRun]:
        """Ask for each of the runs; yields each one as it is done with."""
        jobs: dict[str, list[ScoredRun]] = defaultdict(list)
        for run in runs:
            jobs[run.job_run_id].append(run)
            self._models[run.run_id] = run.model
        asking = PredictorPool(self.warn)
        with tempfile.TemporaryDirectory(prefix="almaflow-rescore-") as scratch:
            for job_run_id, measured in jobs.items():
                config = self._config(job_run_id, scratch)
                if config is None:
                    self.unreadable += len(measured)
                workload = kept_workload(self.uri, job_run_id, scratch)
                for run in measured:
                    if config is not None:
                        self._ask(asking, run, _question(config, workload, run))
                    yield run

    def _ask(self, asking: PredictorPool, run: ScoredRun, question: PredictionRequest) -> None:
        if run.model in self._models_seen(question):
            self.seen += 1
            return
        made = asking.ask(self.predictor, question, early=True)
        if made is None:
            self.silent += 1
        elif (name := label(made.predictor, made.version)) in {said.predictor for said in run.said}:
            self.known += 1
        else:
            self.made[run.experiment, name].append((run, made))

    def _models_seen(self, question: PredictionRequest) -> set[str]:
        """What the predictor has learnt from: it is not judged by these models, however often they were measured."""
        learnt = question.learnt.get(getattr(self.predictor, "source", ""))
        return {self._models[run_id] for run_id in learnt.runs if run_id in self._models} if learnt else set()

    def beside(self, runs: Iterable[ScoredRun], name: str) -> Iterator[ScoredRun]:
        """The runs with what was said of them now among what was said before."""
        now = {run.run_id: made for (_, each), pairs in self.made.items() if each == name for run, made in pairs}
        for run in runs:
            if made := now.get(run.run_id):
                said = RecordedPrediction(name, made.version, made.latency_ms, made.low_ms, made.high_ms)
                yield replace(run, said=(*run.said, said))
            else:
                yield run

    def _config(self, job_run_id: str, scratch: str) -> JobConfig | None:
        try:
            path = downloaded(self.uri, job_run_id, "config.yaml", scratch)
            return validate_stored(yaml.safe_load(path.read_text(encoding="utf-8"))) if path else None
        except (AlmaflowError, yaml.YAMLError, ValueError):
            return None


def _question(config: JobConfig, workload: Workload | None, run: ScoredRun) -> PredictionRequest:
    """What the predictor would have been asked before the run; the hardware is that of the run, not this machine's."""
    threads = int(run.threads.partition(" ")[0])
    calibrated = calibrated_here(run.machine, threads)
    limits = configured_limits(config.hardware) or (calibrated.limits if calibrated else None)
    hardware = HardwareSpec(run.hardware, run.device, threads, config.hardware.description, limits=limits)
    learnt = learnt_from(config.hardware.learnt) or (calibrated.learnt if calibrated else {})
    return PredictionRequest(resolve_model(config), hardware, _planned(run), run.batch_size, workload, learnt=learnt)


def _planned(run: ScoredRun) -> PlannedConversion:
    device = "cuda" if run.device.startswith("cuda") else "cpu"
    (planned,) = plan([run.conversion], 1, device, allow_device_override=True)
    return replace(planned, device=run.device, dtype=run.dtype)
