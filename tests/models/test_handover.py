"""What ``almaflow.validate`` makes of a caller's model and inputs before anything runs."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections import UserDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest
import torch

from almaflow.errors import UsageError
from almaflow.models.batches import build_inputs
from almaflow.models.binding import Parameters
from almaflow.models.build import build_example, build_model
from almaflow.models.handover import Inputs, name_of, write_model
from almaflow.records import InputSpec, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.alma


class Scaled(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.tied = self.weight
        self.register_buffer("shift", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shift: torch.Tensor = self.get_buffer("shift")
        return x * self.weight + shift


def written(inputs: Inputs, place: Path, count: int = 4, **fields: Any) -> list[tuple[torch.Tensor, ...]]:
    """The batches as a worker reads them."""
    path = place / "batches.pt"
    spec = ModelSpec("m", inputs=inputs.specs, **{"batch_size": inputs.batch_size, **fields})
    inputs.write(path, spec, count)
    return build_inputs(replace(spec, batches_path=str(path)), count, Parameters()).batches


@pytest.mark.parametrize(
    "example",
    [
        torch.randn(2, 3, 8, 8),
        torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last),
        torch.arange(40, dtype=torch.int64).reshape(2, 20),
        torch.randn(2, 9).to(torch.bfloat16),
        torch.randn(2, 9) > 0,
        torch.randn(2, 1).expand(2, 9),
        torch.randn(6, 9)[::3],
    ],
    ids=["floats", "channels_last", "integers", "bfloat16", "booleans", "expanded", "view"],
)
def test_further_batches_are_permutations_of_the_example(example: torch.Tensor, tmp_path: Path) -> None:
    inputs = Inputs(example, None)
    batches = written(inputs, tmp_path)
    assert inputs.batch_size == 2
    assert len(batches) == 4
    assert torch.equal(batches[0][0], example)
    assert all(batch[0].dtype == example.dtype for batch in batches)
    assert all(batch[0].stride() == batches[0][0].stride() for batch in batches)
    for (other,) in batches[1:]:
        assert not torch.equal(other, example)
        assert torch.equal(other.flatten().sort().values, example.flatten().sort().values)
    assert torch.equal(written(inputs, tmp_path)[3][0], batches[3][0])
    assert not torch.equal(written(inputs, tmp_path, seed=1)[3][0], batches[3][0])


def test_a_view_does_not_bring_the_memory_that_it_looks_into(tmp_path: Path) -> None:
    written(Inputs(torch.zeros(1000, 1000)[:1], None), tmp_path, count=1)
    assert (tmp_path / "batches.pt").stat().st_size < 20_000


def test_several_inputs(tmp_path: Path) -> None:
    inputs = Inputs([torch.randn(2, 4, requires_grad=True), torch.arange(2)], None)
    assert inputs.specs == (InputSpec((4,)), InputSpec((), "int64"))
    assert [[tuple(t.shape) for t in batch] for batch in written(inputs, tmp_path, count=2)] == [[(2, 4), (2,)]] * 2


class Encoding(UserDict[str, torch.Tensor]):
    """What a tokenizer gives."""


IDS, MASK = torch.arange(8).reshape(2, 4), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])


class Reads(torch.nn.Module):
    def forward(
        self, input_ids: Any, past: Any = None, attention_mask: torch.Tensor | None = None, cache: bool = True
    ) -> torch.Tensor:
        assert not cache
        assert attention_mask is not None
        made: torch.Tensor = input_ids * attention_mask
        return made if past is None else made + sum(past["states"])


@pytest.mark.parametrize(
    ("example", "kwargs", "names"),
    [
        (Encoding(input_ids=IDS, attention_mask=MASK), {"cache": False}, ("input_ids", "attention_mask")),
        ((IDS, None, MASK, False), None, ("input_ids", "attention_mask")),
        (IDS, {"attention_mask": MASK, "cache": False}, ("input_ids", "attention_mask")),
        (
            None,
            {"attention_mask": MASK, "cache": False, "input_ids": IDS, "past": {"states": [IDS, IDS]}},
            ("attention_mask", "input_ids", "past.states.0", "past.states.1"),
        ),
    ],
)
def test_an_example_may_be_any_arguments_of_a_call(
    example: Any, kwargs: Any, names: tuple[str, ...], tmp_path: Path
) -> None:
    inputs = Inputs(example, None, kwargs)
    spec = ModelSpec("m", inputs=inputs.specs, batch_size=2, pickle_path=str(tmp_path / "m.pkl"))
    inputs.write(tmp_path / "batches.pt", spec, 3)
    write_model(tmp_path / "m.pkl", Reads())
    made = build_example(replace(spec, batches_path=str(tmp_path / "batches.pt")), 3)
    assert made.form.names == names
    expected = IDS * MASK + (2 * IDS if len(names) > 2 else 0)
    assert torch.equal(made.model(*made.batches[0]), expected)
    masks = [batch[names.index("attention_mask")] for batch in made.batches]
    assert all(mask.sum(-1).tolist() == [3, 2] for mask in masks)
    assert len({str(mask) for mask in masks}) > 1


def test_names_of_an_example_fit_the_model(tmp_path: Path) -> None:
    inputs = Inputs({"input_id": IDS}, None)
    spec = ModelSpec("m", batch_size=2, pickle_path=str(tmp_path / "m.pkl"), batches_path=str(tmp_path / "batches.pt"))
    inputs.write(tmp_path / "batches.pt", spec, 1)
    write_model(tmp_path / "m.pkl", Reads())
    with pytest.raises(UsageError, match=r"example_input: .* takes no 'input_id'; nearest: input_ids"):
        build_example(spec, 1)


def test_an_example_may_have_its_batch_elsewhere() -> None:
    inputs = Inputs((torch.zeros(5, 2, 4), torch.zeros(5, 5)), None, batch_dim=1)
    assert inputs.batch_size == 2
    assert inputs.specs == (InputSpec((5, 4), batch_dim=1), InputSpec((5, 5), batch_dim=None))
    assert Inputs(torch.zeros(5, 2), None, batch_dim=None).batch_size == 1


def test_an_argument_is_given_once() -> None:
    with pytest.raises(UsageError, match="example_kwargs: 'x' is in example_input too"):
        Inputs({"x": IDS}, None, {"x": IDS})


def test_inputs_of_one_example_do_not_share_memory(tmp_path: Path) -> None:
    for first, second in zip(*zip(*written(Inputs((IDS, IDS), None), tmp_path), strict=True), strict=True):
        assert first.untyped_storage().data_ptr() != second.untyped_storage().data_ptr()


def labelled(sizes: list[int]) -> Iterator[list[torch.Tensor]]:
    for number, size in enumerate(sizes):
        yield [torch.full((size, 3), float(number)), torch.zeros(size, dtype=torch.int64)]


def test_a_loaders_first_batches_are_taken_and_labels_are_dropped(tmp_path: Path) -> None:
    inputs = Inputs(None, labelled([2, 2, 1, 2, 2]))
    assert (inputs.batch_size, inputs.specs) == (2, None)
    batches = written(inputs, tmp_path, count=3)
    assert [batch[0][0, 0].item() for batch in batches] == [0.0, 1.0, 3.0]
    assert {len(batch) for batch in batches} == {1}


def test_beside_a_loader_the_example_says_how_many_inputs_there_are(tmp_path: Path) -> None:
    loader = [{"a": torch.ones(2, 3), "b": torch.zeros(2), "labels": torch.zeros(2)}]
    inputs = Inputs((torch.randn(1, 3), torch.randn(1)), loader)
    (batch,) = written(inputs, tmp_path)
    assert [tensor.tolist() for tensor in batch] == [[[1.0] * 3] * 2, [0.0, 0.0]]


@pytest.mark.parametrize(
    ("example", "loader", "line"),
    [
        (None, None, "give an example_input"),
        ("x", None, "example_input: is a str without a tensor, and must be a tensor"),
        ([], None, "example_input: is a list without a tensor"),
        ((torch.ones(1), object()), None, "example_input: holds a object, and must be a tensor"),
        (torch.tensor(1.0), None, r"example_input: begins with a tensor of shape \(\), and must .* at least one dim"),
        (None, 3, "data_loader: is a int, and must be an iterable"),
        (None, [], "data_loader: gives no batch"),
        (None, [{}], r"data_loader: holds no tensor \(\)"),
    ],
)
def test_wrong_inputs_are_named(example: Any, loader: Any, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        Inputs(example, loader)


def test_a_batch_size_that_does_not_agree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batch_size=4: example_input is a batch of 2"):
        written(Inputs(torch.ones(2, 3), None), tmp_path, batch_size=4)
    with pytest.raises(UsageError, match="batch_size=4: data_loader has only batches of 2"):
        written(Inputs(None, labelled([2, 2])), tmp_path, batch_size=4)


def test_what_a_model_is_called() -> None:
    def build() -> torch.nn.Module:
        return Scaled()

    assert name_of(Scaled()) == "Scaled"
    assert name_of(Scaled) == "Scaled"
    assert name_of(functools.partial(build)) == "build"
    with pytest.raises(UsageError, match="model_name is required for a lambda"):
        name_of(lambda: Scaled())  # noqa: PLW0108 - it is about lambdas


@pytest.mark.slow
def test_a_compiled_module_is_handed_over_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    compiled = torch.compile(Scaled())
    assert name_of(compiled) == "Scaled"
    write_model(path, compiled)
    built = build_model(ModelSpec("m", pickle_path=str(path)))
    assert type(built) is Scaled
    assert not built.training


def test_what_cannot_be_handed_over_is_said_in_one_line(tmp_path: Path) -> None:
    with (
        (tmp_path / "open").open("w", encoding="utf-8") as stream,
        pytest.raises(UsageError, match=r"^model: cannot be pickled .*; give a callable that builds it$"),
    ):
        write_model(tmp_path / "model.pkl", functools.partial(print, stream))
    with pytest.raises(UsageError, match="model: is a str, and must be"):
        write_model(tmp_path / "model.pkl", "resnet18")


def test_a_module_on_a_gpu_is_copied_to_the_cpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model = Scaled().cuda()
    used = torch.cuda.memory_allocated()
    write_model(tmp_path / "model.pkl", model)
    assert torch.cuda.max_memory_allocated() <= used
    loaded = cloudpickle.loads((tmp_path / "model.pkl").read_bytes())
    assert {t.device.type for t in (*loaded.parameters(), *loaded.buffers())} == {"cpu"}
    assert loaded.tied is loaded.weight
    assert model.weight.is_cuda


def test_importing_it_does_not_import_torch() -> None:
    code = "import almaflow, sys; almaflow.validate; print('torch' in sys.modules, 'hydra' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
