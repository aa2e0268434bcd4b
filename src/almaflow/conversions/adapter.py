"""The one place that imports Alma: it builds the forward call, and we measure it.

Alma's builders take one tensor and a model that takes one. A model of several inputs is wrapped so that it takes
them as one tuple, except where the converter spreads a tuple by itself. What else is changed:

- ONNX sessions are opened with the thread count asked for and fed with every input (``onnx-session``);
- an ONNX export of several inputs names these, where Alma's names would confuse them with weights
  (``onnx-input-names``);
- forward calls that cast their argument do so with each of several inputs and leave integers alone (``cast-inputs``);
- OpenVINO's backend gets the options without which it silently runs inductor, its weights as constants, the
  precision that the conversion names, and the thread count (``openvino-options``);
- ``BF16+EAGER`` gets its model: the published Alma returns the builder itself, uncalled (``bf16-eager``);
- the BF16 names of Alma's repository are built from the published ones on a model cast first (``bf16-family``);
- one name is spelt differently in Alma's registry and its selection (``optimim-typo``).
"""

from __future__ import annotations

import importlib
import inspect
import logging
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch

from almaflow.conversions import evidence as evidences
from almaflow.conversions.inputs import SPREADING, Batch, LikeOneTensor, Packed, cast_each, casts_its_argument, spread
from almaflow.conversions.onnx_session import feed, open_session
from almaflow.conversions.repairs import apply_repairs
from almaflow.conversions.size import file_mb, module_mb

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.records import PlannedConversion, WorkerTask

OPENVINO_PRECISION = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
"""Left to itself OpenVINO computes in BF16 on CPUs with AMX: fast, and not what a float32 conversion says it does."""

ONNX_PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


@dataclass
class Converted:
    """A forward call with what was repaired to get it and who can say what really ran."""

    forward: Callable[[Any], Any]
    planned: PlannedConversion
    repairs: tuple[str, ...] = ()
    session: Any = None
    """The ONNX Runtime session, where there is one."""
    model: torch.nn.Module | None = None
    """The model that was converted, as the conversion left it."""
    runtime: dict[str, str] = field(default_factory=dict)
    """What the builder itself found out, as a part of the evidence."""
    file_mb: float | None = None
    """Size of the converted model on disk, where it is a file."""
    _graphs_before: int = 0

    def call(self, batch: Batch) -> Any:
        """One forward call on one batch."""
        return self.forward(batch[0] if len(batch) == 1 else batch)

    def model_mb(self) -> float | None:
        """Size of the converted model in MB (10^6 bytes); None where nothing tells."""
        if self.file_mb is not None:
            return self.file_mb
        return module_mb(self.model) if self.model is not None else None

    def start_counting(self) -> None:
        """From here on a newly compiled graph is a recompile."""
        self._graphs_before = evidences.dynamo_graphs() if self._uses_dynamo else 0

    @property
    def _uses_dynamo(self) -> bool:
        return any(step.startswith("COMPILE_") for step in self.planned.steps)

    def evidence(self) -> evidences.Evidence:
        """What really executed, as far as the runtimes tell."""
        steps = self.planned.steps
        found = [evidences.Evidence(self.runtime)]
        if self.session is not None:
            found.append(evidences.onnx_evidence(self.session, ONNX_PROVIDERS[self.planned.device]))
        if self._uses_dynamo:
            found.append(evidences.dynamo_evidence(self._graphs_before))
        if "COMPILE_OPENVINO" in steps:
            found.append(evidences.openvino_evidence(OPENVINO_PRECISION.get(self.planned.dtype)))
        if "COMPILE_CUDAGRAPHS" in steps:
            found.append(evidences.cudagraphs_evidence())
        if self.model is not None and any(step.startswith(("OPTIM", "TORCHAO_QUANT_")) for step in steps):
            found.append(evidences.weights_evidence(self.model))
        return evidences.together(found)


def build(
    planned: PlannedConversion,
    model: torch.nn.Module,
    batches: list[Batch],
    task: WorkerTask,
    skip_repairs: frozenset[str] = frozenset(),
) -> Converted:
    """Convert a model by a conversion's name.

    Args:
        planned: The conversion; its engine decides who builds.
        model: In eval mode, on the planned device, with float32 weights. It may be changed.
        batches: Example inputs on the planned device, cast as the conversion takes them.
        task: Thread count and logging level.
        skip_repairs: Names of repairs that are left out, to show what they are for.

    Raises:
        Exception: whatever the converter raises.
    """
    if planned.engine == "native":
        from almaflow.conversions.native import BUILDERS

        native = BUILDERS[planned.name](model, batches, task.hardware.threads)
        return Converted(
            native.forward, planned, session=native.session, runtime=native.runtime, file_mb=native.file_mb
        )
    return _build_with_alma(planned, model, batches, task, skip_repairs)


