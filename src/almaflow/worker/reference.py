"""The reference worker: checks that the model builds and its inputs fit, and runs it eagerly.

It runs before any conversion, so that a wrong model costs seconds, and writes the inputs and eager's outputs that every
conversion is compared with. It then stays to probe the machine: eager calls at the job's start and at its end show how
far it has drifted meanwhile.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import torch

from almaflow.errors import UsageError
from almaflow.models.batches import copied
from almaflow.models.build import build_example, check_forward, weights_digest
from almaflow.models.digests import digests_of_built, digests_of_called
from almaflow.models.examine import alike, examine, notes_on
from almaflow.models.loaded import LabelledLoader, calibration_batches
from almaflow.models.settle import settle
from almaflow.models.sources import own_sources
from almaflow.models.state import ModelState, set_generators
from almaflow.records import ModelSpec, ReferenceInfo, TensorSpec, WorkerTask, Workload
from almaflow.records.protocol import EVALUATE
from almaflow.worker.check import Reference, calibration_path
from almaflow.worker.device import device_name, synchronizer
from almaflow.worker.evaluate import Scores, evaluate
from almaflow.worker.rounds import Rounds
from almaflow.worker.sizes import batches_of_sizes
from almaflow.worker.threads import read_threads, set_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.models.batches import Batch
    from almaflow.models.build import Example
    from almaflow.models.call_form import CallForm
    from almaflow.models.examine import Answer, Examination
    from almaflow.records.protocol import EventWriter
    from almaflow.worker.turns import TurnInbox

SETTLE_BATCHES = 4


def prepare(task: WorkerTask, events: EventWriter, turns: TurnInbox, keep: Callable[[ReferenceInfo], None]) -> None:
    """Build the model, run it eagerly and save what conversions are compared with to ``task.reference_path``.

    Then take rounds of eager calls as the parent asks for them.

    Args:
        task: A task without a conversion.
        events: Announces phases to the parent.
        turns: The parent's requests.
        keep: Writes the properties of the model to disk.

    Raises:
        UsageError: the model, its inputs or the device are not what the configuration says.
    """
    device = task.hardware.device
    if device == "cuda" and not torch.cuda.is_available():
        msg = f"hardware.device=cuda: PyTorch {torch.__version__} sees no CUDA device here; take hardware=cpu"
        raise UsageError(msg)
    set_threads(task.hardware.threads)
    example, digest, settled = _example(task)
    model, form = example.model, example.form
    batches = example.batches[: task.measure.fidelity_inputs]
    digests = digests_of_built(task.model, model, digest, batches, form)
    # On the CPU, where `almaflow predict` counts too. For a CPU after the eager calls: tensors that code makes at its
    # first call and keeps are real ones then.
    workload = _workload(model, batches[0], task.model) if device != "cpu" else None
    model.to(device)
    synchronize = synchronizer(device)
    on_device = [tuple(tensor.to(device) for tensor in batch) for batch in batches]
    first = on_device[0]
    sizes = batches_of_sizes(task.model, form, batches)
    sized = [tuple(tensor.to(device) for tensor in batch) for _, batch in sizes]
    found = examine(model, on_device, form.names, task.model.seed, sized)
    traits = found.traits
    if sizes and (traits.random or traits.keeps_state):
        does = "answers at random" if traits.random else "keeps state between calls"
        message = f"model.dynamic: the model {does}, so that its answers at other sizes cannot be judged; leave it out"
        raise UsageError(message)
    state = ModelState(model) if traits.keeps_state else None
    eager_s = _eager_s(model, first, synchronize)
    if device == "cpu":
        workload = _workload(model, batches[0], task.model)
    if task.evaluate:
        events.enter(EVALUATE)
    scores = _scores(task, example, found, state)
    calibration = calibration_batches(task.model, example.parameters, form, batches[0])
    if calibration:
        torch.save(calibration, calibration_path(task))
    Reference(
        *(batches, found.outputs, settled, found.sequence, found.draws, form.to_plain()),
        parameters=vars(example.parameters),
        scores=vars(scores) if scores else {},
        sized=[(*each, answer) for each, answer in zip(sizes, found.sized, strict=True)],
    ).save(task.reference_path)
    keep(
        ReferenceInfo(
            inputs=_specs(batches[0]),
            outputs=_output_specs(found.outputs[0]),
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            weights_digest=digest,
            device_name=device_name(device),
            threads=read_threads(),
            eager_s=eager_s,
            notes=(*notes_on(traits), *_notes(found.outputs)),
            workload=workload,
            traits=traits,
            digests=digests | digests_of_called(task.model, model, workload),
            sources={} if task.model.built_in else own_sources(),
            quality=scores.means if scores else {},
            quality_samples=scores.samples if scores else None,
            quality_digest=scores.digest if scores else None,
        )
    )
    events.enter("ready")
    rounds: Rounds | None = None
    given = threading.local()  # concurrent calls have copies of their own

    def before_call(_index: int) -> None:
        if traits.writes_inputs or state:
            given.batch = copied(first)
        if state and threading.current_thread() is threading.main_thread():
            state.put_back()

    with torch.no_grad():
        while turn := turns.next():
            rounds = rounds or Rounds(
                lambda _: model(*getattr(given, "batch", first)), synchronize, task, events, before_call
            )
            events.enter("ready", rounds.take(turn))


def _scores(task: WorkerTask, example: Example, found: Examination, state: ModelState | None) -> Scores | None:
    """Evaluate eager, whose scores are those that each conversion is paired with; None where nobody asked for it."""
    if task.evaluate is None:
        return None

    def call(batch: Batch) -> object:
        if state:
            state.put_back()
        if found.traits.random:
            set_generators(task.model.seed)
        return example.model(*(tensor.to(task.hardware.device) for tensor in batch))

    samples = task.evaluate.samples
    loader = LabelledLoader(task.model, example.parameters, example.form, example.batches[0], samples)
    return evaluate(task.evaluate, loader, call, found.outputs[0])


def _eager_s(model: torch.nn.Module, batch: Batch, synchronize: Callable[[], None]) -> float:
    """Time one eager call, which is not the model's first."""
    given = copied(batch)
    with torch.no_grad():
        synchronize()
        started = time.perf_counter()
        model(*given)
        synchronize()
    return time.perf_counter() - started


