"""Evaluates a model on the labelled samples of its data loader, and tells what a conversion lost against eager.

The callable of ``evaluate._target_`` has one of two forms, told apart by its first parameter's name:

- ``function(outputs, labels)`` is called with some samples at a time and returns, by name, a score for each of them. A
  plain number instead is of the whole set: it is called once more with all samples, and such a figure has no interval.
- ``function(predict, loader)`` iterates ``loader``, which gives ``(inputs, labels)``, calls ``predict(inputs)``, and
  returns numbers by name.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from almaflow.errors import UsageError
from almaflow.models.binding import Parameters
from almaflow.models.loaded import LabelledLoader
from almaflow.models.outputs import found_outputs, matched
from almaflow.models.state import set_generators
from almaflow.models.targets import described, imported, started_in
from almaflow.records import QualityDrop
from almaflow.records.quality import is_error, is_figure
from almaflow.stats.quality import paired_drop
from almaflow.worker.inputs import Inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch
    from almaflow.models.state import ModelState
    from almaflow.records import EvaluateSpec
    from almaflow.worker.check import Checker

Answers = Sequence[tuple[str, bool, torch.Tensor]]


@dataclass(frozen=True)
class Scores:
    """The figures of one evaluation."""

    by_name: dict[str, torch.Tensor]
    """The scores of the samples (N,), or one number of the whole set ()."""
    samples: int
    digest: str
    """Equal where the samples and their labels are the same."""

    @property
    def means(self) -> dict[str, float]:
        """Each figure over the whole set."""
        return {name: float(scores.mean()) for name, scores in self.by_name.items()}


def evaluate(spec: EvaluateSpec, loader: LabelledLoader, call: Callable[[Batch], object], answers: Answers) -> Scores:
    """Call a model on all samples, and return the figures of the callable that the spec names.

    Args:
        spec: The callable and its arguments.
        loader: The samples.
        call: One forward call on a batch of the size that the model was converted for.
        answers: Eager's outputs to a batch, by whose names the outputs are given to the callable.

    Raises:
        UsageError: the callable cannot be called, or gives no finite numbers, or the loader gives no labels for it.
    """
    origin = f"evaluate._target_={spec.target}"
    with started_in(loader.spec.directory):
        function = imported(spec.target, "evaluate")
    if not callable(function):
        message = f"{origin}: is a {type(function).__name__}, and must be a function (outputs, labels)"
        raise UsageError(message)
    predict = _Predict(loader, call, answers)
    asked = partial(function, **spec.kwargs)
    try:
        by_name = _of_whole(asked, predict) if _takes_predict(function, origin) else _of_batches(asked, predict)
    except UsageError:
        raise
    except Exception as error:
        message = f"{origin}: raised {described(error)}"
        raise UsageError(message) from error
    _check(by_name, spec, origin)
    return Scores(by_name, loader.taken, loader.digest)


def drops(eager: Scores, found: Scores, lower_is_better: Collection[str] = ()) -> dict[str, QualityDrop]:
    """Return what each figure lost against eager's on the same samples; of errors, by how much they grew.

    Raises:
        UsageError: the samples were others than eager's.
    """
    if eager.by_name.keys() != found.by_name.keys():
        message = f"it gave the figures {', '.join(found.by_name)}, and of eager {', '.join(eager.by_name)}"
        raise UsageError(message)
    if eager.digest != found.digest or eager.samples != found.samples:
        message = "the data loader gave other samples than it gave eager: seed what it draws, or let it not shuffle"
        raise UsageError(message)
    lost = {}
    for name, scores in found.by_name.items():
        less = is_error(name, lower_is_better)
        before, after = (scores, eager.by_name[name]) if less else (eager.by_name[name], scores)
        if scores.dim() and before.shape == after.shape:
            drop, interval = paired_drop(before.numpy(), after.numpy())
            lost[name] = QualityDrop(drop, interval.low, interval.high)
        else:
            lost[name] = QualityDrop(float(before.mean() - after.mean()))
    return lost


class _Predict:
    """A model's call on as many samples as there are: short batches are filled up, and what that adds is dropped."""

    def __init__(self, loader: LabelledLoader, call: Callable[[Batch], object], answers: Answers) -> None:
        self.loader, self._call, self._answers = loader, call, answers

    def __call__(self, inputs: Any) -> Any:
        """Return the outputs for these inputs of the loader: a tensor, or several by their names in eager's output."""
        batch = (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)
        rows, size = self.loader.rows(batch), self.loader.spec.batch_size
        with torch.no_grad():
            found = found_outputs(self._call(self.loader.padded(batch)))
        _, tensors = matched(self._answers, found)
        expected = [each for each in self._answers if not each[1]]
        names = [name for name, _, _ in (self._answers if len(self._answers) == len(tensors) else expected)]
        names = names if len(names) == len(tensors) else [each.name for each in found]
        cut = [self._first(tensor.clone(), rows, size) for tensor in tensors]
        return cut[0] if len(cut) == 1 else dict(zip(names, cut, strict=True))

    def _first(self, tensor: torch.Tensor, rows: int, size: int) -> torch.Tensor:
        """Return the part of an output that belongs to the first samples of a batch."""
        if rows == size:
            return tensor
        dims = [dim for dim in (self.loader.spec.batch_dim or 0, 0) if tensor.dim() > dim and tensor.shape[dim] == size]
        return tensor.narrow(dims[0], 0, rows) if dims else tensor


