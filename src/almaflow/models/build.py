"""Builds a model from its spec, and checks what was built."""

from __future__ import annotations

import hashlib
import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import cloudpickle
import torch

from almaflow.errors import UsageError
from almaflow.models.batches import build_batches
from almaflow.models.outputs import flatten_outputs
from almaflow.models.targets import call, call_target, described
from almaflow.records import TargetSpec

if TYPE_CHECKING:
    from almaflow.models.batches import Batch
    from almaflow.records import ModelSpec

__all__ = ["build_batches", "build_model", "check_forward", "flatten_outputs", "weights_digest"]


def build_model(spec: ModelSpec) -> torch.nn.Module:
    """Build a model on the CPU, in evaluation mode, its random weights drawn with the spec's seed.

    Raises:
        UsageError: it cannot be built from what the spec says; the message names the key to change.
    """
    torch.manual_seed(spec.seed)
    if spec.pickle_path is not None:
        origin = f"model {spec.name}"
        built = _unpickled(spec.pickle_path, origin)
        if not isinstance(built, torch.nn.Module):
            built = call(built, spec.kwargs, origin)
    elif spec.target is not None:
        built = call_target(TargetSpec(spec.target, spec.kwargs), "model")
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
    return built.eval()


def _unpickled(path: str, origin: str) -> object:
    try:
        with Path(path).open("rb") as stream:
            built: object = cloudpickle.load(stream)
    except Exception as error:
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
        digest.update(_content(tensor.detach()))
    return digest.hexdigest()[:32]


def _content(tensor: torch.Tensor) -> memoryview:
    try:
        return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
    except (RuntimeError, NotImplementedError, TypeError):  # quantised, sparse and other tensors without plain memory
        stream = io.BytesIO()
        torch.save(tensor, stream)
        return stream.getbuffer()


def check_forward(module: torch.nn.Module, batch: Batch) -> object:
    """Call the model once, eagerly and without gradients.

    Returns:
        The model's output as it is.

    Raises:
        UsageError: the model cannot be called with these inputs, or gives back no tensor.
    """
    shapes = ", ".join(f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}" for tensor in batch)
    try:
        with torch.no_grad():
            output: object = module(*batch)
            flatten_outputs(output)
    except Exception as error:
        message = (
            f"the model does not run on inputs of shape {shapes} (batch first): {described(error)[:300]}; "
            "change model.inputs or model.kwargs"
        )
        raise UsageError(message) from error
    return output
