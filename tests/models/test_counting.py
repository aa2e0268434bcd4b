"""Operations, FLOPs and bytes of models, against figures that others publish."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensor

from almaflow.errors import AlmaflowError, UsageError
from almaflow.models import counting
from almaflow.models.counting import count
from almaflow.predict import workloads
from almaflow.predict.workloads import workload_of
from almaflow.records import InputSpec, ModelSpec, Operation, Workload
from almaflow.worker.count_operations import fake_workload

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.models.batches import Batch


def operations(model: nn.Module, *shape: int) -> tuple[Operation, ...]:
    return count(model.eval(), [torch.zeros(shape)]).operations


def test_a_linear_layer() -> None:
    (only,) = operations(nn.Linear(8, 6), 4, 8)
    assert (only.kind, only.flops, only.shape) == ("matmul", 2 * 4 * 8 * 6, (4, 6))
    assert (only.read_bytes, only.weight_bytes, only.written_bytes) == (4 * 4 * 8, 4 * (8 * 6 + 6), 4 * 4 * 6)
    assert only.sizes == {"m": 4, "n": 6, "k": 8, "groups": 1}


@pytest.mark.parametrize(
    ("layer", "kind", "sizes"),
    [
        (nn.Conv2d(8, 12, 3, padding=1), "conv", {"m": 50, "n": 12, "k": 72, "groups": 1, "kernel": 9, "stride": 1}),
        (nn.Conv2d(8, 12, 1), "conv_pointwise", {"m": 50, "n": 12, "k": 8, "groups": 1, "kernel": 1, "stride": 1}),
        (
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            "conv_depthwise",
            {"m": 50, "n": 1, "k": 9, "groups": 8, "kernel": 9, "stride": 1},
        ),
        (
            nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4),
            "conv_grouped",
            {"m": 18, "n": 3, "k": 18, "groups": 4, "kernel": 9, "stride": 2},
        ),
    ],
)
def test_convolutions_by_what_limits_them(layer: nn.Module, kind: str, sizes: dict[str, int]) -> None:
    (only,) = operations(layer, 2, 8, 5, 5)
    assert (only.kind, only.sizes) == (kind, sizes)
    assert only.flops == 2 * sizes["m"] * sizes["n"] * sizes["k"] * sizes["groups"]


def test_an_lstm_is_its_products_whether_one_kernel_computes_them_or_many() -> None:
    found = operations(nn.LSTM(16, 32), 5, 2, 16)
    products = [each for each in found if each.kind == "matmul"]
    assert sum(each.flops for each in products) == 2 * (5 * 2) * (4 * 32) * (16 + 32)
    assert all(each.flops == 2 * math.prod(each.sizes.values()) for each in products)


@pytest.mark.parametrize(
    ("layer", "window"),
    [
        (nn.MaxPool2d(3, 2, 1), 9),
        (nn.MaxPool2d(2), 4),
        (nn.AvgPool2d((3, 2)), 6),
        (nn.AdaptiveAvgPool2d(1), 64),
        (nn.AdaptiveAvgPool2d((4, 2)), 8),
        (nn.Upsample(scale_factor=2), 1),
    ],
)
def test_pools_by_their_windows(layer: nn.Module, window: int) -> None:
    (only,) = operations(layer, 2, 3, 8, 8)
    if only.kind == "pool":
        assert only.sizes == {"kernel": window}
    else:  # PyTorch pools into one by a mean
        assert (only.kind, window) == ("reduction", 64)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.sigmoid(x)
        return torch.relu(self.norm(self.conv(x)) + x)


def test_what_a_compiler_joins_to_the_operation_before_it() -> None:
    found = {each.name: each.fusible for each in operations(Residual(), 1, 8, 5, 5)}
    norm = next(name for name in found if "batch_norm" in name)  # another operator in each version of PyTorch
    assert found == {"sigmoid": False, "convolution": False, norm: True, "add": True, "relu": True}


class Twice(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x @ x
        return torch.relu(y) + torch.sigmoid(y)


def test_what_two_read_is_joined_to_neither() -> None:
    found = {each.name: each.fusible for each in operations(Twice(), 5, 5)}
    assert found == {"mm": False, "relu": False, "sigmoid": False, "add": True}


def test_views_are_free_and_stay_what_they_look_at() -> None:
    found = operations(nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Flatten(1), nn.Linear(8, 6)), 4, 8)
    assert [each.name for each in found] == ["addmm"]
    assert found[0].weight_bytes == 4 * (8 * 6 + 6)


def test_attention_has_the_flops_of_both_products() -> None:
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    found = [each for each in operations(Attention(), 1, 3, 7, 16) if each.kind in {"attention", "matmul"}]
    assert sum(each.flops for each in found) == 2 * (2 * 3 * 7 * 7 * 16)


def test_a_table_is_looked_into_and_not_read() -> None:
    (only,) = count(nn.Embedding(1000, 8).eval(), [torch.zeros(1, 5, dtype=torch.int64)]).operations
    assert only.kind == "gather"
    assert only.weight_bytes == 0
    assert only.read_bytes == 5 * 8 + 5 * 8 * 4


@pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "convnext_tiny", "vit_b_32", "efficientnet_b0"])
def test_flops_are_those_that_torchvision_publishes(arch: str) -> None:
    from torchvision.models import get_model_weights

    # Torchvision counts multiplications with their additions as one, in 10^9, rounded to three digits.
    published = next(iter(get_model_weights(arch))).meta["_ops"]
    workload = fake_workload(ModelSpec(arch, arch=arch))
    products = sum(each.flops for each in workload.operations if each.sizes or each.kind == "attention")
    assert products / 2e9 == pytest.approx(published, rel=0.01)
    parameters = next(iter(get_model_weights(arch))).meta["num_params"]
    assert workload.parameters_mb == pytest.approx(4e-6 * parameters)


def test_a_model_on_fake_tensors_has_the_operations_of_the_real_one() -> None:
    from almaflow.models.build import build_example

    spec = ModelSpec("resnet18", arch="resnet18", batch_size=2)
    example = build_example(spec, 1)
    assert fake_workload(spec) == count(example.model, example.batches[0])


def test_weights_that_are_drawn_until_they_please_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vision transformer's are, and fake tensors have no values to look at."""
    built: list[nn.Module] = []

    def counted(model: nn.Module, batch: Batch, batch_size: int) -> Workload:
        built.append(model)
        return count(model, batch, batch_size)

    monkeypatch.setattr(counting, "count", counted)
    before = nn.init.trunc_normal_
    fake_workload(ModelSpec("vit_b_32", arch="vit_b_32"))
    (model,) = built
    assert all(isinstance(each, FakeTensor) for each in model.parameters())
    assert nn.init.trunc_normal_ is before


