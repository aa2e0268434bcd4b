"""Do the totals of a profile hold? The examples' applications run with the best conversions in place.

For each application: the sum of its parts over the whole, eagerly; the predicted total of the best mix over what it
takes in place, and whether the answers agree. Beside it the rule of octoml-profile, written anew from reading its
client: each graph is measured in line at each of its calls, by one call to warm up and the mean of ten, while the
application waits; Python is the mean of what lies between. Both predict the same mix. Then a GPT-2 with a break in each
block: how many jobs, and how much memory.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, cast

import torch

import almaflow
from almaflow import machine
from almaflow.jobs.files import JobFiles
from almaflow.profiles.choice import choose
from almaflow.profiles.files import MeasuredFiles
from almaflow.profiles.measure import MIN_SEGMENT_US
from almaflow.profiles.verify import best_mix
from almaflow.segments.application import decorated, run_application
from almaflow.segments.clock import RUNNING
from almaflow.segments.standalone import sizes_in, weights_in
from almaflow.segments.stitched import Conversions, Stitched
from shared import at_least, figure, make_parser, run_script, save, say, show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.fx import GraphModule

    from almaflow.api.profile import MeasuredSession
    from almaflow.segments.accelerate import Accelerated
    from almaflow.segments.calls import Arguments

EXAMPLES = Path(__file__).parents[1] / "examples" / "profile"
APPLICATIONS = {
    "sentiment": ("predict",),
    "resnet": ("classify",),
    "semantic_search": ("search",),
    "t5": ("translate",),
    "stable_diffusion": ("paint",),
    "whisper": ("transcribe",),
    "gpt_neo": ("write",),
    "detection": ("describe",),
}
FIVE = ("sentiment", "resnet", "semantic_search", "t5", "stable_diffusion")
REPEATS, PASSES = 10, 3
"""Calls of octoml-profile that are counted, and how often all calls are made: the last time counts."""


def main() -> None:
    """Profile the applications, verify them, and show what was found."""
    parser = make_parser(__doc__, overrides="of each segment's job")
    parser.add_argument("--applications", nargs="+", choices=APPLICATIONS, default=list(FIVE))
    parser.add_argument("--backends", nargs="+", default=["local/ONNX_CPU", "local/JIT_TRACE"])
    parser.add_argument("--measure", choices=("quick", "default", "thorough"), default="default")
    parser.add_argument("--rounds", type=at_least(1), default=15, help="repeats of the calls in place")
    parser.add_argument("--again", type=at_least(1), default=1, help="how often all is done: the spread of totals")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try it")
    parser.add_argument("--layers", type=at_least(0), default=12, help="blocks of the GPT-2; 0 leaves it out")
    parser.add_argument("--tokens", type=at_least(1), default=20, help="tokens that it makes")
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = []
    for number in range(arguments.again):
        for name in arguments.applications:
            say(f"{name}, {number + 1} of {arguments.again}")
            found += [{"application": name, "again": number} | each for each in _application(name, arguments)]
    _show(found)
    many = _many_graphs(arguments) if arguments.layers else None
    if many:
        rows = [(name.replace("_", " "), f"{value:.4g}") for name, value in many.items()]
        show("a break in each block of a GPT-2", ("figure", "value"), rows)
    save(arguments, {"applications": found, "many_graphs": many})


def _application(name: str, arguments: Any) -> list[dict[str, Any]]:
    """Profile an application, and return a row for each of its functions."""
    path, functions = EXAMPLES / f"{name}.py", APPLICATIONS[name]
    with almaflow.profile(
        *arguments.backends, measure=arguments.measure, overrides=arguments.overrides, print_to=sys.stderr
    ) as session:
        run_application(path, decorated(path, functions), ["--tiny"] if arguments.tiny else [])
    verified = {each.function: each for each in session.verify(rounds=arguments.rounds)}
    data = {each["function"]: each for each in session.report().to_dict()["functions"]}
    rows = []
    for marked, given in session.calls.newest.items():
        function = session.calls.names[marked]
        entry, found = data[function], verified[function]
        inline = _octoml_ms(session, marked, tuple(given))
        rows.append(
            {
                "function": function,
                "whole_ms": entry["eager_ms"],
                "parts_ms": entry["parts_ms"],
                "closure_pct": entry["closure_pct"],
                "in_place_ms": found.measured_ms,
                "in_place_low_ms": found.low_ms,
                "in_place_high_ms": found.high_ms,
                "eager_ms": found.eager_ms,
                "predicted_ms": found.predicted_ms,
                "error_pct": found.error_pct,
                "octoml_ms": inline,
                "octoml_error_pct": 100 * (inline / found.measured_ms - 1),
                "agrees": found.ok,
                "reason": found.reason,
                "conversions": sorted(set(found.conversions.values())),
                "notes": found.notes,
            }
        )
    return rows


class _InLine(Conversions):
    """Measures each graph at each of its calls as octoml-profile does, and goes on with eager's outputs."""

    def __call__(self, module: GraphModule, example_inputs: Sequence[object]) -> Callable[..., Any]:
        """Return what runs in place of the graph."""
        weights = weights_in(example_inputs)
        told_by = (*sizes_in(module), *weights[:1], *weights[-1:])
        runs: dict[tuple[int, ...], tuple[str | None, Any]] = {}

        def run(*args: Any) -> Any:
            paused = time.perf_counter_ns()
            key = tuple(each if type(each := args[place]) is int else id(each) for place in told_by)
            if key not in runs:
                runs[key] = self.convert(module, args, weights)
            segment_id, forward = runs[key]
            call = RUNNING.get()
            if segment_id is None or call is None:
                return module.forward(*args)
            forward(*args)
            took = []
            for _ in range(REPEATS):
                began = time.perf_counter_ns()
                forward(*args)
                took.append(time.perf_counter_ns() - began)
            results = module.forward(*args)
            call.add(segment_id, paused, 0, round(fmean(took)))
            return results

        return run


