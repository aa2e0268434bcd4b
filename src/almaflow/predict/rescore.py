"""Ask another predictor about stored measurements, without measuring again."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING

import yaml

from almaflow.accuracy.summary import compared, series_of
from almaflow.config.calibrations import calibrated_here, learnt_from
from almaflow.config.resolve import configured_limits, resolve_model
from almaflow.config.validation import validate_stored
from almaflow.conversions.catalogue.plan import plan
from almaflow.errors import AlmaflowError, UsageError
from almaflow.predict import PredictorPool
from almaflow.predict.stored_models import as_data, code_of
from almaflow.records import HardwareSpec, PredictionRequest, RecordedPrediction
from almaflow.tracking.accuracy.rescored import label, log_rescored
from almaflow.tracking.reader import downloaded
from almaflow.tracking.training_data import kept_workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from almaflow.config.schema import JobConfig
    from almaflow.predict import Predictor
    from almaflow.records import PlannedConversion, Prediction, ScoredRun, Workload
    from almaflow.stats import Paired


@dataclass(frozen=True)
class Rescored:
    """New predictions of one experiment's measurements, as a run in the store."""

    experiment: str
    predictor: str
    """The predictor's name and version, as ``NAME@VERSION``."""
    run_id: str
    comparisons: dict[str, Paired | None]
    """The errors beside those of each other predictor that a job had named, over the same measurements."""