def _takes_predict(function: Any, origin: str) -> bool:
    """Whether it wants to call the model itself: by the name of its first parameter."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # of compiled code
        return False
    positional = [each for each in parameters if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD}]
    if len(positional) < 2 and not any(each.kind is each.VAR_POSITIONAL for each in parameters):  # noqa: PLR2004 - two arguments
        message = f"{origin}: takes {len(positional)} arguments, and must take (outputs, labels) or (predict, loader)"
        raise UsageError(message)
    return bool(positional) and positional[0].name == "predict"


def _of_whole(function: Callable[..., Any], predict: _Predict) -> dict[str, torch.Tensor]:
    found = function(predict, predict.loader)
    return {str(name): _number(name, value) for name, value in _mapping(found).items()}


def _of_batches(function: Callable[..., Any], predict: _Predict) -> dict[str, torch.Tensor]:
    scores: dict[str, list[torch.Tensor]] = {}
    kept: list[tuple[Any, Any]] = []
    of_whole = False
    for inputs, labels in predict.loader:
        outputs = predict(inputs)
        count = predict.loader.rows((inputs,) if isinstance(inputs, torch.Tensor) else inputs)
        for name, value in _mapping(function(outputs, labels)).items():
            each = _scores(value)
            if each.dim():
                if each.shape != (count,):
                    message = f"{name} has scores of shape {tuple(each.shape)} for {count} samples: one each is needed"
                    raise ValueError(message)
                scores.setdefault(str(name), []).append(each)
            else:
                of_whole = True
        if of_whole:
            kept.append((outputs, labels))
    made = {name: torch.cat(parts) for name, parts in scores.items()}
    for name, each in made.items():
        if len(each) != predict.loader.taken:
            message = f"{name} has scores of {len(each)} of {predict.loader.taken} samples: one of each is needed, "
            raise ValueError(message + "also of a batch of one sample: a tensor of shape (1,)")
    if of_whole:
        together = function(_joined([each for each, _ in kept]), _joined([each for _, each in kept]))
        made |= {str(name): _number(name, value) for name, value in _mapping(together).items() if str(name) not in made}
    return made


def _mapping(found: object) -> Mapping[Any, Any]:
    if not isinstance(found, Mapping) or not found:
        message = f"returned a {type(found).__name__}, and must return a mapping of names to scores"
        raise TypeError(message)
    return found


def _scores(value: object) -> torch.Tensor:
    return torch.as_tensor(np.asarray(value) if isinstance(value, list | tuple) else value).detach().cpu().double()


def _number(name: object, value: object) -> torch.Tensor:
    made = _scores(value)
    if made.numel() != 1:
        message = f"{name} has the shape {tuple(made.shape)}, and must be one number"
        raise ValueError(message)
    return made.reshape(())


def _joined(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(parts))
    if isinstance(first, np.ndarray):
        return np.concatenate(list(parts))
    if isinstance(first, Mapping):
        return {key: _joined([part[key] for part in parts]) for key in first}
    if isinstance(first, tuple) and all(isinstance(each, torch.Tensor) for each in first):
        return tuple(_joined(each) for each in zip(*parts, strict=True))
    return [each for part in parts for each in part]


def _check(by_name: Mapping[str, torch.Tensor], spec: EvaluateSpec, origin: str) -> None:
    for name, scores in by_name.items():
        if not is_figure(name):
            message = f"{origin}: gives a figure the name {name!r}; letters, digits, _ . and - make one, and not "
            raise UsageError(message + "samples or ..._drop")
        if not math.isfinite(float(scores.mean())):
            message = f"{origin}: {name} is {float(scores.mean())}"
            raise UsageError(message)
    if unknown := [name for name in spec.lower_is_better if name not in by_name]:
        message = f"evaluate.lower_is_better: {unknown[0]} is none of the figures: {', '.join(by_name)}"
        raise UsageError(message)


def evaluated(
    spec: EvaluateSpec, checker: Checker, converted: ConvertedModel, state: ModelState | None
) -> dict[str, Any]:
    """Evaluate a conversion beside eager, and return fields of its ``Measurement``; an error becomes one of them."""
    began = time.perf_counter()
    task, planned, reference = checker.task, checker.planned, checker.reference

    def call(batch: Batch) -> object:
        inputs = Inputs([batch], planned, task, state)
        inputs.prepare(0)
        if task.traits.random:
            set_generators(task.model.seed)
        return converted.call(inputs.get(0))

    parameters = Parameters(**reference.parameters)
    loader = LabelledLoader(task.model, parameters, reference.call_form, reference.batches[0], spec.samples)
    try:
        scores = evaluate(spec, loader, call, reference.outputs[0])
        lost = drops(Scores(**reference.scores), scores, spec.lower_is_better)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever user code raises, the measurement stays
        text = str(error) if isinstance(error, UsageError) else described(error)
        return {"quality_error": text, "evaluate_s": time.perf_counter() - began}
    return {
        "quality": scores.means,
        "quality_drops": lost,
        "quality_samples": scores.samples,
        "quality_digest": scores.digest,
        "evaluate_s": time.perf_counter() - began,
    }