def _octoml_ms(session: MeasuredSession, marked: Accelerated, given: Sequence[Arguments]) -> float:
    """Return what octoml-profile's rule predicts for these calls with the best mix."""
    files = MeasuredFiles.of(session.files.root)
    mix = best_mix({each.segment_id: each for each in files.profile().segments}, files.workload(), files.results())
    totals: list[float] = []
    with Stitched(
        _InLine(mix.planned, say, mix.written),
        no_grad=session.no_grad,
        recompile_limit=session.recompile_limit,
        note=say,
    ) as inline:
        for _ in range(PASSES):
            totals = []
            for each in given:
                inline.call(marked, each.args, each.kwargs)
                if inline.last:
                    totals.append(sum(inline.last.python_ms) + sum(inline.last.graphs_ms))
    return fmean(totals)


def _show(found: Sequence[dict[str, Any]]) -> None:
    show(
        "eager: the sum of the parts over the whole",
        ("application", "whole ms", "parts ms", "off by"),
        [
            (each["application"], figure(each["whole_ms"]), figure(each["parts_ms"]), _signed(each["closure_pct"]))
            for each in found
        ],
        "Goal: within 5% on four of five.",
    )
    show(
        "the best mix in place",
        ("application", "eager ms", "in place ms", "predicted ms", "off by", "octoml's rule ms", "off by", "answers"),
        [
            (
                each["application"],
                *(figure(each[name]) for name in ("eager_ms", "in_place_ms", "predicted_ms")),
                _signed(each["error_pct"]),
                figure(each["octoml_ms"]),
                _signed(each["octoml_error_pct"]),
                "agree" if each["agrees"] else "WRONG",
            )
            for each in found
        ],
        "Goal: predicted within 10% on four of five, answers agree, and nearer than octoml's rule on four of five.",
    )
    names = list(dict.fromkeys(each["application"] for each in found))
    if len(found) > len(names):
        rows = []
        for name in names:
            mine = [each for each in found if each["application"] == name]
            sides = [[each[key] for each in mine if each[key]] for key in ("predicted_ms", "octoml_ms")]
            rows.append((name, *(_signed(100 * (max(side) / min(side) - 1)) if side else "" for side in sides)))
        show("the largest total over the smallest one, all done again", ("application", "ours", "octoml's rule"), rows)


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f}%"


def _many_graphs(arguments: Any) -> dict[str, float]:
    """Record a GPT-2 with a break in each block, measure what is chosen, and return what it took."""
    from transformers import GPT2Config, GPT2LMHeadModel

    width = 64 if arguments.tiny else 768
    torch.manual_seed(0)
    config = GPT2Config(n_layer=arguments.layers, n_embd=width, n_head=4 if arguments.tiny else 12)
    model = cast("Any", GPT2LMHeadModel(config)).eval()
    for block in model.transformer.h:
        block.forward = _broken(block.forward)

    def write(ids: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = model(input_ids=ids, use_cache=False).logits[:, -1:].argmax(-1)
        return torch.cat([ids, found], dim=1)

    marked = almaflow.accelerate(write)
    with almaflow.profile(
        *arguments.backends, measure=arguments.measure, overrides=arguments.overrides, print_to=sys.stderr
    ) as session:
        for _ in range(2):
            ids = torch.tensor([[1, 2, 3]])
            for _ in range(arguments.tokens):
                ids = marked(ids)
    files = MeasuredFiles.of(session.files.root)
    workload, results, profile = files.workload(), files.results(), files.profile()
    calls = sum(len(call.sequence) for call in session.calls.ended())
    jobs = [JobFiles.of(machine.home() / "jobs" / each).read_job() for each in results.jobs.values()]
    peaks = [
        outcome.measurement.peak_memory_mb
        for job in jobs
        for outcome in job.outcomes
        if outcome.measurement and outcome.measurement.peak_memory_mb
    ]
    return {
        "graph_calls": calls,
        "segments": len(profile.segments),
        "families": len({each.family_id for each in profile.segments}),
        "jobs": len(choose(workload.pieces.values(), MIN_SEGMENT_US).order),
        "graph_calls_over_segments": calls / max(1, len(profile.segments)),
        "largest_weights_mb": max((each.weights_bytes for each in profile.segments), default=0) / 1e6,
        "peak_memory_mb": max(peaks, default=0.0),
    }


def _broken(forward: Callable[..., Any]) -> Callable[..., Any]:
    def broken(*args: Any, **kwargs: Any) -> Any:
        torch._dynamo.graph_break()  # noqa: SLF001 - PyTorch documents it by this name
        return forward(*args, **kwargs)

    return broken


if __name__ == "__main__":
    run_script(main)
