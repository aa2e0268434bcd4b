"""A script that does again, alone and in the open, what a failed conversion did in its worker."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from almaflow.records import ModelTraits, WorkerTask, to_dict

if TYPE_CHECKING:
    from almaflow.records import Job, Outcome

_SCRIPT = '''\
r"""{name} of {model}, which ended so: {failure}

Does it again in this process, without a worker, a time limit or MLflow: python reproduce.py
What is asked for is in TASK; change it as you like. Run it in an empty directory: converters leave files.
A *** stands for a secret, which has to be filled in.
"""

import json

import torch

from almaflow.models.dynamic import axes_of
from almaflow.models.examine import examine
from almaflow.records import WorkerTask, from_dict
from almaflow.worker.check import Checker, Reference
from almaflow.worker.conversion import convert
from almaflow.worker.inputs import Inputs
from almaflow.worker.reference import example_model
from almaflow.worker.sizes import OtherSizes, batches_of_sizes
from almaflow.worker.threads import set_threads, threads_per_stream

TASK = from_dict(
    WorkerTask,
    json.loads(
        r"""
{task}
        """
    ),
)

if not (TASK.model.target or TASK.model.arch):
    raise SystemExit(
        "the model was given to almaflow.validate and is not kept, since loading a pickle runs code: write the import "
        "path of a callable that builds it as the model's target in TASK; its inputs are then drawn at random"
    )
planned, eager_device = TASK.conversion, TASK.hardware.device
set_threads(threads_per_stream(TASK))
model, batches, *_, form = example_model(TASK)
with torch.no_grad():
    model.to(eager_device)
    on_device = [tuple(tensor.to(eager_device) for tensor in batch) for batch in batches]
    sizes = batches_of_sizes(TASK.model, form, batches)
    sized = [tuple(tensor.to(eager_device) for tensor in batch) for _, batch in sizes]
    found = examine(model, on_device, [], TASK.model.seed, sized)
    reference = Reference(
        *(batches, found.outputs),
        sequence=found.sequence,
        draws=found.draws,
        form=form.to_plain(),
        sized=[(*each, answer) for each, answer in zip(sizes, found.sized, strict=True)],
    )
    inputs = Inputs(batches, planned, TASK)
    axes = axes_of(TASK.model, form.names, batches[0])
    converted = convert(planned, model.to(planned.device), inputs, TASK, axes)
    checker = Checker(reference, inputs, planned, TASK)
    fidelity = checker.fidelity(converted.call)
    print("against eager:  ", fidelity)
    if sizes:
        print("at other sizes: ", OtherSizes(checker).check(converted) or "right")
print("what really ran:", converted.evidence())
'''


def reproduction(outcome: Outcome, job: Job) -> str:
    """The script, for a conversion that failed in the job.

    It builds the model as the job did. One that was handed over from Python is left out: a pickle would be loaded from
    a place that somebody else may write to by then.
    """
    task = WorkerTask(
        model=replace(job.model, pickle_path=None, batches_path=None),
        hardware=job.hardware,
        measure=job.measure,
        conversion=outcome.planned,
        work_dir=".",
        reference_path="",
        traits=job.prepared.traits if job.prepared else ModelTraits(),
    )
    failure = outcome.failure
    return _SCRIPT.format(
        name=outcome.planned.name,
        model=job.model.name,
        failure=_in_docstring(f"{failure.kind}: {failure.message}") if failure else "without a failure",
        task=json.dumps(to_dict(task), indent=1),
    )


def _in_docstring(text: str) -> str:
    """The text as it may stand in a raw docstring."""
    return text.replace('"', "'").rstrip("\\")
