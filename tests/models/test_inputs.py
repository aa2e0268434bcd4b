"""Example inputs of every kind fit the model, or the user is told in one line why they do not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from torch import nn

from almaflow.errors import UsageError
from almaflow.models.build import Example, build_bound, build_example, check_forward, weights_digest
from almaflow.models.padding import judged_places, unmarked_masks
from almaflow.records import InputSpec, ModelSpec, TargetSpec

if TYPE_CHECKING:
    from pathlib import Path

HERE = __name__


class Labelled(NamedTuple):
    image: torch.Tensor
    label: torch.Tensor


class Pair(nn.Module):
    """Two inputs, of which one is optional, and a loss that nobody asked for."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> torch.Tensor:
        assert labels is None
        return input_ids * (2 if attention_mask is None else attention_mask)


class Two(nn.Module):
    def forward(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return image + target


class Image(nn.Module):
    def forward(self, image: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        assert label is None
        return image


class One(nn.Module):
    def forward(self, x: Any) -> torch.Tensor:
        made: torch.Tensor = x if isinstance(x, torch.Tensor) else sum(x)
        return made


def loader(kind: str) -> list[Any]:
    def item(number: int) -> Any:
        one, two = torch.full((2, 3), float(number)), torch.full((2, 3), 2.0)
        kinds = {
            "tokens": {"ids": "text", "input_ids": one, "attention_mask": two, "labels": two, "length": two},
            "image and label": {"image": one, "label": two},
            "image, target": (one, two),
            "named": Labelled(one, two),
            "dictionary, label": ({"input_ids": one, "attention_mask": two}, two),
            "list of tensors": ([one, two], two),
            "same memory": (one, one),
            "expanded": torch.full((1, 3), float(number)).expand(2, 3),
            "permuted": torch.rand(2, 3, 4).permute(0, 2, 1),
            "ragged": torch.zeros(2, 3 + number),
            "types": torch.zeros(2, 3, dtype=(torch.int64, torch.float32)[number % 2]),
            "counts": {"x": one, "by": number},
            "padded": {"x": one, "mask": torch.tensor([[False, False, True]] * 2)},
        }
        return kinds[kind]

    return [item(number) for number in range(3)]


def example(model: str, kind: str | None = None, count: int = 3, **fields: Any) -> Example:
    origin = TargetSpec(f"{HERE}.loader", {"kind": kind}) if kind else None
    spec = ModelSpec(**{"name": "m", "target": f"{HERE}.{model}", "data_loader": origin, "batch_size": 2, **fields})
    return build_example(spec, count)


@pytest.mark.parametrize(
    ("model", "kind", "names"),
    [
        ("Image", "named", ("image",)),
        ("Pair", "tokens", ("input_ids", "attention_mask")),
        ("Pair", "dictionary, label", ("input_ids", "attention_mask")),
        ("One", "image and label", ("x",)),
        ("Two", "image, target", ("image", "target")),
        ("One", "named", ("x",)),
        ("One", "image, target", ("x",)),
        ("One", "list of tensors", ("x.0", "x.1")),
    ],
)
def test_what_the_model_takes_is_picked_out_of_a_loaders_batches(model: str, kind: str, names: tuple[str, ...]) -> None:
    made = example(model, kind)
    assert made.form.names == names
    check(made)


def check(made: Example) -> torch.Tensor:
    output = check_forward(made.model, made.batches[0])
    assert isinstance(output, torch.Tensor)
    return output


def test_keys_that_fit_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match=r"have image, label, which are no parameters of forward\(input_ids") as caught:
        example("Pair", "image and label", inputs=(InputSpec((3,)), InputSpec((3,))))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("ragged", r"differ in size: x is \(2, 3\) float32 and \(2, 4\) float32.*pad or bucket them"),
        ("types", r"x is \(2, 3\) int64 and \(2, 3\) float32"),
    ],
)
def test_batches_that_differ_in_size_are_refused(kind: str, line: str) -> None:
    with pytest.raises(UsageError, match=line) as caught:
        example("One", kind)
    assert "\n" not in str(caught.value)
    assert len(example("One", kind, count=1).batches) == 1


class Times(nn.Module):
    def forward(self, x: torch.Tensor, by: int) -> torch.Tensor:
        return x * by


def test_numbers_that_change_from_batch_to_batch_are_refused() -> None:
    with pytest.raises(UsageError, match="do not all hold the same kinds of parts, numbers and keys"):
        example("Times", "counts")


@pytest.mark.parametrize(("model", "kind"), [("Two", "same memory"), ("One", "expanded")])
def test_inputs_never_share_memory(model: str, kind: str) -> None:
    for batch in example(model, kind).batches:
        assert len({tensor.untyped_storage().data_ptr() for tensor in batch}) == len(batch)
        assert all(tensor.untyped_storage().nbytes() == tensor.numel() * 4 for tensor in batch)


def test_strides_of_what_the_user_gives_stay(tmp_path: Path) -> None:
    made = example("One", "permuted")
    assert made.batches[0][0].stride() == (12, 1, 4)
    torch.save(made.batches, tmp_path / "batches.pt")
    assert torch.load(tmp_path / "batches.pt", weights_only=True)[0][0].stride() == (12, 1, 4)


def test_the_batch_may_be_another_dimension() -> None:
    inputs = (
        InputSpec((5, 4), name="input", batch_dim=1),
        InputSpec((1, 3), name="hx.0", batch_dim=1),
        InputSpec((1, 3), name="hx.1", batch_dim=1),
    )
    made = example("LSTM", target="torch.nn.LSTM", kwargs={"input_size": 4, "hidden_size": 3}, inputs=inputs)
    assert [tuple(tensor.shape) for tensor in made.batches[0]] == [(5, 2, 4), (1, 2, 3), (1, 2, 3)]
    assert made.batch_dims == (1, 1, 1)
    assert len(check_forward(made.model, made.batches[0])) == 2  # type: ignore[arg-type]


