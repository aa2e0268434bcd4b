"""Models, inputs and outputs, built for real."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import pytest

from almaflow.config import files
from almaflow.errors import UsageError
from almaflow.records import InputSpec, ModelSpec, TargetSpec

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

pytestmark = pytest.mark.slow  # importing torch and torchvision takes seconds

SIMPLE = ModelSpec("simple", target="almaflow.models.simple.SimpleCNN", inputs=(InputSpec((3, 32, 32)),))


def build_batches(spec: ModelSpec, count: int) -> list[tuple[torch.Tensor, ...]]:
    """Example inputs for a model that takes anything by position."""
    from almaflow.models.batches import build_inputs
    from almaflow.models.binding import Parameters

    return build_inputs(spec, count, Parameters()).batches


def test_simple_has_a_million_parameters_and_ten_classes() -> None:
    from almaflow.models.build import build_model, check_forward

    model = build_model(SIMPLE)
    assert 0.9e6 < sum(parameter.numel() for parameter in model.parameters()) < 1.2e6
    assert not model.training
    output = check_forward(model, build_batches(ModelSpec(**{**vars(SIMPLE), "batch_size": 4}), 1)[0])
    assert tuple(output.shape) == (4, 10)  # type: ignore[attr-defined]


def test_the_seed_decides_the_weights_and_the_digest_tells() -> None:
    from almaflow.models.build import build_model, weights_digest

    digests = [weights_digest(build_model(ModelSpec(**{**vars(SIMPLE), "seed": seed}))) for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_the_digest_sees_names_buffers_and_types() -> None:
    import torch

    from almaflow.models.build import weights_digest

    def holder(name: str, tensor: torch.Tensor, *, buffer: bool = True) -> nn.Module:
        module = torch.nn.Module()
        if buffer:
            module.register_buffer(name, tensor, persistent=False)
        return module

    digests = {
        weights_digest(made)
        for made in (
            holder("a", torch.zeros(4)),
            holder("b", torch.zeros(4)),
            holder("a", torch.zeros(2, 2)),
            holder("a", torch.zeros(4, dtype=torch.int32)),
            holder("a", torch.tensor([0.0, 0, 0, 1])),
            holder("a", torch.zeros(4, dtype=torch.bfloat16)),
            holder("a", torch.zeros(4).to_sparse()),
            holder("a", torch.zeros(4), buffer=False),
        )
    }
    assert len(digests) == 8


TORCHVISION = {name: made["arch"] for name, made in files.choices("model").items() if made.get("arch")}


def test_all_named_torchvision_models_are_there() -> None:
    assert len(TORCHVISION) == 18


@pytest.mark.parametrize("name", sorted(TORCHVISION))
def test_named_models_run_on_their_inputs(name: str) -> None:
    import torch
    import torchvision  # noqa: F401 - its import registers operators

    from almaflow.models.build import build_model

    inputs = files.choices("model")[name]["inputs"]
    with torch.device("meta"):
        model = build_model(ModelSpec(name, arch=TORCHVISION[name], inputs=(InputSpec(tuple(inputs[0]["shape"])),)))
        output = model(torch.empty(2, *inputs[0]["shape"]))
    assert tuple(output.shape) == (2, 1000)


@pytest.mark.parametrize(
    ("arch", "kwargs", "size"),
    [("efficientnet_b2", {}, 288), ("vit_h_14", {}, 518), ("vit_b_32", {"image_size": 64}, 64), ("alexnet", {}, 224)],
)
def test_without_inputs_the_image_is_as_the_published_weights_expect(
    arch: str, kwargs: dict[str, Any], size: int
) -> None:
    import torch
    import torchvision  # noqa: F401 - its import registers operators

    from almaflow.models.build import build_model

    spec = ModelSpec(arch, arch=arch, kwargs=kwargs)
    ((image,),) = build_batches(spec, 1)
    assert tuple(image.shape) == (1, 3, size, size)
    with torch.device("meta"):
        assert tuple(build_model(spec)(image.to("meta")).shape) == (1, 1000)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        (
            ModelSpec("m", arch="resnet81"),
            "model.arch=resnet81: torchvision has no such classification model; nearest: ",
        ),
        (ModelSpec("m", arch="fasterrcnn_resnet50_fpn"), "no such classification model"),
        (
            ModelSpec("m", arch="resnet18", kwargs={"depth": 3}),
            r"calling it with \(weights=None, depth=3\) raised TypeError",
        ),
        (
            ModelSpec("m", target="builtins.dict"),
            "model._target_=builtins.dict: gave a dict, and must give a torch.nn.Module",
        ),
        (ModelSpec("m"), "neither an architecture nor a target"),
    ],
)
def test_a_model_that_cannot_be_built_says_why(spec: ModelSpec, line: str) -> None:
    from almaflow.models.build import build_model

    with pytest.raises(UsageError, match=line) as caught:
        build_model(spec)
    assert "\n" not in str(caught.value)


def test_pickled_modules_and_builders(tmp_path: Path) -> None:
    from torch import nn

    from almaflow.models.build import build_model, weights_digest

    module = nn.Linear(3, 2)
    for number, held in enumerate((module, lambda: module)):
        path = tmp_path / str(number)
        path.write_bytes(cloudpickle.dumps(held))
        built = build_model(ModelSpec("mine", pickle_path=str(path)))
        assert weights_digest(built) == weights_digest(module)
    (tmp_path / "bad").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="model mine: cannot be loaded in the worker process"):
        build_model(ModelSpec("mine", pickle_path=str(tmp_path / "bad")))


def test_random_batches_are_seeded_distinct_and_in_range() -> None:
    import torch

    inputs = (
        InputSpec((2, 3)),
        InputSpec((400,), "int64", low=-3, high=5),
        InputSpec((400,), "bool"),
        InputSpec((4,), "bfloat16"),
        InputSpec((400,), "uint8", low=250, high=256),
        InputSpec((), "float64"),
    )
    spec = ModelSpec("m", target="pkg.fn", inputs=inputs, batch_size=2)
    batches, again = build_batches(spec, 3), build_batches(spec, 3)
    assert all(
        torch.equal(one, two)
        for first, second in zip(batches, again, strict=True)
        for one, two in zip(first, second, strict=True)
    )
    assert not torch.equal(batches[0][0], batches[1][0])
    floats, integers, flags, half, small, scalar = batches[0]
    assert floats.dtype is torch.float32
    assert floats.shape == (2, 2, 3)
    assert set(integers.flatten().tolist()) == set(range(-3, 5))
    assert set(flags.flatten().tolist()) == {False, True}
    assert half.dtype is torch.bfloat16
    assert set(small.flatten().tolist()) == set(range(250, 256))
    assert scalar.shape == (2,)


@pytest.mark.parametrize(
    "given",
    [
        InputSpec((4,), "int64"),
        InputSpec((4,), "int8", high=1000),
        InputSpec((4,), "nope"),
    ],
)
def test_inputs_that_cannot_be_drawn_are_refused(given: InputSpec) -> None:
    with pytest.raises(UsageError, match=r"model\.inputs"):
        build_batches(ModelSpec("m", target="pkg.fn", inputs=(given,)), 1)


def loader(kind: str = "tuple") -> list[Any]:
    """Three batches of two and a last one of one, as a data loader gives them: images and labels."""
    import torch

    def item(number: int, size: int) -> Any:
        images, labels = torch.full((size, 3), float(number)), torch.zeros(size, dtype=torch.int64)
        kinds: dict[str, Any] = {
            "tuple": (images, labels),
            "list": [images, labels],
            "tensor": images,
            "dict": {"labels": labels, "images": images},
            "numpy": (images.numpy(), labels.numpy()),
            "text": ("a", "b"),
        }
        return kinds[kind]

    return [item(number, 2 if number < 3 else 1) for number in range(4)]


@pytest.mark.parametrize("kind", ["tuple", "list", "tensor", "numpy", "dict"])
def test_a_data_loaders_batches_come_without_labels_and_without_the_short_one(kind: str) -> None:
    inputs = (InputSpec((3,), name="images"),) if kind == "dict" else None
    spec = ModelSpec(
        "m", target="p.f", inputs=inputs, data_loader=TargetSpec(f"{__name__}.loader", {"kind": kind}), batch_size=2
    )
    batches = build_batches(spec, 5)
    assert [[tensor.shape for tensor in batch] for batch in batches] == [[(2, 3)]] * 3
    assert [batch[0].max().item() for batch in batches] == [0.0, 1.0, 2.0]
    assert len(build_batches(spec, 2)) == 2


def test_a_data_loader_gives_as_many_tensors_as_the_model_has_inputs() -> None:
    two = (InputSpec((3,)), InputSpec((), "int64", high=2))
    spec = ModelSpec("m", target="p.f", inputs=two, data_loader=TargetSpec(f"{__name__}.loader"), batch_size=2)
    assert [len(batch) for batch in build_batches(spec, 2)] == [2, 2]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"batch_size": 8}, "batch_size=8: .*has only batches of 1, 2; let both agree"),
        (
            {"data_loader": TargetSpec(f"{__name__}.loader", {"kind": "text"})},
            r"its batches hold \(str\), but no tensor",
        ),
        ({"data_loader": TargetSpec("builtins.object")}, "returned a object, and must return an iterable"),
        ({"data_loader": TargetSpec("builtins.list")}, "has no batch"),
        ({"inputs": (InputSpec((3,)),) * 3}, "the model takes 3 tensors"),
        (
            {
                "data_loader": TargetSpec(f"{__name__}.loader", {"kind": "dict"}),
                "inputs": (InputSpec((3,), name="pixels"),),
            },
            "its batches have labels, images, but no 'pixels'",
        ),
    ],
)
def test_a_data_loader_that_does_not_fit_says_why(changes: dict[str, Any], line: str) -> None:
    spec = ModelSpec("m", target="p.f", data_loader=TargetSpec(f"{__name__}.loader"), batch_size=2)
    with pytest.raises(UsageError, match=line):
        build_batches(ModelSpec(**{**vars(spec), **changes}), 1)


def test_a_forward_call_that_fails_names_shapes_and_what_to_change() -> None:
    import torch

    from almaflow.models.build import build_model, check_forward

    with pytest.raises(UsageError, match=r"inputs of shape \(1, 3, 8\) float32: .*change model\.inputs") as caught:
        check_forward(build_model(SIMPLE), (torch.zeros(1, 3, 8),))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="without a tensor in it"):
        check_forward(Silent(), (torch.zeros(1),))


def test_a_model_that_runs_in_training_mode_only_is_told_so() -> None:
    import torch

    from almaflow.models.build import check_forward

    class Trains(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.training:
                message = "no inference yet"
                raise NotImplementedError(message)
            return x

    with pytest.raises(UsageError, match=r"runs in training mode only, .* evaluation mode: .*: no inference yet"):
        check_forward(Trains().eval(), (torch.zeros(1),))


def Silent() -> nn.Module:  # noqa: N802 - a class of the caller by its name
    from torch import nn

    class Nothing(nn.Module):
        def forward(self, _: torch.Tensor) -> None:
            """Give nothing back."""

    return Nothing()


@dataclass
class Answer:
    logits: Any
    extra: Any = None


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_outputs_of_every_kind_become_a_flat_list_of_tensors() -> None:
    import torch

    from almaflow.models.build import flatten_outputs

    one, two = torch.ones(2, requires_grad=True), torch.zeros(3)
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8)
    cases: list[tuple[object, list[list[float]]]] = [
        (one, [[1.0, 1.0]]),
        ((one, [two]), [[1.0, 1.0], [0.0, 0.0, 0.0]]),
        (OrderedDict(b=one, a=two), [[1.0, 1.0], [0.0, 0.0, 0.0]]),
        (Answer(one, "text"), [[1.0, 1.0]]),
        ([np.ones(2, dtype=np.float32), None], [[1.0, 1.0]]),
        (quantised, [[1.0, 1.0]]),
    ]
    for output, expected in cases:
        tensors = flatten_outputs(output)
        assert [tensor.tolist() for tensor in tensors] == expected
        assert not any(tensor.requires_grad for tensor in tensors)
    assert flatten_outputs(2.5)[0].item() == 2.5
    with pytest.raises(TypeError, match="NoneType without a tensor"):
        flatten_outputs(None)


def test_an_array_that_a_runtime_uses_again_is_copied() -> None:
    from almaflow.models.build import flatten_outputs

    buffer = np.ones(2)
    (tensor,) = flatten_outputs([buffer])
    buffer[:] = 7
    assert tensor.tolist() == [1.0, 1.0]
