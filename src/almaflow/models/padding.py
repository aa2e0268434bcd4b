"""Finds the places of a batch that the user marks as padding."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from almaflow.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from almaflow.models.batches import Batch
    from almaflow.models.call_form import CallForm
    from almaflow.records import ModelSpec


def judged_places(spec: ModelSpec, form: CallForm, batch: Batch) -> torch.Tensor | None:
    """Return the places (N, L) whose outputs are judged, True where the batch holds no padding.

    Args:
        spec: Names the masks: in ``padding_mask`` elements other than zero are padding, as in PyTorch's
            ``src_key_padding_mask``; in ``attention_mask`` those that are zero, as transformers have it.
        form: The names of the batch's tensors.
        batch: The inputs of one call.

    Returns:
        None where the spec names no mask.
    """
    judged: torch.Tensor | None = None
    for name, marks_padding in ((spec.padding_mask, True), (spec.attention_mask, False)):
        if name is not None:
            real = (batch[form.names.index(name)] != 0) ^ marks_padding
            judged = real if judged is None else judged & real
    return judged


def unmarked_masks(spec: ModelSpec, form: CallForm, batch: Batch) -> str | None:
    """Return a hint at inputs that look like masks of padding, where the spec names none: (N, L) of zeros and ones."""
    if spec.padding_mask or spec.attention_mask:
        return None
    names = [name for name, tensor in zip(form.names, batch, strict=True) if _looks_like_a_mask(tensor)]
    if not names:
        return None
    return f"where {' or '.join(names)} marks padding, model.padding_mask or model.attention_mask leaves that out"


def _looks_like_a_mask(tensor: torch.Tensor) -> bool:
    if tensor.dim() != 2 or tensor.is_floating_point() or tensor.is_complex() or not tensor.numel():  # noqa: PLR2004 - samples and places
        return False
    return {int(tensor.min()), int(tensor.max())} == {0, 1}


def check_masks(spec: ModelSpec, form: CallForm, batches: Sequence[Batch]) -> None:
    """Check that the masks which the spec names are inputs of shape (N, L), and leave something to judge.

    Raises:
        UsageError: one is not, or all places are padding.
    """
    if spec.padding_mask is not None and spec.padding_mask == spec.attention_mask:
        message = (
            f"model.padding_mask={spec.padding_mask}: model.attention_mask has the same input; give padding_mask if "
            "it marks padding, attention_mask if it marks what is real"
        )
        raise UsageError(message)
    for key in ("padding_mask", "attention_mask"):
        name = getattr(spec, key)
        if name is None:
            continue
        if name not in form.names:
            near = get_close_matches(name, form.names, n=3, cutoff=0.4)
            offer = f"nearest: {', '.join(near)}" if near else f"they are: {', '.join(form.names)}"
            message = f"model.{key}={name}: none of the inputs has that name; {offer}"
            raise UsageError(message)
        mask = batches[0][form.names.index(name)]
        if mask.dim() != 2:  # noqa: PLR2004 - samples and places
            message = f"model.{key}={name}: has the shape {tuple(mask.shape)}, and must have (N, L): samples and places"
            raise UsageError(message)
    judged = [judged_places(spec, form, batch) for batch in batches]
    if not any(places is None or places.any() for places in judged):
        message = (
            f"{_told(spec)}: marks all places as padding, so that no output could be judged; elements other than "
            "zero are padding in model.padding_mask, zeros are in model.attention_mask"
        )
        raise UsageError(message)


def _told(spec: ModelSpec) -> str:
    masks = {"padding_mask": spec.padding_mask, "attention_mask": spec.attention_mask}
    return " ".join(f"model.{key}={name}" for key, name in masks.items() if name is not None)
