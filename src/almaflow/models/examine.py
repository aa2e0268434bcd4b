"""Finds out what a model does besides computing outputs from its inputs, by a few eager calls on copies of them.

Each answer is one that a conversion can be held against: from the same state, with the generators set alike, on inputs
that no other call has written to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from almaflow.errors import UsageError
from almaflow.models.batches import copied
from almaflow.models.build import check_forward
from almaflow.models.outputs import found_outputs, kind_of, raw_tensors
from almaflow.models.state import ModelState, generators, same_content, set_generators
from almaflow.models.values import ValueUse, watching
from almaflow.records import ModelTraits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.models.batches import Batch

DRAWS = 8
"""Number of answers to the same input that are taken of a random model."""

COARSEST_FIRST = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


Answer = list[tuple[str, bool, torch.Tensor]]
"""The tensors of one output, as plain tuples of ``models.outputs.Output``."""


@dataclass(frozen=True)
class Examination:
    """What a model is, and its answers."""

    traits: ModelTraits
    outputs: list[Answer]
    """For each batch, what eager answers from the model's first state; on the CPU."""
    sequence: list[Answer] = field(default_factory=list)
    """Of a model that keeps state: its answers to the first batch, then to all batches, in one go without putting the
    state back. A runtime with a state of its own goes this way."""
    draws: list[Answer] = field(default_factory=list)
    """Of a random model: its answers to the first batch, ``DRAWS`` times."""
    sized: list[Answer] = field(default_factory=list)
    """Its answers to batches of other sizes."""


def examine(
    model: torch.nn.Module, batches: Sequence[Batch], names: Sequence[str], seed: int, sized: Sequence[Batch] = ()
) -> Examination:
    """Call the model eagerly and compare what its answers depend on.

    Args:
        model: In evaluation mode, on the device of the batches. Its state is put back at the end.
        batches: Inputs, which are not changed.
        names: A name for each input.
        seed: What the generators are set to.
        sized: Inputs of other sizes.

    Raises:
        UsageError: the model cannot be called with these inputs.
    """
    state = ModelState(model)
    calls = _Calls(model, state, seed)
    batch = batches[0]
    set_generators(seed)
    output = calls.call(batch, check=True)
    written = tuple(name for i, name in enumerate(names) if calls.wrote(i))
    own = {_storage(tensor) for tensor in (*calls.given, *model.parameters(), *model.buffers())}
    first = answer_of(output)
    # The first output is held meanwhile: a second one in the same memory is no coincidence. State may show only after
    # a call on another input.
    check_forward(model, copied(batches[-1]), answers=False)
    next_output = calls.call(batch)
    memory = {_storage(tensor) for tensor in raw_tensors(output)}
    aliases = bool(memory & (own | {_storage(tensor) for tensor in raw_tensors(next_output)}))
    kept: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    is_random = False
    if alike(first, answer_of(next_output)):
        caches = state.changed()
        # Answers of few elements, such as a class that is sampled, are equal by chance now and then.
        is_random = calls.draws(batch) and any(
            not alike(first, calls.answer(batch, put_back=False, seeded=False)) for _ in range(DRAWS)
        )
    else:
        from_the_start = calls.answer(batch)
        calls.answer(batches[-1], put_back=False)
        if alike(first, from_the_start) and not alike(first, calls.answer(batch, put_back=False)):
            kept = state.changed() or ("something outside of the model",)
        is_random = not alike(first, from_the_start) or not alike(first, calls.answer(batch, seeded=False))
    outputs = [calls.answer(each, put_back=bool(kept)) for each in batches]
    use = calls.watched(batch, put_back=bool(kept))
    traits = ModelTraits(
        dtype=_coarsest([*model.parameters(), *model.buffers(), *batch, *_tensors(first)]),
        writes_inputs=written,
        keeps_state=kept,
        caches=caches,
        random=is_random,
        returns_own_memory=aliases,
        in_training=tuple(name for name, module in model.named_modules() if module.training),
        decides_by_values=tuple(use.decisions),
        sizes_by_values=tuple(use.sizes),
        output_kinds=tuple(kind_of([answer[i][2] for answer in outputs if i < len(answer)]) for i in range(len(first))),
    )
    found = Examination(traits, outputs, sized=[calls.of_other_size(each) for each in sized])
    if kept:
        state.put_back()
        found = replace(found, sequence=[calls.answer(each, put_back=False) for each in (batch, *batches)])
    if is_random:
        draws = [calls.answer(batch, put_back=bool(kept), seeded=False) for _ in range(DRAWS)]
        found = replace(found, draws=draws)
    if kept:
        state.put_back()
    return found


