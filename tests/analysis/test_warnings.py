"""What speaks against a job's figures: the same sentences in the table, the JSON, the tags, Markdown and HTML."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from tests.support.example_jobs import changed, in_rounds, job, ok

from almaflow.analysis import analyse, to_output
from almaflow.analysis.warnings import HOT_C, OTHERS_CPUS, STEAL_CPUS, warnings_of
from almaflow.records import Drift, Job, MachineState, MeasureSpec, Outcome
from almaflow.report import html_page
from almaflow.report.html_page import document
from almaflow.report.markdown import summary_markdown
from almaflow.report.table import render
from almaflow.tracking.schema import job_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

QUIET = MachineState(others_cpus=0.05, steal_cpus=0.0, temperature_c=60.0, gpu_other_processes=0)
BUSY = MachineState(others_cpus=1.7, steal_cpus=0.0)


def watched(states: Sequence[MachineState], name: str = "EAGER") -> Outcome:
    return in_rounds(ok(name), [20.0] * len(states), states=states)


BEGIN, END = "The machine was busy: ", " beside the job's 2 threads; measure again when it is quiet"


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], ()),
        ([MachineState()], ()),
        ([QUIET] * 3, ()),
        ([QUIET, MachineState(others_cpus=3.0), QUIET], ()),
        ([MachineState(others_cpus=0.44)] * 2, (f"{BEGIN}other processes used 0.4 CPUs{END}",)),
        (
            [MachineState(others_cpus=1.0, steal_cpus=0.21)],
            (f"{BEGIN}other processes used 1.0 CPUs and the hypervisor took 0.2 CPUs{END}",),
        ),
        (
            [QUIET, MachineState(temperature_c=96.4)],
            ("EAGER: it got as hot as 96 °C, where chips slow themselves down",),
        ),
        (
            [
                MachineState(gpu_throttle=("thermal slowdown", "power cap")),
                MachineState(gpu_throttle=("power cap",)),
                QUIET,
            ],
            ("EAGER: the GPU's clock was held down in 2 of 3 rounds: power cap, thermal slowdown",),
        ),
        ([QUIET, MachineState(gpu_other_processes=1)], ("EAGER: 1 other process was on the GPU",)),
        ([MachineState(gpu_other_processes=2)], ("EAGER: 2 other processes were on the GPU",)),
    ],
)
def test_what_a_person_is_told(states: list[MachineState], said: tuple[str, ...]) -> None:
    assert warnings_of(job(watched(states))) == said


def test_a_threshold_belongs_to_what_is_told() -> None:
    assert len(warnings_of(job(watched([MachineState(others_cpus=OTHERS_CPUS, temperature_c=HOT_C)])))) == 2
    assert len(warnings_of(job(watched([MachineState(steal_cpus=STEAL_CPUS)])))) == 1


def test_a_busy_machine_is_one_sentence_for_all_conversions() -> None:
    names = ("EAGER", "A", "B", "C", "D")
    (said,) = warnings_of(job(*(watched([BUSY] * 3, name) for name in names)))
    assert "during" not in said
    (said,) = warnings_of(job(*(watched([BUSY if name in "AB" else QUIET] * 3, name) for name in names)))
    assert "during A and B; measure again" in said
    (said,) = warnings_of(job(*(watched([QUIET if name == "D" else BUSY] * 3, name) for name in names)))
    assert "during EAGER, A and 2 more;" in said


@pytest.mark.parametrize(
    ("threads", "smt", "said"),
    [(2, "off", 0), (4, "on", 0), (4, "off", 1), (99, "on", 1), (1, "off", 0)],
)
def test_more_threads_than_processors(threads: int, smt: str, said: int) -> None:
    made = job(ok())
    made = replace(
        made,
        hardware=replace(made.hardware, threads=threads),
        environment={"physical_cores": "2", "smt": smt},
    )
    found = warnings_of(made)
    assert len(found) == said
    assert not said or f"{threads} threads on {4 if smt == 'on' else 2} processors" in found[0]


def test_a_library_that_took_another_number_of_threads_is_named() -> None:
    taken = {"torch": 2, "torch_interop": 1, "openblas": 1}
    made = job(changed(ok("EAGER"), threads=taken), changed(ok("ONNX_CPU"), threads=taken), ok("A"))
    assert warnings_of(made) == ("EAGER and ONNX_CPU: of the 2 threads asked for, openblas took 1",)
    under_load = replace(made, measure=MeasureSpec(streams=2))  # one thread for each of two calls at once
    assert warnings_of(under_load) == ()


def everything() -> Job:
    drifted = Drift(start_ms=20.0, end_ms=24.0, resolved=0.05)
    return replace(job(watched([BUSY] * 9), watched([BUSY] * 9, "ONNX_CPU")), drift=drifted)


def test_the_same_sentences_are_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for picture in "latency_bars", "latency_against_accuracy":
        monkeypatch.setattr(html_page, picture, lambda *_: "")
    made = everything()
    said = warnings_of(made)
    assert len(said) == 2
    console = Console(file=io.StringIO(), width=400)
    render(made, analyse(made), console)
    assert isinstance(console.file, io.StringIO)
    output = to_output(made)
    assert output["warnings"] == list(said)
    html = document("one", [output]).replace("&#39;", "'")
    markdown = summary_markdown(made, analyse(made))
    tag = job_tags(made)["almaflow.warnings"]
    for sentence in said:
        for text in (console.file.getvalue(), html, markdown, tag):
            assert text.count(sentence) == 1
    assert "; the machine was busy: measure again" in console.file.getvalue()


def test_nothing_is_said_of_a_quiet_machine() -> None:
    made = job(watched([QUIET] * 9))
    assert warnings_of(made) == ()
    assert "almaflow.warnings" not in job_tags(made)
    assert not analyse(made).busy
