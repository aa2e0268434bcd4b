"""Labelled samples for ``LINEAR``'s like, and evaluations of them, by their import paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = __name__


class Classifier(torch.nn.Module):
    """Its logits are its inputs, so that everything is known."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 1.0


def digits(
    sizes: Sequence[int] = (2, 2, 2, 1), *, wrong: int = 2, first: int = 0, classes: int = 3
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of these sizes; the label of every sample but of the last ``wrong`` ones has the largest logit."""
    total = sum(sizes)
    labels = (torch.arange(total) + first) % classes
    logits = torch.nn.functional.one_hot(labels, classes).float() + torch.linspace(0, 0.1, total)[:, None]
    labels[total - wrong :] = (labels[total - wrong :] + 1) % classes
    return list(zip(torch.split(logits, list(sizes)), torch.split(labels, list(sizes)), strict=True))


def mappings() -> list[dict[str, torch.Tensor]]:
    return [{"x": x, "labels": labels} for x, labels in digits()]


def unlabelled() -> list[torch.Tensor]:
    return [x for x, _ in digits()]


def too_few_labels() -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(x, labels[:1]) for x, labels in digits()]


def endless() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        yield from digits()


_CALLS = 0


def never_the_same() -> list[tuple[torch.Tensor, torch.Tensor]]:
    global _CALLS  # noqa: PLW0603 - what a loader without a seed is like
    _CALLS += 1
    return digits(first=_CALLS)


def raising() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    yield digits()[0]
    message = "the disk is gone"
    raise OSError(message)


def whole(outputs: Any, labels: Any) -> dict[str, float]:
    """A figure that is no mean: the largest share of right answers of any class."""
    right = outputs.argmax(1) == labels
    return {"best_class": max(float(right[labels == each].float().mean()) for each in labels.unique())}


def mixed(outputs: Any, labels: Any, scale: float = 1.0) -> dict[str, Any]:
    return {"right": (outputs.argmax(1) == labels).tolist(), "count": scale * len(labels)}


def own_loop(predict: Callable[[Any], Any], loader: Any) -> dict[str, float]:
    right = [predict(inputs).argmax(1) == labels for inputs, labels in loader]
    return {"right": float(torch.cat(right).float().mean())}


def not_a_number(outputs: Any, _labels: Any) -> dict[str, Any]:
    return {"figure": outputs[:, 0] * float("nan")}


def no_mapping(outputs: Any, _labels: Any) -> Any:
    return outputs


def another_count(_outputs: Any, _labels: Any) -> dict[str, Any]:
    return {"figure": torch.zeros(5)}


def reserved(outputs: Any, _labels: Any) -> dict[str, Any]:
    return {"top1_drop": outputs[:, 0]}


def broken(_outputs: Any, _labels: Any) -> dict[str, Any]:
    message = "label"
    raise KeyError(message)


def of_one(_outputs: Any) -> dict[str, Any]:
    return {}


CONSTANT = 3.0


def tired(outputs: Any, labels: Any, calls: list[int] = []) -> dict[str, Any]:  # noqa: B006 - it is to remember
    """Judge the four batches of eager's evaluation, and none of a later one in the same process."""
    calls.append(len(calls))
    if len(calls) > 4:
        message = "no more than 4 batches"
        raise RuntimeError(message)
    return {"right": outputs.argmax(1) == labels}


def squeezed(outputs: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scores whose only dimension is gone where a batch has one sample."""
    return {"right": (outputs.argmax(1) == labels).squeeze()}


def of_objects() -> list[tuple[torch.Tensor, list[object]]]:
    """Labels of a class of one's own, whose text tells where in memory they are."""
    return [(x, [object() for _ in labels]) for x, labels in digits()]


def nothing(outputs: torch.Tensor, _labels: list[object]) -> dict[str, torch.Tensor]:
    return {"figure": torch.zeros(len(outputs))}


def boxed(form: str) -> list[tuple[torch.Tensor, Any]]:
    """Two images with one box each, whose labels are lists of mappings, or tensors that are filled up."""
    images, boxes = torch.zeros(2, 1), torch.tensor([[[10.0, 10.0, 30.0, 30.0], [0.0] * 4]] * 2)
    labels = torch.tensor([[1, -100], [1, -100]])
    if form == "padded":
        return [(images, {"boxes": boxes, "labels": labels})]
    count = 0 if form == "empty" else 1
    return [
        (images, [{"boxes": box[:count], "labels": label[:count]} for box, label in zip(boxes, labels, strict=True)])
    ]
