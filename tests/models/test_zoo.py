"""Models of other libraries: one tensor out, settled weights, and one clear line where a library is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import pytest

from almaflow.config.composition import compose
from almaflow.errors import UsageError
from almaflow.records import HardwareSpec, InputSpec, MeasureSpec, ModelSpec, WorkerTask

pytestmark = pytest.mark.slow  # importing these libraries takes seconds

TOKENS = (InputSpec((6,), "int64", 0, 100, "input_ids"), InputSpec((6,), "int64", 1, 2, "attention_mask"))
SMALL: dict[str, tuple[str, dict[str, Any], tuple[InputSpec, ...], tuple[int, ...]]] = {
    "transformers bert": (
        "almaflow.models.text.bert",
        {
            "vocab_size": 100,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 32,
        },
        TOKENS,
        (2, 6, 16),
    ),
    "transformers gpt2": (
        "almaflow.models.text.gpt2",
        {"vocab_size": 100, "n_embd": 16, "n_layer": 2, "n_head": 2},
        TOKENS,
        (2, 6, 100),
    ),
    "timm": ("almaflow.models.zoo.timm", {"model_name": "resnet10t"}, (InputSpec((3, 64, 64)),), (2, 1000)),
    "ultralytics": ("almaflow.models.zoo.yolo", {}, (InputSpec((3, 64, 64)),), (2, 84, 84)),
}


@pytest.mark.parametrize("name", SMALL)
def test_it_answers_with_one_tensor_that_depends_on_its_input(name: str) -> None:
    import torch

    from almaflow.worker.reference import example_model

    library = name.split(maxsplit=1)[0]
    if not find_spec(library):
        pytest.skip(f"{library} is not installed: an extra of its own")
    target, kwargs, inputs, shape = SMALL[name]
    spec = ModelSpec(name, target=target, kwargs=kwargs, inputs=inputs, batch_size=2)
    model, batches = example_model(WorkerTask(spec, HardwareSpec("c", "cpu", 1), MeasureSpec(), None, ".", ""))[:2]
    with torch.no_grad():
        first, second = model(*batches[0]), model(*batches[1])
    assert tuple(first.shape) == shape
    assert torch.isfinite(first).all()
    assert not torch.allclose(first, second, rtol=1e-3, atol=1e-3 * float(first.abs().max()))


@pytest.mark.parametrize(("name", "library"), [("bert", "transformers"), ("timm", "timm"), ("yolo", "ultralytics")])
def test_without_its_library_one_line_says_what_to_install(
    name: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from almaflow.models.build import build_model

    for module in [each for each in sys.modules if each.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    config = compose([f"model={name}"]).model
    with pytest.raises(UsageError, match=rf"needs .*{library}.*pip install '{library}>="):
        build_model(ModelSpec(name, target=str(config._target_), kwargs=dict(config.kwargs)))
