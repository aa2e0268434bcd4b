"""What eager calls show of a model, whose state and inputs are afterwards what they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch

    from almaflow.models.examine import Examination

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds


def built(name: str) -> torch.nn.Module:
    import torch
    from tests.support import users_models

    torch.manual_seed(0)
    made: torch.nn.Module = getattr(users_models, name)()
    return made.eval()


def batches(dtype: str = "float32") -> list[tuple[torch.Tensor, ...]]:
    import torch

    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(2, 8, generator=generator).to(getattr(torch, dtype)),) for _ in range(3)]


def examined(model: torch.nn.Module, given: list[tuple[torch.Tensor, ...]] | None = None) -> Examination:
    from almaflow.models.examine import examine

    return examine(model, given or batches(), ["x"], 7)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Counts", {"keeps_state": ("calls",)}),
        ("Remembers", {"keeps_state": ("state",)}),
        ("Caches", {"caches": ("table",)}),
        ("Drops", {"random": True}),
        ("Normalises", {"writes_inputs": ("x",)}),
        ("SameBuffer", {"returns_own_memory": True, "caches": ("answer",)}),
        ("BySize", {}),
        ("StaysInTraining", {"in_training": ("part",)}),
    ],
)
def test_each_trait_is_found_and_no_other(name: str, shown: dict[str, Any]) -> None:
    from almaflow.records import ModelTraits

    assert examined(built(name)).traits == ModelTraits(**shown, output_kinds=("signal",))


@pytest.mark.parametrize(
    ("name", "kind", "line"),
    [
        ("Branches", "decides_by_values", "if x.abs().max() > 10 else"),
        ("Lists", "decides_by_values", "tolist()"),
        ("Keeps", "sizes_by_values", "x[x[:, 0] > 0]"),
    ],
)
def test_decisions_and_sizes_by_values_are_found_with_their_places(name: str, kind: str, line: str) -> None:
    traits = examined(built(name)).traits
    other = {"decides_by_values": "sizes_by_values", "sizes_by_values": "decides_by_values"}[kind]
    (place,) = getattr(traits, kind)
    assert place.startswith("users_models.py:")
    assert line in place
    assert getattr(traits, other) == ()


@pytest.mark.parametrize(("dtype", "coarsest"), [("float64", "float64"), ("bfloat16", "bfloat16")])
def test_the_type_is_the_coarsest(dtype: str, coarsest: str) -> None:
    import torch

    model = torch.nn.Linear(8, 4, dtype=getattr(torch, dtype)).eval()
    assert examined(model, batches(dtype)).traits.dtype == coarsest


def test_answers_are_those_of_the_first_state_and_of_untouched_inputs() -> None:
    import torch

    given = batches()
    before = [batch[0].clone() for batch in given]
    for name in ("Counts", "Remembers", "Normalises", "SameBuffer"):
        found = examined(built(name), given)
        for (x,), ((_, _, answer),) in zip(given, found.outputs, strict=True):
            with torch.no_grad():
                assert torch.equal(answer, built(name)(x.clone())), name
    assert all(torch.equal(x, kept) for (x,), kept in zip(given, before, strict=True))


def test_a_sequence_goes_on_from_call_to_call() -> None:
    import torch

    given, model = batches(), built("Remembers")
    sequence = examined(model, given).sequence
    fresh = built("Remembers")
    with torch.no_grad():
        for (x,), ((_, _, answer),) in zip([given[0], *given], sequence, strict=True):
            assert torch.equal(answer, fresh(x))
    assert model.state is None  # put back at the end


def test_a_random_model_gives_draws_that_differ() -> None:
    import torch

    found = examined(built("Drops"))
    assert len(found.draws) == 8
    assert not torch.equal(found.draws[0][0][2], found.draws[1][0][2])
    assert torch.equal(found.outputs[0][0][2], examined(built("Drops")).outputs[0][0][2])  # equal seeds


def test_a_class_that_is_sampled_is_random_even_where_three_answers_are_equal() -> None:
    import torch

    from almaflow.models.examine import examine

    given, model = [(torch.zeros(1, 2),)] * 2, built("Samples")

    def first_three_alike(seed: int) -> bool:
        torch.manual_seed(seed)
        return len({int(model(given[0][0])) for _ in range(3)}) == 1

    seed = next(seed for seed in range(50) if first_three_alike(seed))
    assert examine(model, given, ["x"], seed).traits.random


def test_a_place_in_torchvision_is_told_and_not_that_of_the_caller() -> None:
    import torch
    from torchvision.ops import clip_boxes_to_image, remove_small_boxes

    class Boxes(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            boxes = clip_boxes_to_image(x[:, :4], (1, 1))
            kept: torch.Tensor = remove_small_boxes(boxes, 0.1)
            return kept

    (place,) = examined(Boxes()).traits.sizes_by_values
    assert place.startswith("boxes.py:")


def test_a_call_that_is_bound_has_no_caches_of_its_own() -> None:
    from almaflow.models.binding import bind
    from almaflow.models.call_form import CallForm

    model = built("BySize")
    model.register_forward_hook(lambda _module, _given, made: made * 2)
    bound = bind(model, CallForm.flat(1))
    assert bound is not model
    assert examined(bound).traits.caches == ()


def test_what_several_modules_share_stays_shared_when_it_is_put_back() -> None:
    import torch

    from almaflow.models.state import ModelState

    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    shared = {"step": 0}
    first.memory = second.memory = shared  # type: ignore[assignment]
    model = torch.nn.Sequential(first, second)
    state = ModelState(model)
    shared["step"] = 5
    assert state.changed() == ("0.memory", "1.memory")
    state.put_back()
    assert state.changed() == ()
    assert first.memory is second.memory
    assert first.memory == {"step": 0}


def test_attributes_that_have_no_copy_are_put_back_all_the_same() -> None:
    import threading

    import torch

    from almaflow.models.state import ModelState

    model = torch.nn.Linear(2, 2)
    model.lock = threading.Lock()  # type: ignore[assignment]
    model.seen = [1]  # type: ignore[assignment]
    state = ModelState(model)
    model.seen.append(2)  # type: ignore[operator, union-attr]
    model.more = "new"  # type: ignore[assignment]
    state.put_back()
    assert model.seen == [1]
    assert not hasattr(model, "more")
