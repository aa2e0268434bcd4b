"""The README of an exported model: how it is loaded, what it needs, and what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.analysis.wording import figure
from almaflow.report.markdown import escaped

if TYPE_CHECKING:
    from almaflow.analysis import Row
    from almaflow.records import Job
    from almaflow.records.export import Export
    from almaflow.records.results import TensorSpec

_FIGURES = (
    ("latency_ms", "latency, median", "ms"),
    ("latency/floor", "latency, floor (5th percentile)", "ms"),
    ("throughput", "throughput", "samples/s"),
    ("speedup_vs_eager", "times faster than eager", ""),
    ("fidelity/sqnr_db", "SQNR against eager", "dB"),
    ("fidelity/top1_agreement", "share of rows with the same largest output as eager", ""),
    ("memory/peak_rss_mb", "peak memory", "MB"),
    ("export/size_mb", "size of the model's files", "MB"),
)

_USE = (
    "`pip install -r requirements.txt` installs the versions that it was measured with. `python check.py` runs the "
    "example of `example.npz` and compares the outputs with those that were measured."
)


def export_readme(export: Export, job: Job, row: Row) -> str:
    """Return the README of an export in Markdown.

    Args:
        export: What the directory holds.
        job: The job that measured it.
        row: The conversion's row in that job.
    """
    threads = "1 thread" if export.threads == 1 else f"{export.threads} threads"
    cpu = job.environment.get("gpu" if export.device == "cuda" else "cpu", job.hardware.name)
    figures = [
        f"| {what} | {figure(row.metrics[name])} {unit} |".replace("  |", " |")
        for name, what, unit in _FIGURES
        if name in row.metrics
    ]
    parts = [
        f"# {export.conversion} of {escaped(export.model)}",
        *_notes(export),
        "```python\nfrom load import load\n\nmodel = load()\n" + f"output = model({_call(export)})\n```",
        "Inputs, by position or by name:\n\n" + _tensors(export.inputs),
        "Outputs:\n\n" + _tensors(export.outputs),
        _USE,
        f"Measured with {threads} and batches of {job.model.batch_size} on {escaped(cpu)}, in job {job.job_id}:",
        "\n".join(["| figure | value |", "| --- | --- |", *figures]),
        "| file | what it is |\n| --- | --- |\n"
        + "".join(f"| `{name}` | the model |\n" for name in export.files)
        + "| `load.py` | loads it with the threads, device and precision that were measured |\n"
        "| `check.py` | checks it |\n| `example.npz` | an example's inputs and outputs |\n"
        "| `export.json` | all of this for programs |",
    ]
    return "\n\n".join(parts) + "\n"


def _notes(export: Export) -> list[str]:
    notes = []
    if export.builder and export.builder.startswith("almaflow."):
        notes.append(
            f"**It needs almaflow**, which `requirements.txt` names: the files hold the weights, and `load.py` calls "
            f"`{export.builder}` to build the module."
        )
    elif export.builder:
        notes.append(
            f"**It needs your code**: the files hold the weights only, and `load.py` calls `{export.builder}` to build "
            "the module. Where its arguments name files by relative paths, work in the directory that these start from."
        )
    if export.keeps_memory:
        notes.append(
            "**It keeps memory**: `load()` has the C library's allocator of the whole process keep what is freed, as "
            "when the model was measured. `load(keep_memory=False)` leaves the allocator alone; where that returns "
            "memory to the system, a call may take half as long again."
        )
    if export.compiles:
        notes.append(
            "**It compiles at its first call**: what `torch.compile` makes stays in the memory of its process, so that "
            "`load.py` gives the same settings to `torch.compile` again."
        )
    return notes


def _call(export: Export) -> str:
    return ", ".join(each.name if each.name and each.name.isidentifier() else "..." for each in export.inputs)


def _tensors(specs: tuple[TensorSpec, ...]) -> str:
    return "\n".join(f"- `{each.name or 'output'}`: {each.dtype} {_shape(each)}" for each in specs)


def _shape(spec: TensorSpec) -> str:
    """Return a shape with the names of its dynamic dimensions."""
    names = spec.dynamic or (None,) * len(spec.shape)
    sizes = [name or str(size) for name, size in zip(names, spec.shape, strict=True)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
