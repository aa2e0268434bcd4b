"""A conversion's outputs are found by eager's names and kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow  # importing torch takes seconds


def eager() -> dict[str, Any]:
    """As cases of users have it: not in the order of the alphabet, with None, a number and text."""
    import torch

    return {"b": torch.ones(2, 4), "a": torch.zeros(2, 4), "aux": None, "n": 3, "note": "text"}


def test_outputs_have_names_and_kinds_that_the_reference_file_holds(tmp_path: Path) -> None:
    import torch

    from almaflow.models.outputs import named_outputs

    @dataclass
    class Held:
        logits: torch.Tensor

    nested = {"x": (torch.ones(1), [eager()]), "held": Held(torch.ones(2))}
    found = named_outputs(nested)
    names = ["x.0", "x.1.0.b", "x.1.0.a", "x.1.0.n", "held.logits"]
    assert [each.name for each in found] == names
    assert [each.is_number for each in found] == [False, False, False, True, False]
    assert named_outputs(torch.ones(1))[0].name == ""
    torch.save([tuple(each) for each in found], tmp_path / "reference.pt")
    loaded = torch.load(tmp_path / "reference.pt", weights_only=True)
    assert [each[0] for each in loaded] == names


@pytest.mark.parametrize("order", ["same", "other", "without the number", "a list", "a list without the number"])
def test_a_conversion_s_outputs_are_those_of_eager(order: str) -> None:
    import torch

    from almaflow.models.outputs import matched, named_outputs

    output = {
        "same": eager(),
        "other": dict(sorted(eager().items())),
        "without the number": {"a": torch.zeros(2, 4), "b": torch.ones(2, 4)},
        "a list": [torch.ones(2, 4), torch.zeros(2, 4), torch.tensor(3)],
        "a list without the number": (torch.ones(2, 4), torch.zeros(2, 4)),
    }[order]
    expected, found = matched(named_outputs(eager()), named_outputs(output))
    assert len(expected) == (2 if "without" in order else 3)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_what_does_not_fit_is_left_for_the_check_to_tell() -> None:
    import torch

    from almaflow.models.outputs import matched, named_outputs

    assert list(map(len, matched(named_outputs(eager()), named_outputs([torch.ones(2, 4)])))) == [3, 1]
    assert list(map(len, matched(named_outputs((torch.ones(1), None)), named_outputs(torch.ones(1))))) == [1, 1]
    with pytest.raises(TypeError, match="without a tensor"):
        named_outputs(None)


def test_classes_of_libraries_around_tensors_are_taken_off() -> None:
    import torch
    from torchvision.tv_tensors import Image

    from almaflow.models.outputs import named_outputs

    (found,) = named_outputs(Image(torch.ones(3, 2, 2)))
    assert type(found.tensor) is torch.Tensor


def test_sparse_and_nested_tensors_are_dense() -> None:
    import torch

    from almaflow.models.outputs import flatten_outputs

    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    tensors = flatten_outputs([torch.eye(3).to_sparse(), torch.eye(3).to_sparse_csr(), nested])
    assert [tuple(each.shape) for each in tensors] == [(3, 3), (3, 3), (2,), (3,)]
    assert all(each.layout is torch.strided for each in tensors)


def test_kinds() -> None:
    import torch

    from almaflow.models.outputs import kind_of

    boxes = torch.tensor([[0.0, 0.0, 10.0, 20.0], [5.0, 6.0, 7.0, 8.0]])
    for tensor, kind in (
        (torch.tensor(3), "number"),
        (torch.ones(2, dtype=torch.complex64), "complex"),
        (torch.tensor([True, False]), "mask"),
        (torch.tensor([0, 1, 1]), "mask"),
        (torch.tensor([0, 7]), "classes"),
        (boxes, "boxes"),
        (boxes.flip(1), "signal"),
        (torch.randn(2, 4), "signal"),
        (torch.zeros(0, 4), "signal"),
        (torch.zeros(2, 3, dtype=torch.uint8), "signal"),
        (torch.zeros(0, dtype=torch.int64), "classes"),
    ):
        assert kind_of([tensor, tensor]) == kind, tensor