def test_counting_changes_nothing() -> None:
    model = Residual().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count(model, [torch.zeros(1, 8, 5, 5)])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert type(model(torch.zeros(1, 8, 5, 5))) is torch.Tensor


SIMPLE = ModelSpec("simple", target="almaflow.models.small.SimpleCNN")


def test_it_is_counted_once_and_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from almaflow.config.composition import compose
    from almaflow.config.resolve import resolve_model

    spec = resolve_model(compose(["model=simple"]))
    counted = workload_of(spec)
    assert counted.batch_size == 1
    (kept,) = (home / "workloads").iterdir()
    with monkeypatch.context() as patched:
        patched.setattr(workloads, "_counted", lambda _: pytest.fail("counted again"))
        assert workload_of(spec) == counted
    kept.write_text(kept.read_text(encoding="utf-8")[:100], encoding="utf-8")  # cut short
    assert workload_of(spec) == counted


@pytest.mark.parametrize(
    ("arch", "kind", "said"),
    [("resnet19", UsageError, "resnet19"), (None, UsageError, "neither an architecture nor a target")],
)
def test_a_model_that_does_not_build(arch: str | None, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        workload_of(ModelSpec("wrong", arch=arch))


def test_a_child_that_dies_says_with_what() -> None:
    spec = ModelSpec("dies", target="os._exit", kwargs={"status": 7}, inputs=(InputSpec((3,)),))
    with pytest.raises(AlmaflowError, match="the operations of dies could not be counted: its process ended with 7"):
        workload_of(spec)


class Keeps(nn.Module):
    """Keeps tensors of its first call: in an attribute, in a dictionary, in a list, and in an object of its own."""

    def __init__(self, *, copies: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.table: torch.Tensor | None = None
        self.by_length: dict[int, torch.Tensor] = {}
        self.seen: list[torch.Tensor] = []
        self.lock = None if copies else threading.Lock()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.table is None:
            self.table = torch.arange(8.0).cos()
        length = x.shape[1]
        if length not in self.by_length:
            self.by_length[length] = torch.arange(float(length))[:, None]
        self.seen.append(x)
        scaled: torch.Tensor = self.linear(x) * self.table
        return scaled + self.by_length[length]


@pytest.mark.parametrize("copies", [True, False])
def test_counting_leaves_no_trace_in_a_model_that_keeps_tensors(copies: bool) -> None:
    model = Keeps(copies=copies).eval()
    before = {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    assert count(model, [torch.zeros(2, 6, 8)]).flops > 0
    assert (model.table, model.by_length, model.seen) == (None, {}, [])
    assert {name: id(value) for name, value in model.state_dict(keep_vars=True).items()} == before
    with torch.no_grad():
        assert not isinstance(model(torch.zeros(2, 6, 8)), FakeTensor)
