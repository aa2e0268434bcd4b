"""Does almaflow report what trusted tools report for the same work?

Both sides have the same model with the same weights, inputs and threads, each in a process of its own, and take turns
of a third of a second, so that what slows the whole machine for a while slows both. Since fresh processes of the same
work differ, all of it is done with several pairs of them. The figure is almaflow's median divided by the tool's, over
neighbouring turns of all pairs: 1 where they agree.

  EAGER, COMPILE_INDUCTOR_DEFAULT  torch.utils.benchmark.Timer
  ONNX_CPU                         a bare loop around session.run
  COMPILE_OPENVINO                 a bare loop around torch.compile(backend="openvino"), and OpenVINO's benchmark_app:
                                   the same runtime behind another front end, which may differ
  OPENVINO                         OpenVINO's benchmark_app
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from shared import BenchmarkError, at_least, figure, make_parser, run_script, save, say, seconds, show
from sides import prepared, round_ms, start_tool, tool_ms, why

if TYPE_CHECKING:
    from argparse import Namespace

    from almaflow.jobs.request import Request
    from almaflow.processes.launcher import Launcher
    from almaflow.records import WorkerTask

TOOLS = {
    "EAGER": ("torch.utils.benchmark, eager",),
    "COMPILE_INDUCTOR_DEFAULT": ("torch.utils.benchmark, torch.compile",),
    "ONNX_CPU": ("session.run loop",),
    "COMPILE_OPENVINO": ("torch.compile(openvino) loop", "benchmark_app, OpenVINO directly"),
    "OPENVINO": ("benchmark_app, OpenVINO directly",),
}

GAP_S = 0.04
"""Before each turn: the other side's threads, which spin for more work, have gone to sleep by then."""

WARM_S = 0.5


@dataclass
class Pair:
    """One conversion beside one tool."""

    model: str
    conversion: str
    tool: str
    almaflow_ms: list[list[float]] = field(default_factory=list)
    """The medians of the rounds, process by process."""
    tool_ms: list[list[float]] = field(default_factory=list)
    problem: str | None = None
    """Why there is no figure."""

    def row(self) -> dict[str, Any]:
        """What is reported: medians of the rounds' medians, and the ratio with its interval over all processes."""
        from almaflow.stats import RoundMedian, ratio

        ours, theirs = (
            [
                RoundMedian(process, index, value)
                for process, rounds in enumerate(side)
                for index, value in enumerate(rounds, 1)
            ]
            for side in (self.almaflow_ms, self.tool_ms)
        )
        found = ratio(ours, theirs)
        interval = found.interval if found else None
        return asdict(self) | {
            "almaflow_median_ms": median(each.median_ms for each in ours) if ours else None,
            "tool_median_ms": median(each.median_ms for each in theirs) if theirs else None,
            "ratio": found.value if found else None,
            "ratio_low": interval.low if interval else None,
            "ratio_high": interval.high if interval else None,
            "rounds": found.pairs if found else 0,
        }


def main() -> None:
    """Measure each model and show the table."""
    parser = make_parser(__doc__, overrides="further settings of the job, such as hardware.threads=1 or batch_size=8")
    parser.add_argument("--models", nargs="+", default=["resnet18", "mobilenet_v2", "vit_b_32"], metavar="NAME")
    parser.add_argument("--conversions", nargs="+", default=list(TOOLS), choices=TOOLS, metavar="NAME")
    parser.add_argument("--processes", type=at_least(1), default=3, help="pairs of fresh ones (default: 3)")
    parser.add_argument("--rounds", type=at_least(1), default=12, help="of each pair of processes (default: 12)")
    parser.add_argument("--turn", type=seconds, default=0.3, help="seconds of timed calls in a turn (default: 0.3)")
    arguments = parser.parse_args()
    from almaflow.machine.lock import alone

    requests = {model: job(model, arguments) for model in arguments.models}  # what is wrong is said before measuring
    rows: list[dict[str, Any]] = []
    with alone("wait", say), TemporaryDirectory(prefix="against-tools-") as scratch:
        for number, (model, request) in enumerate(requests.items()):
            directory = Path(scratch, str(number))
            directory.mkdir()
            rows += [pair.row() for pair in one_model(model, request, directory, arguments)]
            save(arguments, rows)  # what there is so far is not lost
    columns = ["model", "conversion", "tool", "almaflow ms", "tool ms", "ratio", "95% interval", "rounds"]
    show("almaflow / trusted tool", columns, [cells(row) for row in rows])


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    first = [row["model"], row["conversion"], row["tool"]]
    if row["problem"]:
        return [*first[:2], f"{first[2]}: {row['problem']}", "", "", "", "", "0"]
    interval = "" if row["ratio_low"] is None else f"{row['ratio_low']:.3f} to {row['ratio_high']:.3f}"
    figures = [figure(row["almaflow_median_ms"], 3), figure(row["tool_median_ms"], 3), figure(row["ratio"], 3)]
    return [*first, *figures, interval, str(row["rounds"])]


