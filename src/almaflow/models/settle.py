"""Makes random weights behave like trained ones, so that they can be timed and verified.

Freshly constructed, many networks compute nothing worth measuring: torchvision's vision transformers have a head of
zeros and answer zero to everything; ConvNeXt scales its blocks by a millionth; networks with batch normalisation let
their activations shrink layer by layer until half precision gives zeros and bfloat16 runs into denormal numbers,
which take up to thirty times longer (efficientnet_b0 eager in bfloat16 on two cores: 760 ms, settled 24 ms). Only
models that almaflow itself builds with random weights are settled; a caller's model stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.models.batches import Batch

AS_GOOD_AS_ZERO = 1e-3
WAKE_STD = 0.02
"""The scale of truncated-normal initialisation that transformers commonly use."""


def settle(
    model: torch.nn.Module, batches: list[Batch], seed: int, batch_dims: Sequence[int | None] | None = None
) -> dict[str, torch.Tensor]:
    """Give zero weights small random values and batch normalisations the statistics of the example inputs.

    Args:
        model: A model in eval mode on the CPU, which is changed.
        batches: Example inputs, whose rows are taken together.
        seed: The seed of the random values.
        batch_dims: The batch dimension of each input, None for one that has none; the first of each by default.

    Returns:
        The entries of the state dict that changed, for ``restore``.
    """
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            # Biases may well be zero; a weight of two or more dimensions that is switches its layer off.
            if parameter.dim() > 1 and parameter.abs().max() < AS_GOOD_AS_ZERO:
                parameter.normal_(0.0, WAKE_STD, generator=generator)
        dims = batch_dims or [0] * len(batches[0])
        if any(dim is not None for dim in dims):
            _set_statistics(model, _together(batches, dims), sum(_rows(batch, dims) for batch in batches))
    return {name: tensor for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def restore(model: torch.nn.Module, changed: dict[str, torch.Tensor]) -> None:
    """Bring another build of the same model to the settled state."""
    state = model.state_dict()  # holds the modules' versions too, which some modules need to load it
    state.update(changed)
    model.load_state_dict(state)


def _together(batches: list[Batch], dims: Sequence[int | None]) -> Batch:
    """Return one batch of the rows of all; of an input without a batch dimension the first."""
    columns = zip(*batches, strict=True)
    return tuple(
        tensors[0] if dim is None else torch.cat(tensors, dim) for tensors, dim in zip(columns, dims, strict=True)
    )


def _rows(batch: Batch, dims: Sequence[int | None]) -> int:
    return next(tensor.shape[dim] for tensor, dim in zip(batch, dims, strict=True) if dim is not None)


def _set_statistics(model: torch.nn.Module, batch: Batch, rows: int) -> None:
    normalisations = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001 - PyTorch has no public place for it
    if not normalisations or rows < 2:  # noqa: PLR2004 - one row has no variance
        return
    momenta = [normalisation.momentum for normalisation in normalisations]
    for normalisation in normalisations:
        normalisation.reset_running_stats()
        normalisation.momentum = None  # a plain average over the rows
        normalisation.train()
    model(*batch)
    for normalisation, momentum in zip(normalisations, momenta, strict=True):
        normalisation.eval()
        normalisation.momentum = momentum