class _Calls:
    """Eager calls, each on a copy of its inputs."""

    def __init__(self, model: torch.nn.Module, state: ModelState, seed: int) -> None:
        self._model, self._state, self._seed = model, state, seed
        self.given: Batch = ()
        """The copies that the last call got."""
        self._pristine: Batch = ()

    def call(self, batch: Batch, *, check: bool = False) -> object:
        self._pristine, self.given = batch, copied(batch)
        if check:
            return check_forward(self._model, self.given)
        with torch.no_grad():
            output: object = self._model(*self.given)
        return output

    def wrote(self, index: int) -> bool:
        """Whether the last call changed its input of that number."""
        given, pristine = self.given[index], self._pristine[index]
        return given.shape != pristine.shape or not same_content(given, pristine)

    def draws(self, batch: Batch) -> bool:
        """Whether a call takes anything from a random generator."""
        before = generators()
        self.call(batch)
        return generators() != before

    def answer(self, batch: Batch, *, put_back: bool = True, seeded: bool = True) -> Answer:
        if put_back:
            self._state.put_back()
        if seeded:
            set_generators(self._seed)
        return answer_of(self.call(batch))

    def of_other_size(self, batch: Batch) -> Answer:
        try:
            return answer_of(self.call(batch, check=True))
        except UsageError as error:
            message = (
                f"model.dynamic: {str(error).partition('; change')[0]}; give ranges, or model.sizes, that it takes"
            )
            raise UsageError(message) from error

    def watched(self, batch: Batch, *, put_back: bool) -> ValueUse:
        """Return where the model uses values; what was seen by then where it cannot run while it is watched."""
        if put_back:
            self._state.put_back()
        given = copied(batch)
        use = ValueUse()
        try:
            with torch.no_grad(), watching(given) as use:
                self._model(*given)
        except Exception:  # noqa: BLE001 - code that looks at how PyTorch dispatches
            return use
        return use


def answer_of(output: object) -> Answer:
    """Return copies of the output's tensors, since a model may write to the memory of an earlier answer."""
    return [(name, is_number, tensor.clone()) for name, is_number, tensor in found_outputs(output)]


def _tensors(answer: Answer) -> list[torch.Tensor]:
    return [tensor for _, _, tensor in answer]


def notes_on(traits: ModelTraits) -> list[str]:
    """Return one line for each trait that changes how conversions are checked or timed."""
    notes = []
    if traits.writes_inputs:
        names = ", ".join(traits.writes_inputs)
        notes.append(f"the model writes to {names}: each call gets a fresh copy, made outside of the timed call")
    if traits.keeps_state:
        names = ", ".join(traits.keeps_state[:3])
        notes.append(
            f"the model keeps state between calls ({names}): it is put back before each check, and before each timed "
            "call unless several run at once"
        )
    if traits.random:
        notes.append(
            f"the model answers at random: conversions are compared by equal seeds, or by the mean of {DRAWS} answers"
        )
    if traits.in_training:
        names = ", ".join(name or "the model itself" for name in traits.in_training[:3])
        notes.append(f"in training mode although the model was put into evaluation mode: {names}")
    if traits.decides_by_values:
        notes.append(f"the model decides by values, which tracing freezes: {'; '.join(traits.decides_by_values[:2])}")
    return notes


def alike(first: Answer, second: Answer, *, exact: bool = False) -> bool:
    """Whether two answers are equal; unless ``exact`` up to the last bits, since threads may add in another order."""
    if len(first) != len(second):
        return False
    return all(_close(a, b, exact=exact) for a, b in zip(_tensors(first), _tensors(second), strict=True))


def _close(first: torch.Tensor, second: torch.Tensor, *, exact: bool) -> bool:
    if first.shape != second.shape:
        return False
    # Kernels that add in any order differ by a few bits of the type.
    bit = torch.finfo(first.dtype).eps if first.dtype.is_floating_point else 0.0
    relative, absolute = (0.0, 0.0) if exact else (max(1e-4, 4 * bit), max(1e-6, bit) * _scale(first))
    return torch.allclose(_plain(first), _plain(second), rtol=relative, atol=absolute, equal_nan=True)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor.double()


def _scale(tensor: torch.Tensor) -> float:
    finite = _plain(tensor)
    finite = finite[torch.isfinite(finite)]
    return float(finite.abs().max()) if finite.numel() else 1.0


def _coarsest(tensors: Sequence[torch.Tensor]) -> str:
    found = {tensor.dtype for tensor in tensors}
    coarsest = next((dtype for dtype in COARSEST_FIRST if dtype in found), torch.float32)
    return str(coarsest).removeprefix("torch.")


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided and tensor.numel() else id(tensor)
