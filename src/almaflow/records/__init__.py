"""Records that pass between the packages: small frozen dataclasses that round-trip through JSON.

Units are in the names. An unknown value is ``None``, never zero.
"""

from __future__ import annotations

from almaflow.records.accuracy import RecordedPrediction, ScoredRun
from almaflow.records.calibration import CostModel, LearnedCosts, MeasuredModel
from almaflow.records.hardware import HardwareSpec, Level, Limits
from almaflow.records.job import Drift, Job, Outcome
from almaflow.records.json_files import from_dict, read_data, read_json, stamp, to_dict, write_json
from almaflow.records.plan import PlannedConversion
from almaflow.records.prediction import PastMeasurement, Prediction, PredictionRequest
from almaflow.records.quality import EvaluateSpec, QualityDrop
from almaflow.records.results import (
    Failure,
    Fidelity,
    MachineState,
    Measurement,
    ModelTraits,
    ReferenceInfo,
    Round,
    TensorSpec,
    WorkerResult,
)
from almaflow.records.sizes import (
    BATCH,
    Axis,
    BatchSearch,
    BatchSearchResult,
    DynamicDim,
    SizeMeasurement,
    size_label,
    size_text,
)
from almaflow.records.specs import Choosing, InputSpec, MeasureSpec, ModelSpec, SegmentRef, TargetSpec, WorkerTask
from almaflow.records.status import FailureKind, Resume, Status
from almaflow.records.sweep import Sweep, SweepJob, measurement_overrides
from almaflow.records.workload import Operation, Workload

__all__ = [
    "BATCH",
    "Axis",
    "BatchSearch",
    "BatchSearchResult",
    "Choosing",
    "CostModel",
    "Drift",
    "DynamicDim",
    "EvaluateSpec",
    "Failure",
    "FailureKind",
    "Fidelity",
    "HardwareSpec",
    "InputSpec",
    "Job",
    "LearnedCosts",
    "Level",
    "Limits",
    "MachineState",
    "MeasureSpec",
    "MeasuredModel",
    "Measurement",
    "ModelSpec",
    "ModelTraits",
    "Operation",
    "Outcome",
    "PastMeasurement",
    "PlannedConversion",
    "Prediction",
    "PredictionRequest",
    "QualityDrop",
    "RecordedPrediction",
    "ReferenceInfo",
    "Resume",
    "Round",
    "ScoredRun",
    "SegmentRef",
    "SizeMeasurement",
    "Status",
    "Sweep",
    "SweepJob",
    "TargetSpec",
    "TensorSpec",
    "WorkerResult",
    "WorkerTask",
    "Workload",
    "from_dict",
    "measurement_overrides",
    "read_data",
    "read_json",
    "size_label",
    "size_text",
    "stamp",
    "to_dict",
    "write_json",
]


def __getattr__(name: str) -> object:
    """Give a record by its old name."""
    from almaflow.moved import renamed

    return renamed(__name__, name)
