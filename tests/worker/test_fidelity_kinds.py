"""Classes, masks, sorted rows, places without figures, complex values, ragged outputs, padding and random models."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from almaflow.worker.fidelity import coarser, compare, compare_random
from almaflow.worker.fidelity.tolerances import LEAST_EQUAL, TOLERANCE_DB

if TYPE_CHECKING:
    from torch import Generator, Tensor

pytestmark = pytest.mark.slow  # importing torch takes seconds

DTYPES = (*TOLERANCE_DB, "int4")


def seeded(seed: int = 0) -> Generator:
    import torch

    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", DTYPES)
def test_classes_are_judged_by_the_share_that_is_equal(dtype: str) -> None:
    import torch

    ref = torch.randint(0, 1000, (4, 500), generator=seeded())
    least = LEAST_EQUAL.get(dtype, 0.5)
    for share, ok in ((1.0, True), ((1 + least) / 2, True), (least - 0.1, False), (0.0, False)):
        out = ref.clone()
        out.view(-1)[: round((1 - share) * ref.numel())] += 1  # the class beside it: as a signal that is near
        found = compare([[ref]], [[out]], dtype)
        assert found.ok == ok, (share, found.reason)
        assert found.equal_share == pytest.approx(share, abs=1e-3)
        if not ok:
            assert "2000 elements are equal" in (found.reason or "")


def test_few_classes_may_have_one_close_call_more_in_a_narrow_type() -> None:
    import torch

    ref, one, all_other = torch.tensor([3, 900, 17, 5]), torch.tensor([3, 900, 17, 6]), torch.tensor([4, 1, 18, 6])
    assert compare([[ref]], [[one]], "int8").ok
    assert not compare([[ref]], [[one]], "float32").ok
    assert not compare([[ref]], [[all_other]], "int4").ok


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mask_that_is_lost_is_found_though_most_of_it_is_false_anyway(dtype: str) -> None:
    import torch

    ref = torch.rand(4, 1000, generator=seeded()) < 0.03
    assert compare([[ref]], [[ref.clone()]], dtype).ok
    found = compare([[ref]], [[torch.zeros_like(ref)]], dtype)
    assert found.equal_share is not None
    assert found.equal_share > 0.95
    assert not found.ok


def detections(g: Generator, sizes: tuple[int, ...] = (9, 12, 7)) -> list[list[Tensor]]:
    """Boxes, labels and scores of some calls, sorted by score."""
    import torch

    return [
        [
            640 * torch.rand(n, 4, generator=g),
            torch.randint(0, 90, (n,), generator=g),
            torch.rand(n, generator=g).sort(descending=True).values,
        ]
        for n in sizes
    ]


def test_rows_that_are_sorted_by_score_are_a_set() -> None:
    import torch

    ref = detections(seeded())
    swapped = [[tensor[[1, 0, *range(2, len(tensor))]] for tensor in call] for call in ref]
    found = compare(ref, swapped, "float32")
    assert found.ok, found.reason
    assert found.notes == ("compared as sets of rows: 6 rows are in another order than eager's",)
    assert compare(ref, ref, "float32").notes == ()
    wrong = [[boxes, labels, scores.flip(0)] for boxes, labels, scores in ref]
    assert not compare(ref, wrong, "float32").ok
    only_boxes = [[boxes[[1, 0, *range(2, len(boxes))]], *others] for boxes, *others in ref]
    assert not compare(ref, only_boxes, "float32").ok
    values, indices = torch.randn(3, 50, generator=seeded(1)).topk(8)
    order = [0, 2, 1, *range(3, 8)]
    assert compare([[values, indices]], [[values[:, order], indices[:, order]]], "float32").ok
    assert not compare([[values, indices]], [[values, indices[:, order]]], "float32").ok


def test_a_narrow_type_may_keep_a_row_more_or_fewer() -> None:
    ref = detections(seeded(), (40, 50))
    fewer = [[tensor[:-1] for tensor in call] for call in ref]
    found = compare(ref, fewer, "int8", batch_sizes=[1, 1])
    assert found.ok
    assert "2 without a partner" in found.notes[0]
    assert not compare(ref, fewer, "float32", batch_sizes=[1, 1]).ok
    half = [[tensor[: len(tensor) // 2] for tensor in call] for call in ref]
    assert not compare(ref, half, "int8", batch_sizes=[1, 1]).ok


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_rows_of_a_batch_are_no_set(dtype: str) -> None:
    import torch

    ref = [[torch.randn(n, 200, generator=seeded(n))] for n in (8, 8, 5)]
    swapped = [[call[0][[1, 0, *range(2, len(call[0]))]]] for call in ref]
    assert not compare(ref, swapped, dtype).ok
    assert not compare(ref, swapped, dtype, batch_sizes=[8, 8, 5]).ok
    falling = [[call[0].sort(dim=0, descending=True).values] for call in ref]
    turned = [[call[0].flip(0)] for call in falling]
    assert not compare(falling, turned, dtype, batch_sizes=[8, 8, 5]).ok


def test_complex_values_and_their_real_pairs() -> None:
    import torch

    ref = torch.fft.rfft(torch.randn(3, 16, generator=seeded()))
    assert compare([[ref]], [[torch.view_as_real(ref).clone()]], "float32").ok
    assert compare([[ref]], [[ref.clone()]], "float32").ok
    assert not compare([[ref]], [[ref.conj()]], "float32").ok
    assert not compare([[ref]], [[ref.real.clone()]], "float32").ok


def test_empty_ragged_and_sparse_outputs() -> None:
    import torch

    nothing = [[torch.zeros(0, 6)], [torch.zeros(0, 6)]]
    assert compare(nothing, nothing, "float32").ok
    ragged = [[torch.randn(n, 6, generator=seeded(n))] for n in (5, 0, 7)]
    assert compare(ragged, [[call[0] + 1e-6] for call in ragged], "float32").ok
    lengths = [[torch.randn(2, n, 6, generator=seeded(n))] for n in (5, 8)]
    assert compare(lengths, [[call[0] + 1e-6] for call in lengths], "float32").ok
    assert not compare(lengths, [[call[0].flip(0)] for call in lengths], "int8").ok
    assert not compare(ragged, [[call[0][1:]] for call in ragged], "float32").ok
    sparse = torch.eye(4).to_sparse()
    assert compare([[sparse]], [[torch.eye(4)]], "float32").ok


def test_padding_is_left_out_where_it_is_marked_and_told_where_it_is_not() -> None:
    import torch

    ref = torch.randn(6, 8, 16, generator=seeded())
    judged = torch.ones(6, 8, dtype=torch.bool)
    judged[1, 5:] = judged[4, 3:] = False
    out = ref.where(judged.unsqueeze(-1), torch.full((), math.nan))
    found = compare([[ref]], [[out]], "float32", judged=[judged])
    assert (found.ok, found.sqnr_db) == (True, 200.0)
    assert compare([[ref.sum(-1) > 0]], [[(ref.sum(-1) > 0) & judged]], "float32", judged=[judged]).ok
    assert "NaN in 128 of 768 places" in (compare([[ref]], [[out]], "float32").reason or "")
    wrong = compare([[ref]], [[ref.where(judged.unsqueeze(-1), 0.0)]], "float32")
    assert "all of it in 2 of 6 rows" in (wrong.reason or "")
    judged[1, 5:] = False
    other = ref.clone()
    other[0, 0] = 0
    assert not compare([[ref]], [[other]], "float32", judged=[judged]).ok


def test_the_coarser_type_sets_the_tolerance() -> None:
    assert coarser("float32", "bfloat16") == coarser("bfloat16", "float32") == "bfloat16"
    assert coarser("float64", "float32") == "float32"
    assert coarser("bfloat16", "int8") == "int8"
    assert coarser("int8", "int4") == "int4"


def _draws(g: Generator, mean: Tensor, spread: float = 0.5, draws: int = 8) -> list[list[Tensor]]:
    """As a layer after dropout answers: the elements of a draw depend on each other."""
    import torch

    mix = torch.randn(mean.shape[-1], mean.shape[-1], generator=g) / mean.shape[-1] ** 0.5
    return [[mean + spread * (torch.randn(mean.shape, generator=g) @ mix)] for _ in range(draws)]


def test_a_random_model_is_judged_by_its_mean() -> None:
    import torch

    g = seeded()
    right = baked = lost = off = 0
    for _ in range(25):
        mean = torch.randn(4, 10, generator=g)
        ref = _draws(g, mean)
        right += compare_random(ref, _draws(g, mean), "float32").ok
        frozen = _draws(g, mean, draws=1) * 8
        baked += compare_random(ref, frozen, "float32").ok
        lost += compare_random(ref, _draws(g, mean.flip(1)), "float32").ok
        found = compare_random(ref, [[mean]] * 8, "float32")
        off += found.ok and "the same each time" in found.notes[0]
    assert right >= 24
    assert baked == lost == 0
    assert off >= 24


def test_what_is_not_random_in_a_random_model_is_judged_by_the_tolerance() -> None:
    import torch

    fixed = torch.randn(4, 10, generator=seeded(1))
    ref = [[torch.cat([fixed, each[0]])] for each in _draws(seeded(2), fixed)]
    out = [[torch.cat([fixed, each[0]])] for each in _draws(seeded(3), fixed)]
    wrong = [[torch.cat([fixed * 1.01, each[0][4:]])] for each in out]
    assert compare_random(ref, out, "float32").ok
    assert "of what is not random" in (compare_random(ref, wrong, "float32").reason or "")
    with pytest.raises(ValueError, match="6 draws or more"):
        compare_random(ref[:2], out, "float32")


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_class_in_six_that_is_always_another_is_found(dtype: str) -> None:
    import torch

    ref = torch.randint(0, 6, (4, 100), generator=seeded())
    out = torch.where(ref == 4, 3, ref)
    found = compare([[ref]], [[out]], dtype)
    assert not found.ok
    if dtype in {"int8", "int4"}:
        assert (found.reason or "").startswith("value 4: 0.0% of its")


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_answer_for_all_calls_is_found_though_an_offset_hides_it(dtype: str) -> None:
    import torch

    ref = [[1000 + 0.1 * torch.randn(2, 4, generator=seeded(i))] for i in range(2)]
    assert not compare(ref, [ref[0], ref[0]], dtype).ok


def test_rows_that_come_sorted_the_other_way_or_without_their_classes_are_found() -> None:
    import torch

    ref, out = [], []
    swapped = [1, 0, 3, 2, 5, 4, 7, 6]
    for i in range(4):
        scores = torch.rand(2, 8, generator=seeded(i)).sort(descending=True).values
        boxes = 640 * torch.rand(2, 8, 4, generator=seeded(i + 9))
        labels = (torch.rand(2, 8, generator=seeded(i + 99)) < 0.5).long()
        ref.append([boxes, scores, labels])
        out.append([boxes[:, swapped], scores[:, swapped], labels])
    sizes = [2] * 4
    assert not compare(ref, out, "int8", batch_sizes=sizes).ok
    assert compare(ref, [[part[:, swapped] for part in call] for call in ref], "int8", batch_sizes=sizes).ok
    turned = [[part.flip(1) for part in call] for call in ref]
    assert not compare(ref, turned, "int8", batch_sizes=sizes).ok


def test_a_wrong_number_is_a_wrong_output() -> None:
    import torch

    found = compare(
        [[torch.tensor(1.0)], [torch.tensor(2.0)]], [[torch.tensor(1.0)]] * 2, "float32", batch_sizes=[4, 4]
    )
    assert not found.ok
