"""Mean average precision of a tiny detector on made boxes, in each form that outputs and labels may have."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from tests.support.labelled_loaders import HERE, Classifier

from almaflow.errors import UsageError
from almaflow.models.binding import Parameters
from almaflow.models.call_form import CallForm
from almaflow.models.loaded import LabelledLoader
from almaflow.records import EvaluateSpec, ModelSpec, TargetSpec
from almaflow.worker.detections import detections_of, targets_of
from almaflow.worker.evaluate import Scores, evaluate

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torchmetrics takes seconds

FORM = CallForm((["input", 0],), {}, ("x",))
FIGURE = "almaflow.worker.evaluations.mean_average_precision"
SQUARE = [10.0, 10.0, 30.0, 30.0]
HALF_FOUND = 51 / 101
"""Average precision where one box of two is found and nothing else: COCO looks at recalls of 0, 0.01 and so on."""


def loader(form: str = "lists") -> LabelledLoader:
    spec = ModelSpec("detector", data_loader=TargetSpec(f"{HERE}.boxed", {"form": form}), batch_size=2)
    return LabelledLoader(spec, Parameters.of(Classifier()), FORM, (torch.zeros(2, 1),))


def found(outputs: Any, form: str = "lists", names: tuple[str, ...] = ("",), **kwargs: Any) -> Scores:
    """Evaluate a detector that answers so to a batch of two images."""
    pytest.importorskip("torchmetrics", reason="the extra for detection is not installed")
    answers = [(name, False, torch.zeros(2, 3)) for name in names]
    return evaluate(EvaluateSpec(FIGURE, kwargs), loader(form), lambda _: outputs, answers)


def parts(box: list[float], label: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A detector that finds this box in the first image, and nothing worth a score in the second."""
    boxes = torch.tensor([[box, [0.0, 0.0, 1.0, 1.0]], [[0.0, 0.0, 1.0, 1.0]] * 2])
    return boxes, torch.tensor([[0.9, 0.0], [0.0, 0.0]]), torch.tensor([[label, 7], [7, 7]])


@pytest.mark.parametrize("form", ["lists", "padded"])
def test_a_box_of_two_is_found(form: str) -> None:
    scores = found(parts(SQUARE), form, ("0", "1", "2"))
    assert scores.means == {"map": pytest.approx(HALF_FOUND), "map_50": pytest.approx(HALF_FOUND)}
    assert scores.samples == 2
    named = dict(zip(("boxes", "scores", "labels"), parts(SQUARE), strict=True))
    assert found(named, form, tuple(named)).means == scores.means
    boxes, rates, labels = parts(SQUARE)
    columns = torch.cat([boxes, rates[..., None], labels[..., None]], -1)
    assert found(columns, form).means == scores.means


def test_a_box_that_lies_beside_counts_up_to_its_overlap() -> None:
    # Three quarters of the square and nothing else: an overlap of 0.75, at which six of the ten thresholds are met.
    scores = found(parts([10.0, 10.0, 25.0, 30.0]), "lists", ("0", "1", "2"))
    assert scores.means == {"map": pytest.approx(0.6 * HALF_FOUND), "map_50": pytest.approx(HALF_FOUND)}


def test_a_box_of_another_class_finds_nothing() -> None:
    assert found(parts(SQUARE, label=2), "lists", ("0", "1", "2")).means["map"] == 0.0


def test_a_width_of_25_instead_of_30_is_an_overlap_of_five_sixths() -> None:
    scores = found(parts([10.0, 10.0, 25.0, 30.0]), "lists", ("0", "1", "2"), box_format="xywh")
    assert scores.means == {"map": pytest.approx(0.7 * HALF_FOUND), "map_50": pytest.approx(HALF_FOUND)}


@pytest.mark.parametrize(("outputs", "line"), [
    (torch.zeros(2, 84, 100), "and this one gives one output (2, 84, 100)"),
    ({"boxes": torch.zeros(2, 3, 4), "scores": torch.zeros(2, 3)}, "gives boxes (2, 3, 4), scores (2, 3)"),
    ({"boxes": torch.zeros(2, 4, 3), "scores": torch.zeros(2, 3), "labels": torch.zeros(2, 3)},
     "and this one gives (2, 4, 3) and (2, 3) and (2, 3)"),
])  # fmt: skip
def test_outputs_of_another_form_are_told(outputs: Any, line: str) -> None:
    with pytest.raises(ValueError, match="a detector gives boxes") as raised:
        detections_of(outputs)
    assert str(raised.value).endswith(line)


@pytest.mark.parametrize("labels", [torch.zeros(2), [{"boxes": []}], {"boxes": torch.zeros(2, 1, 4)}, "ab"])
def test_labels_of_another_form_are_told(labels: Any) -> None:
    with pytest.raises(ValueError, match=r"^labels of a detector are boxes \(M, 4\) and labels \(M,\) of each image"):
        targets_of(labels)


def test_an_image_without_a_box_has_none() -> None:
    (empty,) = targets_of([{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}])
    assert empty["boxes"].shape == (0, 4)
    assert empty["labels"].dtype is torch.int64
    with pytest.raises(UsageError, match="no image has a box among its labels"):
        found(parts(SQUARE), "empty", ("0", "1", "2"))


def test_without_torchmetrics_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.detection", None)
    with pytest.raises(UsageError, match=r"^evaluate=map: needs torchmetrics and pycocotools; pip install "):
        evaluate(EvaluateSpec(FIGURE), loader(), lambda _: None, [])
