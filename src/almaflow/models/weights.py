"""Loads a model's weights from a file that holds tensors only: no code of the file is run."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from almaflow.errors import UsageError
from almaflow.models.targets import described

if TYPE_CHECKING:
    from collections.abc import Sequence

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts keep the weights beside their own state."""
PREFIXES = ("module.", "_orig_mod.")
"""Begin all keys where the model was saved inside of DataParallel, or compiled."""
NAMED = 3
"""So many keys are named in an error."""
_SIZES = re.compile(
    r"size mismatch for (?P<key>\S+): copying a param with shape (?:torch\.Size\()?(?P<file>[^)]*\]|[^)]*?)\)? from "
    r"checkpoint, the shape in current model is (?:torch\.Size\()?(?P<model>\[[^]]*\])"
)


def load_weights(model: torch.nn.Module, file: str) -> None:
    """Give a model all its parameters and buffers from a file; values are converted to the model's types.

    Args:
        model: The model, on the CPU.
        file: A ``.safetensors`` file, or what ``torch.save(model.state_dict(), file)`` wrote, perhaps inside of a
            checkpoint under one of ``WRAPPERS``.

    Raises:
        UsageError: the file cannot be read, holds more than tensors, or does not fit the model.
    """
    origin = f"model.weights={file}"
    state = _state(_read(Path(file), origin), origin)
    for prefix in PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            consume_prefix_in_state_dict_if_present(state, prefix)
    try:
        found = model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        message = f"{origin}: does not fit the model: {_sizes(str(error))}"
        raise UsageError(message) from error
    faults = [
        f"{what} {_few(keys)}"
        for what, keys in (("the file lacks", found.missing_keys), ("the model has no", found.unexpected_keys))
        if keys
    ]
    if faults:
        message = f"{origin}: does not fit the model: {'; '.join(faults)}"
        raise UsageError(message)


def _read(path: Path, origin: str) -> Any:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        message = f"{origin}: cannot be read ({error.strerror or error})"
        raise UsageError(message) from error
    except pickle.UnpicklingError as error:
        refused = re.search(r"(?:GLOBAL|global) (\S+)", str(error))
        what = f" ({refused[1]})" if refused else ""
        message = f"{origin}: holds more than tensors{what}, which would run code; keep model.state_dict() in a file"
        raise UsageError(message) from error
    except Exception as error:  # what a damaged file makes the libraries raise
        message = f"{origin}: holds no weights that can be read ({described(error)[:200]})"
        raise UsageError(message) from error


def _state(read: Any, origin: str) -> dict[str, Any]:
    """Return the state dict in what was read: itself, or one under a usual key."""
    inner = [read[key] for key in WRAPPERS if isinstance(read, dict) and isinstance(read.get(key), dict)]
    state = inner[0] if inner else read
    if not isinstance(state, dict) or not any(isinstance(value, torch.Tensor) for value in state.values()):
        held = f"a dictionary of {_few([*map(str, read)])}" if isinstance(read, dict) else type(read).__name__
        message = f"{origin}: has no state dict of tensors, but {held}; keep model.state_dict() in a file"
        raise UsageError(message)
    return dict(state)


def _sizes(text: str) -> str:
    """Return PyTorch's complaint about sizes in one line."""
    wrong = [
        f"{each['key']} is {each['file']} in the file and {each['model']} in the model"
        for each in _SIZES.finditer(text)
    ]
    return _few(wrong) if wrong else " ".join(text.split())


def _few(parts: Sequence[str]) -> str:
    more = f" and {len(parts) - NAMED} more" if len(parts) > NAMED else ""
    return ", ".join(parts[:NAMED]) + more
