"""How large converted models are, each by the library that really makes them so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import torch

pytestmark = [
    pytest.mark.slow,
    # Of PyTorch's about its older ways to quantise and to trace, which are measured as long as they are there.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

WEIGHTS, BIASES = 256 * 512 + 512 * 64, 512 + 64
FLOAT_MB = 4 * (WEIGHTS + BIASES) / 1e6


def perceptron() -> torch.nn.Module:
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 64)).eval()


def size_mb(module: torch.nn.Module) -> float:
    from almaflow.conversions.built.size import module_mb

    return module_mb(module)


def test_a_module_holds_its_parameters_and_buffers() -> None:
    import torch

    assert size_mb(perceptron()) == pytest.approx(FLOAT_MB)
    # Two parameters, two running statistics, and one count of 64 bits.
    assert size_mb(torch.nn.BatchNorm2d(100)) == pytest.approx((4 * 4 * 100 + 8) / 1e6)
    assert size_mb(torch.nn.ReLU()) == 0.0


def test_half_the_precision_is_half_the_size() -> None:
    import torch

    for dtype in (torch.float16, torch.bfloat16):
        assert size_mb(perceptron().to(dtype)) == pytest.approx(FLOAT_MB / 2)


def test_a_buffer_that_is_not_saved_is_held_all_the_same() -> None:
    import torch

    module = torch.nn.Module()
    module.register_buffer("table", torch.zeros(1000), persistent=False)
    assert size_mb(module) == pytest.approx(4000 / 1e6)


def test_a_parameter_that_two_layers_share_is_held_once() -> None:
    import torch

    embedding, head = torch.nn.Embedding(1000, 64), torch.nn.Linear(64, 1000, bias=False)
    head.weight = embedding.weight
    assert size_mb(torch.nn.Sequential(embedding, head)) == pytest.approx(4 * 64_000 / 1e6)


def test_a_module_that_is_used_twice_is_held_once() -> None:
    import torch

    layer = perceptron()
    assert size_mb(torch.nn.Sequential(layer, layer)) == pytest.approx(FLOAT_MB)


def test_a_traced_or_compiled_module_is_as_large_as_the_module_itself() -> None:
    import torch

    module = torch.nn.Sequential(perceptron(), torch.nn.BatchNorm1d(64)).eval()
    traced = torch.jit.trace(module, torch.zeros(1, 256))  # type: ignore[no-untyped-call]
    exported = torch.export.export(module, (torch.zeros(1, 256),)).module()
    compiled = torch.compile(module)
    assert isinstance(compiled, torch.nn.Module)
    for other in (traced, exported, compiled):
        assert size_mb(other) == pytest.approx(size_mb(module))


def test_quanto_s_weights_of_8_bits_are_a_quarter_with_their_scales() -> None:
    from optimum.quanto import freeze, qint8, quantize

    module = perceptron()
    quantize(module, weights=qint8)
    freeze(module)
    scales = 4 * (512 + 64)  # one for each output
    at_least = (WEIGHTS + scales + 4 * BIASES) / 1e6
    assert at_least <= size_mb(module) <= at_least * 1.02
    assert size_mb(module) < FLOAT_MB / 3


def test_torchao_s_weights_of_8_bits_are_a_quarter_with_their_scales() -> None:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    module = perceptron()
    quantize_(module, Int8WeightOnlyConfig())
    at_least = (WEIGHTS + 4 * BIASES) / 1e6
    assert at_least < size_mb(module) <= at_least * 1.05
    assert size_mb(module) < FLOAT_MB / 3


def test_pytorch_s_own_packed_weights_of_8_bits_are_about_a_quarter() -> None:
    import torch

    quantize = torch.ao.quantization.quantize_dynamic
    module = quantize(perceptron(), {torch.nn.Linear}, torch.qint8)  # type: ignore[no-untyped-call]
    at_least = (WEIGHTS + 4 * BIASES) / 1e6
    # What saving them takes, headers included.
    assert at_least < size_mb(module) < FLOAT_MB / 3


def test_what_is_on_the_meta_device_has_the_size_it_will_have() -> None:
    import torch

    with torch.device("meta"):
        module = torch.nn.Linear(1000, 1000, bias=False)
    assert size_mb(module) == pytest.approx(4.0)


def test_the_module_is_left_as_it_is() -> None:
    module = perceptron()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    size_mb(module)
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert all(value.equal(before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("external", [False, True])
def test_an_onnx_file_counts_with_the_weights_beside_it(tmp_path: Path, external: bool) -> None:
    import torch

    from almaflow.conversions.built.size import file_mb

    path = tmp_path / "model.onnx"
    torch.onnx.export(perceptron(), (torch.zeros(1, 256),), path, dynamo=True, external_data=external, verbose=False)
    assert (tmp_path / "model.onnx.data").exists() is external
    assert FLOAT_MB <= file_mb(path) == file_mb(str(path)) <= FLOAT_MB * 1.1
    assert (path.stat().st_size / 1e6 < FLOAT_MB / 10) is external


def test_a_file_alone_is_its_bytes(tmp_path: Path) -> None:
    from almaflow.conversions.built.size import file_mb

    path = tmp_path / "model.onnx"
    path.write_bytes(b"x" * 1500)
    assert file_mb(path) == 0.0015
    (tmp_path / "other.onnx.data").write_bytes(b"x" * 10_000)
    assert file_mb(path) == 0.0015
    (tmp_path / "model.onnx.data").write_bytes(b"x" * 500)
    assert file_mb(path) == 0.002