def example_model(
    task: WorkerTask,
) -> tuple[torch.nn.Module, list[Batch], str, dict[str, torch.Tensor], CallForm]:
    """Build the model in eval mode and its inputs, on the CPU, both drawn by the task's seed.

    Returns:
        The model, which takes the tensors of a batch by position, input batches, the digest of the weights as drawn,
        the weights that were settled afterwards, and how a batch becomes the arguments of the caller's model.

    Raises:
        UsageError: the model or its inputs are not what the configuration says.
    """
    example, digest, settled = _example(task)
    batches = example.batches[: task.measure.fidelity_inputs]
    return example.model, batches, digest, settled, example.form


def _example(task: WorkerTask) -> tuple[Example, str, dict[str, torch.Tensor]]:
    """Build the model and its inputs, with the digest of the weights as drawn and those that were settled."""
    count = task.measure.fidelity_inputs
    settles = _random(task.model)
    # Enough rows for statistics, however few inputs the outputs are compared on.
    example = build_example(task.model, max(count, SETTLE_BATCHES) if settles else count)
    digest = weights_digest(example.model)
    settled: dict[str, torch.Tensor] = {}
    if settles:
        check_forward(example.model, example.batches[0])
        settled = settle(example.model, example.batches[:SETTLE_BATCHES], task.model.seed, example.batch_dims)
    return example, digest, settled


def _random(model: ModelSpec) -> bool:
    """Whether almaflow drew the model's weights at random."""
    is_ours = (model.target or "").startswith("almaflow.models.")
    return not (model.pickle_path or model.weights) and (is_ours or (model.arch is not None and not model.target))


def _notes(outputs: list[Answer]) -> tuple[str, ...]:
    """Note whether eager's outputs cannot tell a right conversion from a wrong one."""
    if len(outputs) > 1 and all(alike(outputs[0], call, exact=True) for call in outputs[1:]):
        return ("eager answers the same to every input, so a conversion that ignores its input would pass the check",)
    return ()


def _workload(model: torch.nn.Module, batch: Batch, spec: ModelSpec) -> Workload | None:
    from almaflow.models.counting import count

    set_generators(spec.seed)  # a model that draws what it does is to do the same in each job
    try:
        return count(model, batch, spec.batch_size)
    except Exception:  # noqa: BLE001 - code that depends on values, or anything else: only some predictors need it
        return None


def _specs(tensors: tuple[torch.Tensor, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for t in tensors)


def _output_specs(answer: Answer) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(tuple(t.shape), str(t.dtype).removeprefix("torch."), name or None) for name, _, t in answer)
