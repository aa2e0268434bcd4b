"""``almaflow.validate``: a job from Python, for a model that is in hand."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow.analysis import to_output
from almaflow.api.results import result_of
from almaflow.errors import AlmaflowError
from almaflow.jobs.artifacts import write_output
from almaflow.jobs.request import make_request
from almaflow.jobs.run import run_job
from almaflow.jobs.strictness import shortfalls
from almaflow.measure.progress import Progress
from almaflow.models.handover import Inputs, name_of, write_model
from almaflow.records import ModelSpec
from almaflow.report.progress import TerminalProgress
from almaflow.report.terminal import announce, show_places

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import torch

    from almaflow.api.results import ValidationResult
    from almaflow.records import Job, Outcome


def validate(  # noqa: PLR0913, PLR0917 - the settings of a job, each of which has a default
    model: torch.nn.Module | Callable[[], torch.nn.Module],
    example_input: torch.Tensor | Sequence[object] | Mapping[str, object] | None = None,
    model_name: str | None = None,
    hardware: str = "auto",
    tier: int = 2,
    conversions: Sequence[str | int] | None = None,
    predicted_latency_ms: float | None = None,
    predicted_energy_j: float | None = None,
    data_loader: Iterable[object] | None = None,
    *,
    example_kwargs: Mapping[str, object] | None = None,
    batch_size: int | None = None,
    batch_dim: int | None = 0,
    padding_mask: str | None = None,
    attention_mask: str | None = None,
    seed: int = 0,
    measure: str = "default",
    tracking_uri: str | None = None,
    experiment_name: str = "almaflow",
    fail_fast: bool = False,
    allow_device_override: bool = True,
    evaluate: str | None = None,
    choose: Mapping[str, Any] | None = None,
    keep: str | Sequence[str | int] | None = None,
    strict: bool = False,
    output: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    verbose: bool = False,
) -> ValidationResult:
    """Measure a model through its conversions, each one an MLflow run, as ``almaflow run`` does.

    Every conversion is built, timed and compared with eager PyTorch in a fresh process, which gets the model by
    ``cloudpickle``: a class that a script or a notebook defines works, and the calling script is not imported again,
    so it needs no ``__main__`` guard. The model in hand is not changed.

    Example::

        import almaflow, torch

        model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
        result = almaflow.validate(model, torch.randn(1, 3, 32, 32), model_name="tiny", tier=1)
        print(result.best_conversion, result.best_latency_ms)
        print(result.to_frame()[["conversion", "status", "latency_ms"]])

    Args:
        model: A module, or a callable without arguments that builds one in each worker, with the same weights every
            time (PyTorch is seeded with ``seed`` before). A module on a GPU is copied to the CPU first, and of one
            that ``torch.compile`` wrapped the original is taken. It is measured in evaluation mode. Other weights make
            it another model, with which earlier figures are not compared: seed random ones.
        example_input: A tensor, the batch dimension first; a tuple or list of the arguments by position where the
            model takes several; or a mapping of the arguments by name, as a tokenizer gives it. An argument may hold
            tensors in tuples, lists, dictionaries and dataclasses, also None, numbers and text, which stay as they
            are. A tuple or list that is one argument stands in a tuple: ``([first, second],)``. Further batches to
            compare outputs on are made of it by permuting the elements of each tensor with a generator seeded by
            ``seed``, those of masks within each row, which keeps type, shape and range of values. A model that does
            not run on a permutation (of offsets, say) needs a ``data_loader``.
        model_name: What the figures are filed under; by default the name of the class or function.
        hardware: ``"auto"``, ``"cpu"``, ``"cuda"``, or a named machine such as ``"H100"`` or ``"Intel-i7-12700K"``
            (``almaflow hardware`` lists them), which this machine then has to be.
        tier: 1 quick, 2 core, 3 everything that can run here.
        conversions: Names, aliases or numbers of ``almaflow conversions`` in the order to run them, instead of the
            tier's.
        predicted_latency_ms: Predicted milliseconds of one forward call on one batch, to compare with the measurement.
        predicted_energy_j: Predicted joules of one forward call on one batch.
        data_loader: An iterable over batches, which all have the same sizes: tensors, tuples or lists (inputs first,
            then labels, which ``evaluate="top1"`` judges outputs by), or mappings, of which the keys that
            are parameters of the model are given by name, but for optional ``labels``, ``label``, ``targets`` and
            ``target``. Its first batches of ``batch_size`` are used instead of ``example_input``; beside it,
            ``example_input`` only says how many tensors the model takes, which are those that it requires where it is
            not given.
        example_kwargs: Arguments by name beside ``example_input``, as ``torch.export.export`` takes them.
        batch_size: Samples in a batch; by default the first dimension of the first tensor, which it has to agree with.
        batch_dim: The batch dimension of the inputs, such as 1 for (length, batch, features); None where they have
            none. An input of another size there is taken for one that has none, such as a shared mask.
        padding_mask: Name of the input (N, L) whose elements are other than zero where there is padding, as PyTorch's
            ``src_key_padding_mask``: outputs at these places are not judged.
        attention_mask: Name of the input (N, L) whose elements are zero where there is padding, as transformers'.
        seed: Of PyTorch's generator before a callable builds the model, and of the permutations.
        measure: ``"quick"``, ``"default"`` or ``"thorough"``.
        tracking_uri: An MLflow tracking URI; by default ``MLFLOW_TRACKING_URI``, else the store in almaflow's home.
        experiment_name: The MLflow experiment, created where it is new.
        fail_fast: Stop at the first conversion that fails.
        allow_device_override: Let a conversion run on another device than the hardware's where it knows no other.
        evaluate: What the outputs are worth on the labels of ``data_loader``: ``"top1"`` and its like
            (docs/quality.md), or the import path of a function, such as ``"my_package.figures"``. Its further settings
            are ``overrides``: ``["evaluate.max_drop=0.01"]``.
        choose: Limits under which the best conversion is chosen, as ``{"max": {"latency/p99": 20}, "min":
            {"fidelity/sqnr_db": 40}, "by": "memory/model_mb"}``: ``result.choice`` has the answer.
        keep: Converted models that stay on disk for ``result.export``: ``"best"``, ``"all"``, ``"none"`` or names.
        strict: Raise if any conversion failed, or one that was asked for cannot run here, after everything was
            recorded.
        output: File that the result is written to as JSON.
        overrides: Anything else as ``almaflow run`` takes it: ``["measure.min_samples=200"]``. It wins over arguments.
        verbose: Print progress to stderr and the table to stdout. Otherwise only the logger ``almaflow`` speaks, to
            warn.

    Returns:
        The job: its conversions with their figures, the best one, and recommendations.

    Raises:
        UsageError: an argument is wrong, or the model does not build or run; nothing was logged.
        AlmaflowError: the store is broken, the model could not be prepared, or ``strict`` and a conversion failed
            or cannot run here.
        KeyboardInterrupt: interrupted by the user; what was measured by then is recorded.
    """
    from almaflow.config.composition import compose
    from almaflow.config.overrides import choose_settings, override
    from almaflow.config.resolve import dynamic_fields, loader_spec, weights_file
    from almaflow.config.schema import FleetEngine
    from almaflow.fleet.run_one import run_model

    inputs = Inputs(example_input, data_loader, example_kwargs, batch_dim)
    settings = {
        "model.name": model_name or name_of(model),
        "hardware": hardware,
        "tier": str(tier),
        "measure": measure,
        "batch_size": inputs.batch_size if batch_size is None else batch_size,
        "model.padding_mask": padding_mask,
        "model.attention_mask": attention_mask,
        "conversions": conversions,
        "evaluate._target_" if evaluate and "." in evaluate else "evaluate": evaluate,
        **choose_settings(choose or {}),
        "keep": keep,
        "predicted_latency_ms": predicted_latency_ms,
        "predicted_energy_j": predicted_energy_j,
        "seed": seed,
        "tracking.uri": tracking_uri,
        "experiment_name": experiment_name,
        "fail_fast": fail_fast,
        "allow_device_override": allow_device_override,
        "strict": strict,
        "output": output,
    }
    arguments = [override(key, value) for key, value in settings.items() if value is not None]
    arguments.append(override("model.batch_dim", batch_dim))
    job_config = compose(["model=custom", *arguments, *overrides])
    with tempfile.TemporaryDirectory(prefix="almaflow-") as directory:
        spec = ModelSpec(
            name=job_config.model.name or "",
            inputs=inputs.specs,
            pickle_path=str(Path(directory, "model.pkl")),
            batches_path=str(Path(directory, "batches.pt")),
            weights=weights_file(job_config),
            batch_size=job_config.batch_size,
            batch_dim=job_config.model.batch_dim,
            padding_mask=job_config.model.padding_mask,
            attention_mask=job_config.model.attention_mask,
            **dynamic_fields(job_config),
            calibration_loader=loader_spec(job_config.model.calibration_loader),
            calibration_samples=job_config.model.calibration_samples,
            directory=str(Path.cwd()),
            seed=job_config.seed,
        )
        sent = job_config.fleet.engine is not FleetEngine.none
        request = make_request(job_config, model=spec, here=not sent)
        inputs.write(Path(directory, "batches.pt"), spec, job_config.measure.fidelity_inputs, request.evaluate)
        write_model(Path(directory, "model.pkl"), model)
        if verbose:
            announce(request.uri, request.experiment_name)
        if sent:
            job = run_model(job_config, spec, verbose=verbose)
        else:
            job = run_job(request, TerminalProgress() if verbose else Progress())
    try:
        if job_config.output:
            write_output(job_config.output, job)
    finally:
        if verbose:
            show_places(request.uri, job)
    if job.interrupted:
        raise KeyboardInterrupt
    if job_config.strict:
        _raise_if_failed(job)
    return result_of(to_output(job))


def _raise_if_failed(job: Job) -> None:
    if lacking := shortfalls(job):
        named = ", ".join(f"{outcome.planned.name} ({_reason(outcome)})" for outcome in lacking)
        message = (
            f"{len(lacking)} of {len(job.outcomes)} conversions failed or cannot run here: {named}; their logs are in "
            f"{job.directory}"
        )
        raise AlmaflowError(message)


def _reason(outcome: Outcome) -> str:
    if outcome.planned.unavailable:
        return outcome.planned.unavailable
    if outcome.measurement and outcome.measurement.quality_error:
        return f"not evaluated: {outcome.measurement.quality_error}"
    return str(outcome.failure.kind) if outcome.failure else "no result"
