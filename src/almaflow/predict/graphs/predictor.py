"""The predictor that asks the package graphs (repository branes-ai/graphs), in a process of its own.

graphs imports torch, prints as it works, and takes seconds for a model, none of which belongs into this process.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from almaflow.errors import AlmaflowError, UsageError
from almaflow.predict.graphs.messages import AnalysisRequest, Answer, Fault
from almaflow.processes.one_shot import answer_of
from almaflow.records import Prediction, from_dict, to_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.records import PredictionRequest


CHILD = "almaflow.predict.graphs.child"

HARDWARE = {
    "a100": "a100",
    "g4dn_xlarge": "t4-pcie-16gb",
    "t4": "t4-pcie-16gb",
    "h100": "h100",
    "i7_12700k": "i7-12700k",
    "jetson_orin_agx": "jetson-orin-agx",
    "jetson_orin_nano": "jetson-orin-nano",
}
"""graphs' names of hardware by ours. It does not model the A10G, Graviton2 and the Ice Lake Xeon."""

PRECISIONS = {
    "float32": ("FP32",),
    "float16": ("FP16",),
    "bfloat16": ("BF16",),
    "float8": ("FP8_E4M3", "FP8"),
    "int8": ("INT8",),
    "int4": ("INT4",),
}
"""Members of graphs' ``Precision`` by our element types, the best first."""


def ask_child(question: object, timeout_s: float) -> Any:
    """Ask graphs in a process of its own.

    Raises:
        AlmaflowError: the process failed, or took too long.
    """
    # The GPU is left to measurements.
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    late = "raise timeout_s"
    return answer_of(CHILD, question, failed="its process", timeout_s=timeout_s, late=late, environment=environment)


class Graphs:
    """Predicts by graphs' ``UnifiedAnalyzer``, from the model's graph and graphs' tables of the hardware.

    graphs takes the element type of a conversion, but not the engine that runs it: all conversions of one element type
    get the same figures. It models the whole chip, however many threads the job has.

    Args:
        hardware: graphs' own name of the hardware, ``H100`` or ``i7-12700K``; None: the one in ``HARDWARE`` for the
            job's hardware.
        timeout_s: seconds that one analysis may take.
        ask: puts a question to graphs, given the seconds that it may take.
    """

    name = "graphs"

    def __init__(
        self, hardware: str | None = None, timeout_s: float = 300, ask: Callable[[object, float], Any] = ask_child
    ) -> None:
        self._hardware = hardware
        self._timeout_s = timeout_s
        self._ask = ask
        self._answers: dict[str, Answer] = {}

    @property
    def version(self) -> str:
        """The version of graphs, as far as it is known: the package's number and the commit of its source.

        Raises:
            UsageError: graphs is not installed.
        """
        answer = self._answer(AnalysisRequest(None, "", ()))
        if answer.fault is Fault.FAILED:
            return self.name
        return _version(answer)

    def predict(self, question: PredictionRequest) -> Prediction | None:
        """Predict from one analysis per model, batch size, hardware and element type, whatever the conversion.

        Returns:
            None where graphs does not model the hardware, or the element type on it.

        Raises:
            UsageError: graphs is not installed, or does not know the hardware that the user named.
            AlmaflowError: its analysis of this model failed.
        """
        request = self._request(question)
        if request is None:
            return None
        answer = self._answer(request)
        if answer.fault is Fault.HARDWARE and self._hardware is not None:
            raise UsageError(_unknown(self._hardware, answer.known))
        if answer.fault is Fault.FAILED:
            message = f"graphs predicts nothing: {answer.detail}"
            raise AlmaflowError(message)
        if answer.latency_ms is None:
            return None
        return Prediction(answer.latency_ms, self.name, _version(answer), energy_j=answer.energy_j)

    def _request(self, question: PredictionRequest) -> AnalysisRequest | None:
        """Return the child's request; None where graphs cannot answer it anyway."""
        model = question.model
        if not (model.target or model.arch or model.pickle_path):  # a stored one whose code is not to be run
            return None
        hardware = self._hardware or HARDWARE.get(question.hardware.name)
        precisions = PRECISIONS.get(_element(question.conversion.dtype))
        # A conversion that was moved to another device does not run on what the hardware's name stands for.
        if hardware is None or precisions is None or question.conversion.device != question.hardware.device:
            return None
        return AnalysisRequest(replace(model, batch_size=question.batch_size), hardware, precisions)

    def _answer(self, request: AnalysisRequest) -> Answer:
        """Return the child's answer, which is kept for the same request; a failure is an answer too."""
        question = to_dict(request)
        key = json.dumps(question, sort_keys=True)
        if key not in self._answers:
            try:
                self._answers[key] = from_dict(Answer, self._ask(question, self._timeout_s))
            except AlmaflowError as error:
                self._answers[key] = Answer(fault=Fault.FAILED, detail=str(error))
        answer = self._answers[key]
        if answer.fault is Fault.MISSING:
            raise UsageError(answer.detail)
        return answer


def _version(answer: Answer) -> str:
    return f"graphs {answer.version}"


def _element(dtype: str) -> str:
    """Return the element type without the variant: ``float8`` of ``float8_e4m3fn``."""
    return dtype.partition("_")[0]


def _unknown(name: str, known: tuple[str, ...]) -> str:
    nearest = get_close_matches(name.lower(), known, n=3, cutoff=0.0)
    return f"graphs knows no hardware {name!r}; nearest: {', '.join(nearest) or 'none'}"
