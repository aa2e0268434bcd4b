"""Detectors: scores beside large boxes, lists that are sorted and thinned out."""

from __future__ import annotations

import torch
from tests.models.corpus.example import (
    BFLOAT16,
    FLOAT16,
    PLAIN,
    TRACED,
    always_ok,
    example,
    floats,
    may_be_wrong,
    never_ok,
)
from torch import Tensor, nn

LOST = "one scale over boxes of 640 and scores of 1 leaves nothing of the scores"


class Head(nn.Module):
    """For each place four coordinates up to 640 and two scores of 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU())
        self.box, self.score = nn.Conv2d(16, 4, 1), nn.Conv2d(16, 2, 1)

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.body(x)
        return self.box(y).sigmoid() * 640, (self.score(y) * 8).sigmoid()


@example(
    floats(3, 64, 64),
    rules=(
        never_ok("ONNX_CPU_INT8_STATIC", why=LOST),
        always_ok(*PLAIN, why="every operation is common"),
    ),
)
class BoxesAndScores(Head):
    """Boxes and scores in one tensor, as exported detectors give them."""

    def forward(self, x: Tensor) -> Tensor:
        boxes, scores = self.parts(x)
        return torch.cat([boxes, scores], 1).flatten(2)


@example(floats(3, 64, 64), rules=(never_ok("ONNX_CPU_INT8_STATIC", why=LOST),))
class ScoresInLastDimension(Head):
    """The same with the places as rows: the last dimension holds boxes, then scores."""

    def forward(self, x: Tensor) -> Tensor:
        boxes, scores = self.parts(x)
        return torch.cat([boxes, scores], 1).flatten(2).mT


@example(floats(3, 32, 32), output_kinds=("signal", "signal"))
class BoxesAndScoresApart(Head):
    """Boxes and scores as two outputs. The boxes are no corners in order, so that they count as a signal."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = self.parts(x)
        return boxes.flatten(2).mT, scores.flatten(2).mT


@example(
    floats(3, 32, 32),
    rules=(may_be_wrong(*FLOAT16, *BFLOAT16, why="rounding changes which places are the best"),),
)
class BestPlaces(Head):
    """The eight best places, their boxes, and the class of each."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, scores = self.parts(x)
        best, label = scores.flatten(2).max(1)
        top, place = best.topk(8)
        return boxes.flatten(2).mT.gather(1, place[..., None].expand(-1, -1, 4)), top, label.gather(1, place)


@example(
    floats(3, 32, 32),
    batch_size=1,
    sizes_by_values=True,
    rules=(
        may_be_wrong(*FLOAT16, *BFLOAT16, why="rounding changes which boxes are kept"),
        may_be_wrong(*TRACED, why="the number of boxes differs from call to call"),
    ),
)
class ThinnedOut(Head):
    """Boxes that overlap a better one are dropped, so that their number is the input's."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        from torchvision.ops import nms

        boxes, scores = self.parts(x)
        corners, best = boxes[0].flatten(1).mT, scores[0].amax(0).flatten()
        corners = torch.cat([corners[:, :2], corners[:, :2] + corners[:, 2:] / 4], 1)
        kept = nms(corners, best, 0.3)
        return corners[kept], best[kept]


@example(floats(3, 16, 16), rules=(always_ok("EXPORT+EAGER", why="PyTorch runs it"),))
class KeyPoints(nn.Module):
    """Places as the mean of a softmax over the picture, in pixels, and how sure they are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        heat = self.conv(x)
        share = heat.flatten(2).softmax(-1).view_as(heat)
        rows = (share.sum(3) * torch.arange(16.0)).sum(2)
        columns = (share.sum(2) * torch.arange(16.0)).sum(2)
        return torch.stack([columns, rows, heat.amax((2, 3)).sigmoid()], -1)
