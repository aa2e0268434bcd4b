"""Present models to exporters as they take them: inputs that share nothing, and outputs that are distinct tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from almaflow.models.outputs import named_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from almaflow.models.batches import Batch

EXPORTED = (torch.Tensor, bool, int, float, torch.SymBool, torch.SymInt, torch.SymFloat)
"""Types of the parts of an output that exporters see; arrays are none of them."""


class _Places:
    """Where each figure of an output comes from: kept apart, since exporters watch the attributes of modules."""

    def __init__(self, example: Sequence[Any] | None) -> None:
        self.of: list[tuple[str, Any]] = []
        self.example = example


class TensorOutputs(torch.nn.Module):
    """A model that returns the distinct tensors of its output, and remembers where the other figures come from.

    Exporters lose the keys of dicts, refuse numbers and None among tensors, and confuse an output with an input or
    with another output that is the same tensor. ``restored`` puts the figures back in the order in which
    ``flatten_outputs`` finds them in eager's output.

    Args:
        model: The model, in evaluation mode.
        example: Arguments of one call, for an exporter that may read the code without running it: then one eager call
            tells where the figures come from.
    """

    def __init__(self, model: torch.nn.Module, example: Sequence[Any] | None = None) -> None:
        super().__init__()
        self.model = model
        self._places = _Places(example)
        self.train(model.training)

    def forward(self, *inputs: Any) -> tuple[torch.Tensor, ...]:
        given = [part for part in figures_of(inputs) if isinstance(part, torch.Tensor)]
        versions = [tensor._version for tensor in given]  # noqa: SLF001 - the only sign of a change in place
        places: list[tuple[str, Any]] = []
        outputs: list[torch.Tensor] = []
        for figure in figures_of(self.model(*inputs)):
            tensor = figure if isinstance(figure, torch.Tensor) else None
            if isinstance(figure, (bool, int, float)):
                places.append(("number", figure))
            elif (position := _position(tensor, given)) is not None and (
                given[position]._version == versions[position]  # noqa: SLF001 - as above
            ):
                places.append(("input", position))
            elif (position := _position(tensor, outputs)) is not None:
                places.append(("output", position))
            else:
                places.append(("output", len(outputs)))
                outputs.append(torch.full((), figure) if tensor is None else tensor)
        self._places.of = places
        return tuple(outputs) or (given[0].clone(),)  # exporters want an output

    @property
    def places(self) -> tuple[tuple[str, Any], ...]:
        """The origin of each figure of the output: ``("output" or "input", position)``, or ``("number", value)``."""
        if not self._places.of and self._places.example is not None:
            with torch.no_grad():
                self(*self._places.example)
        return tuple(self._places.of)

    def restored(self, call: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
        """Wrap the call of what was exported; it takes the tensors of the inputs one by one.

        Raises:
            RuntimeError: the model was not exported.
        """
        places = self.places
        if not places:
            message = "outputs can be restored only after the model was exported"
            raise RuntimeError(message)
        if places == tuple(("output", position) for position in range(len(places))):
            return call

        def restoring(*inputs: torch.Tensor) -> list[Any]:
            origins = {"input": inputs, "output": call(*inputs)}
            return [value if origin == "number" else origins[origin][value] for origin, value in places]

        return restoring


def _position(tensor: torch.Tensor | None, among: list[torch.Tensor]) -> int | None:
    return next((position for position, other in enumerate(among) if other is tensor), None)


def figures_of(output: object) -> Iterator[Any]:
    """Yield the tensors and numbers of an output, nested to any depth."""
    return (figure for _, figure in named_figures(output) if isinstance(figure, EXPORTED))


class NamedTensors(torch.nn.Module):
    """A model that returns tensors, tuples of them and dictionaries of them as they are, all else as a dictionary.

    Tracing refuses None, numbers and objects in an output. The dictionary has the tensors by the names that
    ``models.outputs`` gives them, such as ``logits`` or ``features.0``, by which they are compared.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training  # of itself alone: parts of the model may be in another mode

    def forward(self, *inputs: Any) -> Any:
        output = self.model(*inputs)
        if _traced_as_it_is(output):
            return output
        tensors = [(name, figure) for name, figure in named_figures(output) if isinstance(figure, torch.Tensor)]
        named = dict(tensors)
        return named if len(named) == len(tensors) else tuple(tensor for _, tensor in tensors)


def _traced_as_it_is(output: object) -> bool:
    """Whether tracing takes an output of this structure."""
    if isinstance(output, tuple):
        return bool(output) and all(map(_traced_as_it_is, output))
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, list) else [output]
    return bool(parts) and all(isinstance(part, torch.Tensor) for part in parts)


def example_of(batch: Batch) -> Batch:
    """Copy a batch for an exporter: exporters take two inputs that are one tensor for one input.

    Strides are kept where no two elements share memory, else the copy is contiguous.
    """
    return tuple(tensor.detach().clone() for tensor in batch)