@dataclass
class Rescorer:
    """Asks one predictor about measurements of a store, and keeps its answers there."""

    uri: str
    predictor: Predictor
    notify: Callable[[str], None]
    run_code: bool = False
    """Whether predictors may build models by code that the stored configurations name."""
    already: int = 0
    """Measurements that have an answer of the predictor in this version."""
    learnt_from: int = 0
    """Measurements of models that the predictor had learnt from."""
    unreadable: int = 0
    """Measurements whose job's configuration is not there, or is another almaflow's."""
    unanswered: int = 0
    """Measurements that the predictor has no answer about."""
    held_back: int = 0
    """Measurements without an answer whose model was given without the code that builds it."""
    predictions: dict[tuple[str, str], list[tuple[ScoredRun, Prediction]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """New predictions by experiment and ``NAME@VERSION``: costs learnt on two machines have two versions."""
    _models: dict[str, str] = field(default_factory=dict)
    """The models of the runs by the runs' IDs."""

    def ask_about(self, runs: Iterable[ScoredRun]) -> Iterator[ScoredRun]:
        """Ask about each of the runs, and yield each run when that is done."""
        jobs: dict[str, list[ScoredRun]] = defaultdict(list)
        for run in runs:
            jobs[run.job_run_id].append(run)
            self._models[run.run_id] = run.model
        pool = PredictorPool(self.notify)
        with tempfile.TemporaryDirectory(prefix="almaflow-rescore-") as scratch:
            configs = {each: self._config(each, scratch) for each in jobs} if self.run_code else {}
            self._show_code(configs.values())
            for job_run_id, measured in jobs.items():
                config = configs[job_run_id] if self.run_code else self._config(job_run_id, scratch)
                workload = kept_workload(self.uri, job_run_id, scratch)
                for run in measured:
                    question = _question(config, workload, run, run_code=self.run_code) if config else None
                    if question:
                        self._ask(pool, run, question)
                    else:
                        self.unreadable += 1
                    yield run

    def _ask(self, pool: PredictorPool, run: ScoredRun, question: PredictionRequest) -> None:
        if run.model in self._models_learnt_from(question):
            self.learnt_from += 1
            return
        prediction = pool.ask(self.predictor, question, early=True)
        if prediction is None and question.model == as_data(question.model):
            self.held_back += 1
        elif prediction is None:
            self.unanswered += 1
        elif (name := label(prediction.predictor, prediction.version)) in {each.predictor for each in run.said}:
            self.already += 1
        else:
            self.predictions[run.experiment, name].append((run, prediction))

    def _show_code(self, configs: Iterable[JobConfig | None]) -> None:
        """Show what predictors may run, before they run it."""
        models = (resolve_model(config) for config in configs if config)
        for code in sorted({code for model in models for code in code_of(model)}):
            self.notify(f"may run what the store names: {code}")

    def _models_learnt_from(self, question: PredictionRequest) -> set[str]:
        """Return the models that the predictor learnt from: no measurement of them can test it."""
        learnt = question.learnt.get(getattr(self.predictor, "source", ""))
        return {self._models[run_id] for run_id in learnt.runs if run_id in self._models} if learnt else set()

    def save(self, runs: Sequence[ScoredRun]) -> Iterator[Rescored]:
        """Write the new predictions, a run for each experiment and version, and compare them with earlier ones.

        Args:
            runs: The runs that the predictor was asked about.

        Raises:
            TrackingError: the store cannot be reached or written.
        """
        for (experiment, name), pairs in self.predictions.items():
            same = (answers for (_, predictor), answers in self.predictions.items() if predictor == name)
            new = {run.run_id: each for answers in same for run, each in answers}
            series = series_of(_with_predictions(runs, name, new))
            own = [each for each in series if each.key.predictor == name]
            metrics = {
                "rescore/count": float(len(pairs)),
                "rescore/mean_abs_error_pct": fmean(each.summary.mean_abs.value for each in own),
            }
            run_id = log_rescored(self.uri, experiment, [(run.run_id, each) for run, each in pairs], metrics)
            others = {each.key.predictor for each in series if each.named and each.key.predictor != name}
            comparisons = {other: compared(series, name, other) for other in sorted(others)}
            yield Rescored(experiment, name, run_id, comparisons)

    def _config(self, job_run_id: str, scratch: str) -> JobConfig | None:
        try:
            path = downloaded(self.uri, job_run_id, "config.yaml", scratch)
            if path is None:
                return None
            config = validate_stored(yaml.safe_load(path.read_text(encoding="utf-8")))
            resolve_model(config)  # it may lack what a model needs
        except (AlmaflowError, yaml.YAMLError, ValueError, TypeError, AttributeError):
            return None
        return config


def _with_predictions(runs: Iterable[ScoredRun], name: str, new: dict[str, Prediction]) -> Iterator[ScoredRun]:
    """Yield the runs, each with its new prediction beside the earlier ones; ``new`` is by the runs' IDs."""
    for run in runs:
        if each := new.get(run.run_id):
            prediction = RecordedPrediction(name, each.version, each.latency_ms, each.low_ms, each.high_ms)
            yield replace(run, said=(*run.said, prediction))
        else:
            yield run


def _question(
    config: JobConfig, workload: Workload | None, run: ScoredRun, *, run_code: bool
) -> PredictionRequest | None:
    """Return the request that the predictor would have got before the run, about the run's hardware.

    Without ``run_code`` a model that is more than a built-in architecture is given by its name and inputs only. None
    where the run lacks what it takes, or its conversion is one that is unknown here.
    """
    try:
        threads, planned = int(run.threads.partition(" ")[0]), _planned(run)
    except (ValueError, UsageError):
        return None
    model = resolve_model(config)
    if not run_code and code_of(model):
        model = as_data(model)
    calibrated = calibrated_here(run.machine, threads)
    limits = configured_limits(config.hardware) or (calibrated.limits if calibrated else None)
    hardware = HardwareSpec(run.hardware, run.device, threads, config.hardware.description, limits=limits)
    learnt = learnt_from(config.hardware.learnt) or (calibrated.learnt if calibrated else {})
    return PredictionRequest(model, hardware, planned, run.batch_size, workload, learnt=learnt)


def _planned(run: ScoredRun) -> PlannedConversion:
    device = "cuda" if run.device.startswith("cuda") else "cpu"
    (planned,) = plan([run.conversion], 1, device, allow_device_override=True)
    return replace(planned, device=run.device, dtype=run.dtype)
