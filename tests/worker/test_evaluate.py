"""Evaluation on labelled data: every sample counts once, and what cannot be evaluated is told in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.support.labelled_loaders import HERE, Classifier, digits

from almaflow.errors import UsageError
from almaflow.models.binding import Parameters
from almaflow.models.call_form import CallForm
from almaflow.models.loaded import LabelledLoader, calibration_batches
from almaflow.records import EvaluateSpec, ModelSpec, QualityDrop, TargetSpec
from almaflow.records.quality import figures_of
from almaflow.stats.quality import proportions_interval
from almaflow.worker import evaluations
from almaflow.worker.evaluate import Scores, drops, evaluate

BUILT_IN = "almaflow.worker.evaluations"
FORM = CallForm((["input", 0],), {}, ("x",))
EAGER = [("", False, torch.zeros(2, 3))]


def loader(made_by: str = "digits", samples: float | None = None, **kwargs: Any) -> LabelledLoader:
    spec = ModelSpec("digits", data_loader=TargetSpec(f"{HERE}.{made_by}", kwargs), batch_size=2)
    return LabelledLoader(spec, Parameters.of(Classifier()), FORM, digits()[0][:1], samples)


def scores(
    figure: str = f"{BUILT_IN}.top1", given: LabelledLoader | None = None, *, flip: int = 0, **spec: Any
) -> tuple[Scores, list[int]]:
    """Evaluate a model that is right but for the first ``flip`` samples, and the sizes of the calls that it got."""
    sizes: list[int] = []

    def call(batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        (x,) = batch
        sizes.append(len(x))
        seen = 2 * (len(sizes) - 1)
        return torch.stack([-row if seen + place < flip else row for place, row in enumerate(x)])

    found = evaluate(EvaluateSpec(figure, **spec), given or loader(), call, EAGER)
    return found, sizes


def test_every_sample_counts_once_and_each_call_is_as_large_as_the_model_was_built_for() -> None:
    found, sizes = scores()
    assert found.by_name["top1"].tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert found.means == {"top1": pytest.approx(5 / 7)}
    assert (found.samples, sizes) == (7, [2, 2, 2, 2])


def test_larger_batches_are_cut_and_smaller_ones_filled_up() -> None:
    assert scores(given=loader(sizes=(5, 2)))[0].by_name["top1"].tolist() == [1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(("samples", "count"), [(1, 1), (3, 3), (6, 6), (50, 7), (0.5, 4), (0.01, 1), (None, 7)])
def test_so_many_samples_as_are_asked_for(samples: float | None, count: int) -> None:
    found, _ = scores(given=loader(samples=samples))
    assert found.samples == len(found.by_name["top1"]) == count


def test_an_endless_loader_does_for_a_count() -> None:
    assert scores(given=loader("endless", samples=20))[0].samples == 20


def test_labels_of_a_mapping() -> None:
    assert scores(given=loader("mappings"))[0].means == {"top1": pytest.approx(5 / 7)}


def test_a_figure_of_the_whole_set_is_computed_over_all_of_it() -> None:
    found, _ = scores(f"{HERE}.whole")
    assert found.by_name["best_class"].shape == ()
    assert found.means == {"best_class": 1.0}  # the mean over the batches would be less
    assert scores(f"{HERE}.mixed", kwargs={"scale": 2.0})[0].means == {"right": pytest.approx(5 / 7), "count": 14.0}


def test_a_function_may_call_the_model_itself() -> None:
    found, sizes = scores(f"{HERE}.own_loop")
    assert found.means == {"right": pytest.approx(5 / 7)}
    assert (found.samples, sizes) == (7, [2, 2, 2, 2])


def test_what_was_lost_is_paired_with_eager_sample_by_sample() -> None:
    eager, spoilt = scores()[0], scores(flip=3)[0]
    interval = proportions_interval(3, 0, 7)
    assert drops(eager, spoilt) == {"top1": QualityDrop(3 / 7, interval.low, interval.high)}
    assert drops(eager, eager)["top1"].value == 0.0


@pytest.mark.parametrize(
    "name", ["mse", "loss", "val_loss", "error", "top1.error", "error_rate", "logloss", "rmse_deg"]
)
def test_an_error_that_grows_is_a_loss(name: str) -> None:
    eager, spoilt = Scores({name: torch.tensor(0.5)}, 7, ""), Scores({name: torch.tensor(0.75)}, 7, "")
    lost = drops(eager, spoilt)[name]
    assert lost == QualityDrop(0.25)  # no interval without single scores
    before, after = (Scores({"right": each.by_name[name]}, 7, "") for each in (eager, spoilt))
    assert drops(before, after)["right"] == QualityDrop(-0.25)


def test_a_figure_that_is_named_as_an_error_is_one() -> None:
    few, many = Scores({"depth": torch.tensor(0.5)}, 7, ""), Scores({"depth": torch.tensor(0.75)}, 7, "")
    assert drops(few, many, ["depth"])["depth"] == QualityDrop(0.25)
    with pytest.raises(UsageError, match=r"evaluate\.lower_is_better: depth is none of the figures: top1"):
        scores(lower_is_better=("depth",))


def test_other_samples_than_eagers_are_no_pair() -> None:
    eager, other = (scores(given=loader("never_the_same"))[0] for _ in range(2))
    with pytest.raises(UsageError, match="gave other samples than it gave eager: seed"):
        drops(eager, other)


@pytest.mark.parametrize(
    ("figure", "given", "reason"),
    [
        ("nowhere.f", {}, r"evaluate\._target_=nowhere\.f: cannot be imported"),
        (f"{HERE}.CONSTANT", {}, "is a float, and must be a function"),
        (f"{HERE}.of_one", {}, r"takes 1 arguments, and must take \(outputs, labels\) or \(predict, loader\)"),
        (f"{HERE}.broken", {}, "raised KeyError: 'label'"),
        (f"{HERE}.no_mapping", {}, "returned a Tensor, and must return a mapping of names to scores"),
        (f"{HERE}.another_count", {}, r"has scores of shape \(5,\) for 2 samples"),
        (f"{HERE}.not_a_number", {}, "figure is nan"),
        (f"{HERE}.reserved", {}, "gives a figure the name 'top1_drop'"),
        (f"{BUILT_IN}.top1", {"made_by": "unlabelled"}, "its batches hold no labels, which evaluate needs"),
        (f"{BUILT_IN}.top1", {"made_by": "too_few_labels"}, "the labels of a batch of 2 samples have 1"),
        (
            f"{BUILT_IN}.top1",
            {"made_by": "raising"},
            r"model\.data_loader.*: giving a batch, it raised OSError: the disk is gone",
        ),
        (f"{BUILT_IN}.top1", {"made_by": "endless", "samples": 0.5}, "has no length to take a share of; give a count"),
        (f"{BUILT_IN}.top1", {"sizes": (2, 2), "classes": 4}, "its batches differ in size: x is"),
        (f"{BUILT_IN}.mse", {}, r"outputs of shape \(2, 3\) and labels of shape \(2,\) must be alike"),
        (f"{BUILT_IN}.text", {"made_by": "unlabelled"}, "hold no labels"),
    ],
)
def test_what_cannot_be_evaluated_is_told_in_a_line(figure: str, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        scores(figure, loader(**given))
    assert "\n" not in str(caught.value)


def test_the_samples_are_known_by_their_labels_too() -> None:
    first, again, others = (scores(given=loader(wrong=wrong))[0].digest for wrong in (2, 2, 3))
    assert first == again != others
    assert (
        scores(given=loader("of_objects"), figure=f"{HERE}.nothing")[0].digest
        == scores(given=loader("of_objects"), figure=f"{HERE}.nothing")[0].digest
    )


def test_the_figures_that_are_known_before_are_those_that_it_gives() -> None:
    logits, labels = torch.eye(6), torch.arange(6)
    for name in ("top1", "top5", "text"):
        assert figures_of(f"{BUILT_IN}.{name}") == tuple(getattr(evaluations, name)(logits, labels))
    assert figures_of(f"{BUILT_IN}.mse") == tuple(evaluations.mse(logits, logits))
    assert figures_of("mine.top1") == figures_of(None) == ()


def test_the_figures_have_the_known_answers() -> None:
    logits = torch.tensor([[0.0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [1, 1, 1, 1, 1, 1]])
    labels = torch.tensor([5, 5, 0])
    assert evaluations.top1(logits, labels)["top1"].tolist() == [1, 0, 1]
    assert evaluations.top5(logits, labels)["top5"].tolist() == [1, 0, 1]
    assert evaluations.top1({"aux": -logits, "logits": logits}, labels[:, None])["top1"].tolist() == [1, 0, 1]
    assert evaluations.mse(logits[:2], logits[:2] + 2)["mse"].tolist() == [4, 4]
    assert evaluations.text(logits, labels)["accuracy"].tolist() == [1, 0, 1]
    tokens = torch.tensor([[0, -100], [1, 0]])
    assert evaluations.text(torch.tensor([[[2.0, 1], [1, 2]], [[2, 1], [2, 1]]]), tokens)["accuracy"].tolist() == [
        1,
        0.5,
    ]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (torch.tensor([0, 3]), "labels of 3 classes go from 0 to 2, and one is 3"),
        (torch.tensor([0.0, 1.0]), "of whole numbers"),
        (torch.tensor([[0, 1], [1, 0]]), "need labels"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: torch.Tensor, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        evaluations.top1(torch.zeros(2, 3), labels)


def test_calibration_takes_whole_batches_of_its_own_loader() -> None:
    spec = ModelSpec("digits", batch_size=2, calibration_samples=4)
    parameters, form, example = Parameters.of(Classifier()), FORM, digits()[0][:1]
    assert calibration_batches(spec, parameters, form, example) == []
    for samples, count in ((4, 2), (1, 1), (300, 3)):
        chosen = ModelSpec(
            "digits",
            calibration_loader=TargetSpec(f"{HERE}.digits", {"sizes": [2, 1, 2, 2]}),
            batch_size=2,
            calibration_samples=samples,
        )
        found = calibration_batches(chosen, parameters, form, example)
        assert [tuple(x.shape) for (x,) in found] == [(2, 3)] * count
    wrong = ModelSpec("digits", calibration_loader=TargetSpec(f"{HERE}.digits", {"classes": 4}), batch_size=2)
    with pytest.raises(UsageError, match=r"model\.calibration_loader.*differ in size"):
        calibration_batches(wrong, parameters, form, example)


def test_logits_without_numbers_are_no_right_answer() -> None:
    lost = torch.full((4, 3), float("nan"))
    labels = torch.tensor([0, 1, 2, 0], dtype=torch.uint8)
    assert evaluations.top1(lost, labels)["top1"].tolist() == [0.0] * 4
    assert evaluations.text(lost, labels.long())["accuracy"].tolist() == [0.0] * 4
    assert evaluations.top1(torch.eye(3), torch.arange(3, dtype=torch.uint8))["top1"].tolist() == [1.0] * 3


def test_a_score_that_a_batch_of_one_loses_is_told() -> None:
    with pytest.raises(UsageError, match=r"right has scores of \d+ of \d+ samples: .* a tensor of shape \(1,\)"):
        scores(f"{HERE}.squeezed")