def job(model: str, arguments: Namespace) -> Request:
    """What ``almaflow run`` would do with this model."""
    from almaflow.config.composition import compose
    from almaflow.jobs.request import make_request

    conversions = f"conversions=[{','.join(arguments.conversions)}]"
    return make_request(compose([f"model={model}", "hardware=cpu", *arguments.overrides, conversions]))


def one_model(model: str, request: Request, directory: Path, arguments: Namespace) -> list[Pair]:
    """Every conversion of one model beside its tools, all on what one reference worker has left."""
    from almaflow.conversions.catalogue.preload import modules_for
    from almaflow.processes.launcher import Launcher

    pairs: list[Pair] = []
    modules = modules_for(request.model, request.plan)
    with Launcher(request.hardware, directory / "server.log", modules) as launcher:
        task = prepared(launcher, request, directory)
        for planned in request.plan:
            own = [Pair(model, planned.name, tool) for tool in TOOLS[planned.name]]
            pairs += own
            try:
                if planned.unavailable:
                    raise BenchmarkError(planned.unavailable)  # noqa: TRY301 - as any other reason to have no figure
                for process in range(arguments.processes):
                    here = directory / f"{planned.name}-{process}"
                    here.mkdir()
                    take_turns(launcher, replace(task, conversion=planned, work_dir=str(here)), own, arguments)
            except BenchmarkError as error:
                say(f"{model} {planned.name}: {error}")
                for pair in own:
                    pair.problem = str(error)
    return pairs


def take_turns(launcher: Launcher, task: WorkerTask, pairs: list[Pair], arguments: Namespace) -> None:
    """Fill the pairs: first one side, then the other, in the next round the other way round."""
    say(f"{pairs[0].model} {pairs[0].conversion}: converting")
    with ExitStack() as stack:
        worker = stack.enter_context(closing(launcher.start(task)))
        if not worker.until_ready():
            raise BenchmarkError(why(worker))
        tools = []
        for number, pair in enumerate(pairs):  # one compiles after the other
            tools.append(stack.enter_context(start_tool(pair.tool, task, Path(task.work_dir) / f"tool-{number}")))
            tool_ms(tools[-1], WARM_S)
        say(f"{pairs[0].model} {pairs[0].conversion}: {arguments.rounds} rounds")
        for pair in pairs:
            pair.almaflow_ms.append([])
            pair.tool_ms.append([])
        for index in range(1, arguments.rounds + 1):
            sides = [None, *range(len(tools))]
            for side in sides if index % 2 else reversed(sides):
                time.sleep(GAP_S)
                if side is None:
                    ours = round_ms(worker, index, arguments.turn)
                    for pair in pairs:
                        pair.almaflow_ms[-1].append(ours)
                else:
                    pairs[side].tool_ms[-1].append(tool_ms(tools[side], arguments.turn))
        exit_state = worker.finish()
        if exit_state.result.failure:
            raise BenchmarkError(exit_state.result.failure.message)


if __name__ == "__main__":
    run_script(main)
