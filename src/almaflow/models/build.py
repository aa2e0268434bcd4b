"""Builds a model from its spec, and checks what was built."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle
import torch

from almaflow.errors import UsageError
from almaflow.models.batches import ExampleInputs, build_inputs
from almaflow.models.binding import Parameters, bind
from almaflow.models.graph_code import UnderAutocast
from almaflow.models.outputs import flatten_outputs
from almaflow.models.padding import check_masks
from almaflow.models.state import content_of
from almaflow.models.targets import call, call_target, described, started_in
from almaflow.models.weights import load_weights
from almaflow.records import TargetSpec
from almaflow.secrets import mask

if TYPE_CHECKING:
    from almaflow.models.batches import Batch
    from almaflow.models.call_form import CallForm
    from almaflow.records import ModelSpec

__all__ = [
    "Example",
    "build_bound",
    "build_example",
    "build_model",
    "check_forward",
    "flatten_outputs",
    "weights_digest",
]


MUST_RETURN = "it is called with model.kwargs to build the model, and must return a torch.nn.Module"


@dataclass(frozen=True)
class Example(ExampleInputs):
    """A model with example inputs; it takes the tensors of a batch by position."""

    model: torch.nn.Module


def build_example(spec: ModelSpec, count: int) -> Example:
    """Build a model on the CPU, in evaluation mode, with ``count`` batches of inputs, or as many as there are.

    Raises:
        UsageError: the model or its inputs are not what the spec says, or do not fit each other.
    """
    model = build_model(spec)
    inputs = build_inputs(spec, count, Parameters.of(model))
    check_masks(spec, inputs.form, inputs.batches)
    return Example(**vars(inputs), model=_completed(model, spec, inputs.form, inputs.batches[0]))


def build_bound(spec: ModelSpec, form: CallForm, batch: Batch) -> torch.nn.Module:
    """Build the model of an example again, with the same weights, so that it takes such a batch by position."""
    return _completed(build_model(spec), spec, form, batch)


def _completed(model: torch.nn.Module, spec: ModelSpec, form: CallForm, batch: Batch) -> torch.nn.Module:
    """Give lazy modules their weights, which they draw at their first call, and bind the model's inputs."""
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in itertools.chain(model.parameters(), model.buffers())):
        torch.manual_seed(spec.seed)
        check_forward(bind(model, form), batch)
    return bind(model, form)


def build_model(spec: ModelSpec) -> torch.nn.Module:
    """Build a model on the CPU, in evaluation mode, its random weights drawn with the spec's seed.

    Raises:
        UsageError: it cannot be built from what the spec says; the message names the key to change.
    """
    with started_in(spec.directory):
        return _built(spec)


def _built(spec: ModelSpec) -> torch.nn.Module:
    torch.manual_seed(spec.seed)
    if spec.pickle_path is not None:
        origin = f"model {spec.name}"
        built = _unpickled(spec.pickle_path, origin)
        if not isinstance(built, torch.nn.Module):
            built = call(built, spec.kwargs, origin)
    elif spec.target is not None:
        built = call_target(TargetSpec(spec.target, spec.kwargs), "model", MUST_RETURN)
        origin = f"model._target_={spec.target}"
    elif spec.arch is not None:
        from almaflow.models.vision import build_arch

        built = build_arch(spec.arch, spec.kwargs, default_size=spec.inputs is None)
        origin = f"model.arch={spec.arch}"
    else:
        message = f"model {spec.name}: neither an architecture nor a target to build"
        raise UsageError(message)
    if not isinstance(built, torch.nn.Module):
        message = f"{origin}: gave a {type(built).__name__}, and must give a torch.nn.Module"
        raise UsageError(message)
    if spec.weights:
        load_weights(built, spec.weights)
    for device, dtype in spec.segment.autocast.items() if spec.segment else ():
        built = UnderAutocast(built, device, dtype)
    return built.eval()


def _unpickled(path: str, origin: str) -> object:
    try:
        with Path(path).open("rb") as stream:
            built: object = cloudpickle.load(stream)
    except (Exception, SystemExit) as error:
        message = (
            f"{origin}: cannot be loaded in the worker process ({described(error)}); give a callable that builds it"
        )
        raise UsageError(message) from error
    return built


def weights_digest(module: torch.nn.Module) -> str:
    """Hash all parameters and buffers with their names, types and shapes, at about a second per gigabyte.

    Two processes that built the same model from the same seed get the same digest.
    """
    digest = hashlib.sha256()
    for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(content_of(tensor.detach()))
    return digest.hexdigest()[:32]


def check_forward(module: torch.nn.Module, batch: Batch, *, answers: bool = True) -> object:
    """Call the model once, eagerly and without gradients.

    Args:
        module: The model.
        batch: Its inputs.
        answers: Whether there has to be a tensor in the output.

    Returns:
        The model's output as it is.

    Raises:
        UsageError: the model cannot be called with these inputs, or gives back no tensor.
    """
    shapes = ", ".join(f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in batch)
    try:
        with torch.no_grad():
            output: object = module(*batch)
            if answers:
                flatten_outputs(output)
    except Exception as error:
        cause = mask(described(error))[:300]
        message = (
            f"the model runs in training mode only, and conversions are measured in evaluation mode: {cause}"
            if _runs_in_training(module, batch)
            else f"the model does not run on inputs of shape {shapes}: {cause}; change model.inputs or model.kwargs"
        )
        raise UsageError(message) from error
    return output


def _runs_in_training(module: torch.nn.Module, batch: Batch) -> bool:
    """Whether a model that just failed would not have failed in training mode; it is not used any more."""
    try:
        with torch.no_grad():
            flatten_outputs(module.train()(*batch))
    except Exception:  # noqa: BLE001 - whatever it raises, the first error is what is told
        return False
    return True
