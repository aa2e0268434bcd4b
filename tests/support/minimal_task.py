"""The least work that a real worker can be given: a linear model, and what hears the worker and gives it turns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from almaflow.records import HardwareSpec, InputSpec, MeasureSpec, ModelSpec, ReferenceInfo, WorkerTask
from almaflow.records.protocol import RoundReport, RoundRequest

if TYPE_CHECKING:
    from pathlib import Path

LINEAR = ModelSpec(
    "linear",
    target="torch.nn.Linear",
    kwargs={"in_features": 6, "out_features": 3},
    inputs=(InputSpec((6,)),),
    batch_size=2,
)


def make_task(tmp_path: Path, model: ModelSpec = LINEAR, **measure: Any) -> WorkerTask:
    import torch

    return WorkerTask(
        model=model,
        hardware=HardwareSpec("here", "cpu", threads=torch.get_num_threads()),
        measure=MeasureSpec(**measure),
        conversion=None,
        work_dir=str(tmp_path),
        reference_path=str(tmp_path / "reference.pt"),
    )


@dataclass
class Events:
    """Hears what a worker tells its parent."""

    told: list[tuple[str, RoundReport | None]] = field(default_factory=list)

    def enter(self, phase: str, report: RoundReport | None = None) -> None:
        self.told.append((phase, report))

    @property
    def phases(self) -> list[str]:
        return [phase for phase, _ in self.told]

    @property
    def reports(self) -> list[RoundReport]:
        return [report for _, report in self.told if report]


@dataclass
class TurnInbox:
    """Asks for so many rounds, then for the end."""

    left: int = 0
    first: int = 1
    """The number of the first round."""
    asked: int = 0
    keep: bool = False
    """Whether the converted model is to be written at the end."""

    def next(self) -> RoundRequest | None:
        self.asked += 1
        return RoundRequest(self.first + self.asked - 1, 3, 0.0, 5.0) if self.asked <= self.left else None


def do_prepare(task: WorkerTask, events: Events | None = None, turns: TurnInbox | None = None) -> ReferenceInfo:
    from almaflow.worker.reference import prepare

    kept: list[ReferenceInfo] = []
    prepare(task, events or Events(), turns or TurnInbox(), kept.append)  # type: ignore[arg-type]
    (prepared,) = kept
    return prepared


class Conversion:
    """A converted model as the check and the rounds see it."""

    repairs = ()

    def __init__(self, answers: list[object], **evidence: Any) -> None:
        from almaflow.conversions.built.evidence import ExecutionEvidence
        from almaflow.conversions.built.model import BuiltModel

        self.built = BuiltModel(self.call)

        self._answers = iter(answers)
        self._evidence = ExecutionEvidence(**evidence)

    def call(self, _batch: object) -> object:
        return next(self._answers)

    def model_mb(self) -> float:
        return 0.5

    def start_counting(self) -> None:
        pass

    def evidence(self) -> object:
        return self._evidence
