"""Files that a job writes for people and scripts: summary, report, ``reproduce.py``, ``output=FILE.json``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from almaflow.analysis import Analysis, to_output
from almaflow.errors import AlmaflowError
from almaflow.records import Job, Outcome, write_json
from almaflow.report.cells import title
from almaflow.report.html_page import document
from almaflow.report.markdown import escaped, summary_markdown
from almaflow.report.reproduction import reproduction

if TYPE_CHECKING:
    from almaflow.jobs.files import JobFiles


def write_summary(files: JobFiles, job: Job, analysis: Analysis) -> str:
    """Write the artifacts of the job's run; the summary in Markdown is also returned, without its title."""
    files.summary.mkdir(exist_ok=True)
    text = summary_markdown(job, analysis)
    (files.summary / "summary.md").write_text(f"# {escaped(title(job))}\n\n{text}", encoding="utf-8")
    output = to_output(job, analysis)
    write_json(files.summary / "output.json", output)
    if job.prepared and job.prepared.workload:
        write_json(files.summary / "workload.json", job.prepared.workload)
    (files.summary / "report.html").write_text(document(title(job), [output]), encoding="utf-8")
    config = yaml.safe_dump(job.config, sort_keys=False, allow_unicode=True)
    (files.summary / "config.yaml").write_text(config, encoding="utf-8")
    return text


def write_reproduction(directory: Path, outcome: Outcome, job: Job) -> None:
    """Write ``reproduce.py`` beside a conversion that raised."""
    if outcome.failure and outcome.failure.traceback:
        (directory / "reproduce.py").write_text(reproduction(outcome, job), encoding="utf-8")


def write_output(path: str, job: Job) -> dict[str, Any]:
    """Write ``output=FILE.json``.

    Raises:
        AlmaflowError: the file cannot be written; the job's own files hold the same.
    """
    data = to_output(job)
    try:
        write_json(Path(path).expanduser(), data)
    except OSError as error:
        message = f"output={path}: could not be written ({error.strerror}); the same is in {job.directory}/summary"
        raise AlmaflowError(message) from error
    return data