def _build_with_alma(
    planned: PlannedConversion,
    model: torch.nn.Module,
    batches: list[Batch],
    task: WorkerTask,
    skip: frozenset[str],
) -> Converted:
    repairs = list(apply_repairs(planned.steps, skip))
    select = importlib.import_module("alma.conversions.select")
    # Alma asks the root logger whether to print graphs; a handler is what brings its messages into the worker's log.
    logging.basicConfig(level=task.measure.log_level, force=True)
    name = _alma_name(planned, model, skip, repairs)
    several = len(batches[0]) > 1
    spreading = several and not SPREADING.isdisjoint(planned.steps)
    casting = casts_its_argument(planned.steps) and (several or not batches[0][0].is_floating_point())
    casting = casting and "cast-inputs" not in skip
    packed = casting or (several and not spreading)
    module = Packed(model, len(batches[0])) if packed else model
    example: Any = batches[0] if several or packed else batches[0][0]
    if several and planned.family == "fx":
        example = LikeOneTensor(batches[0])
    sessions: list[Any] = []
    sizes_mb: list[float] = []
    with ExitStack() as stack:
        stack.enter_context(evidences.counting_from_reset())
        if planned.family == "onnx" and "onnx-session" not in skip:
            stack.enter_context(_own_sessions(planned, task, sessions, sizes_mb))
            repairs.append("onnx-session")
        if planned.family == "onnx" and spreading and _confuses_names() and "onnx-input-names" not in skip:
            stack.enter_context(_input_names(len(batches[0])))
            repairs.append("onnx-input-names")
        if "COMPILE_OPENVINO" in planned.steps and "openvino-options" not in skip:
            stack.enter_context(_openvino_options(planned, task))
            repairs.append("openvino-options")
        forward = select.select_forward_call_function(module, name, example, torch.device(planned.device))
    if isinstance(forward, tuple):
        forward = forward[0]
    builder = importlib.import_module("alma.conversions.options.bf16").get_bfp16_eager_forward_call
    if forward is builder and "bf16-eager" not in skip:
        forward = builder(module)
        repairs.append("bf16-eager")
    if casting:
        forward = cast_each(forward)
        repairs.append("cast-inputs")
    if several and planned.family == "torchscript":
        forward = spread(forward)
    session = sessions[0] if sessions else None
    return Converted(forward, planned, tuple(repairs), session, model, file_mb=sizes_mb[0] if sizes_mb else None)


def _alma_name(planned: PlannedConversion, model: torch.nn.Module, skip: frozenset[str], repairs: list[str]) -> str:
    """The name that Alma's selection knows; a model of the BF16 family is cast for it."""
    name = planned.name
    if planned.steps[0] == "BF16" and name not in _published_names() and "bf16-family" not in skip:
        model.to(torch.bfloat16)
        name = name.removeprefix("BF16+")
        repairs.append("bf16-family")
    if name.startswith("OPTIMIM_") and "optimim-typo" not in skip:
        name = name.replace("OPTIMIM_", "OPTIMUM_", 1)
        repairs.append("optimim-typo")
    return name


def _published_names() -> set[str]:
    """The conversion names of the installed Alma."""
    options = importlib.import_module("alma.conversions.conversion_options").MODEL_CONVERSION_OPTIONS
    return {option.mode for option in options.values()}


def _own_sessions(planned: PlannedConversion, task: WorkerTask, sessions: list[Any], sizes_mb: list[float]) -> Any:
    def open_and_feed(path: Any, provider: str | None = None) -> Callable[[Any], list[Any]]:
        provider = provider or ONNX_PROVIDERS[planned.device]
        sessions.append(open_session(path, provider, task.hardware.threads))
        sizes_mb.append(file_mb(path))  # now: Alma removes it soon
        return feed(sessions[-1])

    return patch("alma.conversions.options.onnx._get_onnx_forward_call", open_and_feed)


def _confuses_names() -> bool:
    """Alma names one input and all weights; PyTorch's newer exporter gives the second input a weight's name then."""
    return bool(inspect.signature(torch.onnx.export).parameters["dynamo"].default)


def _input_names(count: int) -> Any:
    original = torch.onnx.export

    def export(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs | {"input_names": [f"input_{i}" for i in range(count)]})

    return patch("torch.onnx.export", export)


def _openvino_options(planned: PlannedConversion, task: WorkerTask) -> Any:
    compile_module = importlib.import_module("alma.conversions.options.compile")
    original = compile_module.get_compile_settings
    if hasattr(torch._dynamo.config, "prepare_freezing"):  # noqa: SLF001 - PyTorch has no public place for it
        # Without it dynamo passes weights as inputs, and OpenVINO can neither fold nor repack them (15 ms, not 20,
        # for resnet18 on two cores).
        torch._dynamo.config.prepare_freezing = True  # noqa: SLF001 - PyTorch has no public place for it

    def settings(backend: str = "inductor-default") -> dict[str, Any]:
        result: dict[str, Any] = original(backend)
        options = result["options"]
        options["aot_autograd"] = True
        options["config"] = options["config"] | {
            "INFERENCE_PRECISION_HINT": OPENVINO_PRECISION[planned.dtype],
            "INFERENCE_NUM_THREADS": task.hardware.threads,
        }
        return result

    return patch.object(compile_module, "get_compile_settings", settings)
