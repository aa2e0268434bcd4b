from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cloudpickle
import torch

from almaflow.models.batches import copied
from almaflow.models.build import build_example
from almaflow.models.digests import digests_of_built
from almaflow.models.items import stored
from almaflow.records import ModelSpec, SegmentRef

if TYPE_CHECKING:
    from pathlib import Path


class Graph(torch.nn.Module):
    """A module as a segment is."""

    def forward(self, table: torch.Tensor, view: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return table[ids] + view


def spec(directory: Path, batches: list[tuple[torch.Tensor, ...]]) -> ModelSpec:
    module = Graph()
    (directory / "model.pkl").write_bytes(cloudpickle.dumps(module))
    items: list[object] = [(batch, {}) for batch in batches]
    torch.save({"exact": True, **stored(items, as_they_are=True)}, directory / "batches.pt")
    return ModelSpec(
        name="segment_1",
        pickle_path=str(directory / "model.pkl"),
        batches_path=str(directory / "batches.pt"),
        batch_dim=None,
        segment=SegmentRef("1", "f", "made"),
    )


def batch() -> tuple[torch.Tensor, ...]:
    table = torch.arange(12.0).reshape(3, 4)
    return table, table[1].expand(2, 4), torch.tensor([0, 2])


def test_inputs_of_a_segment_keep_strides_and_shared_memory_and_have_no_batch(tmp_path: Path) -> None:
    found = build_example(spec(tmp_path, [batch()]), 4)
    table, view, _ = found.batches[0]
    assert view.stride() == (0, 1)
    assert view.untyped_storage().data_ptr() == table.untyped_storage().data_ptr()
    assert found.batch_dims == (None, None, None)


def test_copies_share_what_the_inputs_share_and_nothing_with_them() -> None:
    table, view, ids = batch()
    own, copy, _ = copied((table, view, ids))
    own[1] = 9.0
    assert copy.tolist() == [[9.0] * 4] * 2
    assert view.tolist() == [[4.0, 5.0, 6.0, 7.0]] * 2
    assert copy.stride() == (0, 1)


def test_copies_of_other_layouts_are_equal() -> None:
    odd = torch.complex(torch.ones(3), torch.ones(3)).conj(), torch.eye(3).to_sparse(), torch.empty(0, 4)
    for before, after in zip(odd, copied(odd), strict=True):
        assert after.shape == before.shape
        assert torch.equal(
            before.to_dense() if before.is_sparse else before, after.to_dense() if after.is_sparse else after
        )


def test_weights_make_another_result_and_values_of_inputs_do_not_unless_all_are_zeros(tmp_path: Path) -> None:
    made = spec(tmp_path, [batch()])
    example = build_example(made, 1)

    def digests(weights: str, batches: list[tuple[torch.Tensor, ...]], path: str | None = "w.pt") -> dict[str, str]:
        return digests_of_built(replace(made, weights=path), example.model, weights, batches, example.form)

    other = tuple(1 + each for each in batch())
    zeros = tuple(torch.zeros_like(each) for each in batch())
    assert digests("some", [batch()]) == digests("some", [other])
    assert digests("some", [batch()]) != digests("other", [batch()])
    assert {*digests("some", [zeros])} == {"weights", "inputs"}
    assert digests("of none", [batch()], None) == {}


def test_permuted_inputs_make_another_result_than_real_ones(tmp_path: Path) -> None:
    made = spec(tmp_path, [batch()])
    segment = made.segment
    assert segment is not None
    example = build_example(made, 1)

    def inputs_of(kind: str) -> str | None:
        told = replace(made, segment=replace(segment, inputs=kind))
        return digests_of_built(told, example.model, "w", [batch()], example.form).get("inputs")

    assert inputs_of("real") is None
    assert inputs_of("permuted") not in {None, inputs_of("zeros")}


def test_a_segment_runs_under_the_autocast_it_was_recorded_under(tmp_path: Path) -> None:
    made = spec(tmp_path, [(torch.eye(3), torch.ones(3), torch.tensor([0, 1]))])
    assert made.segment is not None
    linear = torch.nn.Linear(3, 3)
    (tmp_path / "model.pkl").write_bytes(cloudpickle.dumps(linear))
    torch.save({"exact": True, **stored([((torch.ones(2, 3),), {})])}, tmp_path / "batches.pt")
    example = build_example(replace(made, segment=replace(made.segment, autocast={"cpu": "bfloat16"})), 1)
    assert example.model(*example.batches[0]).dtype is torch.bfloat16