def test_an_input_may_have_no_batch_dimension() -> None:
    inputs = (InputSpec((5,), name="image"), InputSpec((1,), name="target", batch_dim=None))
    made = example("Two", inputs=inputs)
    assert [tuple(tensor.shape) for tensor in made.batches[0]] == [(2, 5), (1,)]
    assert made.batch_dims == (0, None)


def test_a_loaders_batches_are_counted_along_the_batch_dimension() -> None:
    assert example("One", "image, target", batch_dim=1, batch_size=3).batch_dims == (1,)
    with pytest.raises(UsageError, match=r"batch_size=2: .* has only batches of 3"):
        example("One", "image, target", batch_dim=1)


def test_random_masks_hide_no_whole_row() -> None:
    made = example("One", inputs=(InputSpec((40, 2), "bool", name="x"),), batch_size=8)
    for (mask,) in made.batches:
        assert mask.dtype is torch.bool
        assert mask.any(-1).all()
        assert not mask.all(-1).any()
    assert not torch.equal(made.batches[0][0], made.batches[1][0])
    assert example("One", inputs=(InputSpec((40, 1), "bool"),)).batches[0][0].float().mean() < 1


def test_complex_and_byte_inputs_are_drawn() -> None:
    made = example("One", inputs=(InputSpec((400,), "complex64", name="x"),))
    assert made.batches[0][0].dtype is torch.complex64
    assert made.batches[0][0].abs().mean().item() == pytest.approx(math.sqrt(math.pi) / 2, abs=0.1)
    (image,) = example("One", inputs=(InputSpec((4000,), "uint8", name="x"),)).batches[0]
    assert (int(image.min()), int(image.max())) == (0, 255)


@pytest.mark.parametrize(
    ("key", "kept"), [("padding_mask", [True, True, False]), ("attention_mask", [False, False, True])]
)
def test_places_that_a_mask_marks_as_padding_are_not_judged(key: str, kept: list[bool]) -> None:
    mask: dict[str, Any] = {key: "mask"}
    made = example("Masked", "padded", **mask)
    judged = judged_places(ModelSpec("m", **mask), made.form, made.batches[0])
    assert judged is not None
    assert judged.tolist() == [kept, kept]
    assert judged_places(ModelSpec("m"), made.form, made.batches[0]) is None


def test_a_mask_that_is_no_input_is_refused() -> None:
    with pytest.raises(UsageError, match=r"model\.padding_mask=masks: none of the inputs .*; nearest: mask"):
        example("Masked", "padded", padding_mask="masks")
    inputs = (InputSpec((3,), name="x"), InputSpec((3, 3), "bool", name="mask"))
    with pytest.raises(UsageError, match=r"model\.attention_mask=mask: has the shape \(2, 3, 3\)"):
        example("Masked", inputs=inputs, attention_mask="mask")


def test_masks_that_leave_nothing_to_judge_are_refused() -> None:
    inputs = (InputSpec((3,), name="x"), InputSpec((3,), "int64", 1, 2, "mask"))
    with pytest.raises(UsageError, match=r"model\.padding_mask=mask: marks all places as padding.*attention_mask"):
        example("Masked", inputs=inputs, padding_mask="mask")
    with pytest.raises(UsageError, match=r"model\.padding_mask=mask: model\.attention_mask has the same input"):
        example("Masked", "padded", padding_mask="mask", attention_mask="mask")


class Masked(nn.Module):
    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x.masked_fill(mask, 0)


def test_lazy_modules_have_the_same_weights_in_every_process() -> None:
    fields: dict[str, Any] = {"inputs": (InputSpec((8,)),), "target": f"{HERE}.lazy"}
    made, again = example("", **fields), example("", **fields)
    bound = build_bound(ModelSpec("m", target=fields["target"]), made.form, made.batches[0])
    assert weights_digest(made.model) == weights_digest(again.model) == weights_digest(bound)
    assert type(made.model) is nn.Sequential


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(3))


def test_relative_paths_are_meant_from_where_the_command_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "started").mkdir()
    (tmp_path / "started" / "width.txt").write_text("5", encoding="ascii")
    monkeypatch.chdir(tmp_path)
    fields: dict[str, Any] = {
        "data_loader": TargetSpec(f"{HERE}.read_batches", {"path": "width.txt"}),
        "kwargs": {"path": "width.txt"},
    }
    made = example("read", directory=str(tmp_path / "started"), **fields)
    assert check(made).shape == (2, 5)
    with pytest.raises(UsageError, match="FileNotFoundError"):
        example("read", **fields)


def read(path: str) -> nn.Module:
    with open(path, encoding="ascii") as stream:  # noqa: PTH123 - as users write it
        return nn.Linear(3, int(stream.read()))


def read_batches(path: str) -> Any:
    for _ in range(3):
        with open(path, encoding="ascii") as stream:  # noqa: PTH123 - as users write it
            yield torch.full((2, 3), float(stream.read()))


def test_an_input_that_looks_like_a_mask_of_padding_is_hinted_at_where_none_is_named() -> None:
    made = example("Masked", "padded")
    hint = unmarked_masks(ModelSpec("m"), made.form, made.batches[0])
    assert hint is not None
    assert "where mask marks padding, model.padding_mask" in hint
    assert unmarked_masks(ModelSpec("m", padding_mask="mask"), made.form, made.batches[0]) is None
    plain = example("One", inputs=(InputSpec((4,), name="x"),))
    assert unmarked_masks(ModelSpec("m"), plain.form, plain.batches[0]) is None
