"""Weights from a file: safetensors, state dicts, checkpoints; what does not fit is told in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

from almaflow.config.composition import compose
from almaflow.config.resolve import resolve_model
from almaflow.errors import UsageError
from almaflow.models.build import build_model, weights_digest
from almaflow.models.digests import digests_of_built
from almaflow.models.weights import load_weights
from almaflow.records import ModelSpec
from almaflow.worker.reference import _random

if TYPE_CHECKING:
    from collections.abc import Callable

LINEAR = ModelSpec("linear", target="torch.nn.Linear", kwargs={"in_features": 3, "out_features": 2})
WEIGHTS = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.tensor([1.0, -1.0])}


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("w.safetensors", lambda path: save_file(WEIGHTS, path)),
        ("w.pt", lambda path: torch.save(WEIGHTS, path)),
        ("w.pth", lambda path: torch.save({"epoch": 3, "state_dict": WEIGHTS}, path)),
        ("w.bin", lambda path: torch.save({"model_state_dict": WEIGHTS, "loss": 0.1}, path)),
        ("w.ckpt", lambda path: torch.save({f"module.{key}": value for key, value in WEIGHTS.items()}, path)),
        ("w.old", lambda path: torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)),
        ("w.half", lambda path: torch.save({key: value.half() for key, value in WEIGHTS.items()}, path)),
    ],
)
def test_the_model_gets_the_weights_of_the_file(name: str, save: Callable[[Path], None], tmp_path: Path) -> None:
    file = tmp_path / name
    save(file)
    model = build_model(replace(LINEAR, weights=str(file)))
    assert {key: value.tolist() for key, value in model.state_dict().items()} == {
        key: value.tolist() for key, value in WEIGHTS.items()
    }
    assert not model.training


class Stranger:
    """What a pickle may hold, and must not be made."""


@pytest.mark.parametrize(
    ("held", "line"),
    [
        ({"weight": WEIGHTS["weight"]}, "does not fit the model: the file lacks bias"),
        ({**WEIGHTS, "head": torch.ones(1)}, "does not fit the model: the model has no head"),
        (
            {f"old.{key}": value for key, value in WEIGHTS.items()},
            "does not fit the model: the file lacks weight, bias; the model has no old.weight, old.bias",
        ),
        (
            {**WEIGHTS, "bias": torch.ones(3)},
            "does not fit the model: bias is [3] in the file and [2] in the model",
        ),
        ({**WEIGHTS, **{f"x{i}": torch.ones(1) for i in range(9)}}, "the model has no x0, x1, x2 and 6 more"),
        ({"epoch": 1}, "has no state dict of tensors, but a dictionary of epoch; keep model.state_dict() in a file"),
        ([1, 2], "has no state dict of tensors, but list; keep"),
        (torch.nn.Linear(3, 2), "holds more than tensors (torch.nn.modules.linear.Linear), which would run code; keep"),
        (
            {**WEIGHTS, "more": Stranger()},
            "holds more than tensors (tests.models.test_weights.Stranger), which would run code",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(held: Any, line: str, tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save(held, file)
    with pytest.raises(UsageError) as caught:
        load_weights(torch.nn.Linear(3, 2), str(file))
    assert str(caught.value).startswith(f"model.weights={file}: ")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_file_without_weights_is_one_line(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("no tensors\n", encoding="utf-8")
    with pytest.raises(UsageError, match=f"^model.weights={file}: [^\n]*$"):
        load_weights(torch.nn.Linear(3, 2), str(file))


def test_the_configuration_names_the_file_by_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^model\.weights=w\.pt: there is no such file$"):
        resolve_model(compose(["model.weights=w.pt"]))
    Path("w.pt").touch()
    assert resolve_model(compose(["model.weights=w.pt"])).weights == str(tmp_path / "w.pt")
    assert resolve_model(compose([])).weights is None


def test_weights_from_a_file_are_not_random_and_belong_to_the_fingerprint() -> None:
    model = torch.nn.Linear(3, 2)
    spec = ModelSpec("simple", target="almaflow.models.simple.SimpleCNN")

    def digests(spec: ModelSpec) -> dict[str, str]:
        from almaflow.models.call_form import CallForm

        return digests_of_built(spec, model, weights_digest(model), [(torch.ones(1, 3),)], CallForm.flat(1))

    given = replace(spec, weights="w.pt")
    assert _random(spec)
    assert not _random(given)
    assert "weights" not in digests(spec)
    assert "weights" in digests(given)
    assert digests(given) | digests(spec) == digests(given)
