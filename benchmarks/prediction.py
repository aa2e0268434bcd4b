"""How far predictions are from what models took, on families of models that the predictor has not seen.

Measures models of many families by four conversions, one image at a time and eight (``--measure``, more than an hour
alone on two cores), and judges every predictor that needs nothing but this machine against the floor of each
conversion, and against its median. What learns from models is learnt anew for each family without that family: siblings
leak. The kernels are those of the last ``almaflow calibrate`` here.

With ``--operators`` also by operators that were timed one by one, for EAGER, ONNX_CPU and OPENVINO: ``operators`` at
the models' own shapes, which are timed first (about 20 minutes alone), and ``interpolated`` from drawn layers only.

On a GPU (``--device cuda``) eager and inductor alone, and the models are timed as calibration times its networks, each
in a process of its own that times it at several moments: a job there imports for half a minute.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from almaflow.calibration.calibrate import conversions_to_calibrate, learn
from almaflow.calibration.times import load_times, network_times
from almaflow.calibration.timing import compiles, time_kernels
from almaflow.config import calibrations as calibration
from almaflow.config.composition import compose
from almaflow.config.resolve import describe_hardware, resolve_hardware, resolve_model
from almaflow.conversions.catalogue.plan import plan
from almaflow.predict import Calibrated, EagerRatio, Operators, Roofline
from almaflow.predict.workloads import workload_of
from almaflow.records import HardwareSpec, MeasuredModel, PastMeasurement, PredictionRequest
from almaflow.tracking.reader import conversion_runs
from almaflow.tracking.uris import resolve_uri
from shared import BenchmarkError, make_parser, percent, run_script, save, say, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from almaflow.calibration.times import NetworkTimes
    from almaflow.predict import Predictor
    from almaflow.records import ModelSpec

FAMILIES = {
    "alexnet": ("alexnet",),
    "vgg": ("vgg11",),
    "resnet": ("resnet18", "resnet50"),
    "squeezenet": ("squeezenet1_0", "squeezenet1_1"),
    "densenet": ("densenet121",),
    "inception": ("googlenet", "inception_v3"),
    "mobilenet": ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
    "mnasnet": ("mnasnet1_0",),
    "shufflenet": ("shufflenet_v2_x0_5", "shufflenet_v2_x1_0"),
    "efficientnet": ("efficientnet_b0",),
    "regnet": ("regnet_y_400mf", "regnet_x_800mf"),
    "convnext": ("convnext_tiny",),
    "vit": ("vit_b_32",),
    "swin": ("swin_t",),
    "bert": ("bert_6",),
    "gpt2": ("gpt2_6",),
}
TEXT = {
    "bert_6": ("model=bert", "model.kwargs.num_hidden_layers=6", "model.name=bert_6"),
    "gpt2_6": ("model=gpt2", "model.kwargs.n_layer=6", "model.name=gpt2_6"),
}
"""Six layers instead of twelve: the other six would be the same again."""
FAMILY = {model: family for family, models in FAMILIES.items() for model in models}
BATCHES = (1, 8)
CONVERSIONS = {
    "cpu": ("EAGER", "COMPILE_INDUCTOR_DEFAULT", "ONNX_CPU", "OPENVINO"),
    "cuda": ("EAGER", "COMPILE_INDUCTOR_DEFAULT"),
}
PREDICTORS = (Calibrated(), Calibrated("history", "history"), EagerRatio(), Roofline())
BY_OPERATORS = (Operators(), Operators(interpolate=True, name="interpolated"))
SHOWN = ("calibrated", "history", "operators", "interpolated")
"""Predictors that are shown model by model."""
EXPERIMENT = "prediction"
MEASURE = ("measure=quick", "measure.min_samples=20", "measure.min_time_s=2", "measure.max_time_s=30")
NEAR = 0.1
NOTE = "scaled: by the control beside the measurement; median: mean error against the raw median"


@dataclass(frozen=True)
class Row:
    """What one conversion of one model took."""

    model: str
    batch_size: int
    conversion: str
    floor_ms: float
    median_ms: float
    control_ms: float
    """The control workload beside it."""


def main() -> None:
    """Measure where asked, judge, and show."""
    parser = make_parser(__doc__)
    parser.add_argument("--measure", action="store_true", help="measure what the store does not have yet")
    parser.add_argument("--device", choices=tuple(CONVERSIONS), default="cpu", help="what to measure on (default: cpu)")
    parser.add_argument("--operators", action="store_true", help="time operators one by one and judge by them too")
    parser.add_argument("--hardware", metavar="NAME", help="whose limits (default: those of the calibration)")
    parser.add_argument("--calibration", default="here", metavar="NAME", help="of almaflow calibrate (default: here)")
    parser.add_argument("--store", metavar="URI", help="of the measurements (default: almaflow's own)")
    parser.add_argument("--from", dest="kept", type=Path, metavar="CSV", help="judge these measurements instead")
    parser.add_argument("--keep", type=Path, metavar="CSV", help="write the measurements there")
    arguments = parser.parse_args()
    uri = resolve_uri(arguments.store)
    if arguments.measure and arguments.device == "cuda":
        rows = _timed_here(arguments.keep)
    else:
        if arguments.measure:
            _measure(uri)
        rows = _read(arguments.kept) if arguments.kept else _stored(uri)
    if not rows:
        message = "nothing was measured yet: add --measure"
        raise BenchmarkError(message)
    if arguments.keep:
        _write(arguments.keep, rows)
    found = calibration.read(arguments.calibration)
    hardware = HardwareSpec(found.name, found.device, found.threads, found.description, limits=found.limits)
    if arguments.operators:
        _time_operators(rows, found.threads)
    if arguments.hardware:
        hardware = describe_hardware(compose([f"hardware={arguments.hardware}"]))
    predictors = (*PREDICTORS, *(BY_OPERATORS if arguments.operators else ()))
    answers = list(_answers(rows, load_times(arguments.calibration), hardware, predictors))
    _show(answers)
    save(arguments, [asdict(answer) for answer in answers])


def _measure(uri: str) -> None:
    images = ",".join(model for model in FAMILY if model not in TEXT)
    for batch in BATCHES:
        for models in (("model=torchvision", f"model.arch={images}"), *TEXT.values()):
            command = [sys.executable, "-m", "almaflow", "run", "-m", *models, f"batch_size={batch}", *MEASURE]
            command += [f"conversions=[{','.join(CONVERSIONS['cpu'])}]", f"experiment_name={EXPERIMENT}", "resume=true"]
            subprocess.run(command, check=False, env=os.environ | {"MLFLOW_TRACKING_URI": uri})


def _time_operators(rows: Sequence[Row], threads: int) -> None:
    """Fill this machine's tables: with drawn layers, and with the operators of the measured models."""
    command = [sys.executable, "-m", "almaflow", "calibrate", f"--threads={threads}"]
    subprocess.run([*command, "--operators"], check=False)
    for model in dict.fromkeys(row.model for row in rows):
        batches = ",".join(str(batch) for batch in sorted({row.batch_size for row in rows if row.model == model}))
        overrides = [*TEXT.get(model, ("model=torchvision", f"model.arch={model}")), f"batch_size={batches}"]
        subprocess.run([*command, *(f"--for={each}" for each in overrides)], check=False)


def _timed_here(keep: Path | None) -> list[Row]:
    """What models take on the GPU, written after each conversion."""
    hardware = resolve_hardware(compose(["hardware=cuda"]))
    specs = {f"{model}-{batch}": _spec(model, batch) for batch in BATCHES for model in FAMILY}
    rows: list[Row] = []
    for each in conversions_to_calibrate(CONVERSIONS["cuda"], "cuda"):
        say(f"{each.name}: {len(specs)} models")
        named = [replace(spec, name=name) for name, spec in specs.items()]
        # Both batch sizes of a model in one process: siblings would share compiled functions, and guards of both.
        timed = time_kernels({each: named}, hardware.threads, lambda *_: None, 2 if compiles(each) else len(named))
        for conversion, name, why in timed.failed:
            say(f"{conversion} of {name}: {why}")
        for name, floor in network_times(timed, "cuda").floors_ms[each.name].items():
            visits = timed.visits[each.name][name]
            middle = median(sample for samples, _ in visits for sample in samples)
            model, _, batch = name.rpartition("-")
            control = median(control for _, control in visits)
            rows.append(Row(model, int(batch), each.name, floor, middle, control))
        if keep:
            _write(keep, rows)
    return rows


def _stored(uri: str) -> list[Row]:
    """The newest of each."""
    rows: dict[tuple[str, str, str], Row] = {}
    for run in conversion_runs(uri, EXPERIMENT, "tags.`almaflow.status` = 'ok'"):
        key = run.params["model"], run.params["batch_size"], run.params["conversion"]
        if "latency_ms" in run.metrics and key not in rows:
            figures = (run.metrics[name] for name in ("latency/floor", "latency_ms", "machine/control_ms"))
            rows[key] = Row(key[0], int(key[1]), key[2], *figures)
    return sorted(rows.values(), key=lambda row: (row.model, row.batch_size, row.conversion))


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [
            Row(each["model"], int(each["batch_size"]), each["conversion"], *(float(each[k]) for k in FIGURES))
            for each in csv.DictReader(stream)
        ]


FIGURES = ("floor_ms", "median_ms", "control_ms")


def _write(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(row).items()} for row in rows
        )


@dataclass(frozen=True)
class Answer:
    """What a predictor said of what was measured."""

    predictor: str
    row: Row
    latency_ms: float
    low_ms: float | None
    high_ms: float | None
    control_ms: float | None

    @property
    def scaled_error(self) -> float | None:
        """Against the floor, the prediction scaled by how fast the machine was."""
        if self.control_ms is None:
            return None
        return self.latency_ms * self.row.control_ms / self.control_ms / self.row.floor_ms - 1

    @property
    def error(self) -> float:
        """Against the floor, as a share."""
        return self.latency_ms / self.row.floor_ms - 1

    @property
    def median_error(self) -> float:
        """Against the median, as a share."""
        return self.latency_ms / self.row.median_ms - 1

    @property
    def held(self) -> bool | None:
        """Whether the stated interval has the floor in it."""
        if self.low_ms is None or self.high_ms is None:
            return None
        return self.low_ms <= self.row.floor_ms <= self.high_ms


def _answers(
    rows: Sequence[Row], times: NetworkTimes, hardware: HardwareSpec, predictors: Sequence[Predictor]
) -> Iterator[Answer]:
    found = plan([*CONVERSIONS[times.device]], 1, times.device, allow_device_override=False)
    plans = {each.name: each for each in found}
    specs = {(row.model, row.batch_size): _spec(row.model, row.batch_size) for row in rows}
    workloads = {key: workload_of(spec) for key, spec in specs.items()}
    kernels = learn(times)
    for family in FAMILIES:
        here = [row for row in rows if FAMILY[row.model] == family]
        others = [row for row in rows if FAMILY[row.model] != family]
        if not here:
            continue
        say(f"{family}: learning from the other families")
        seen = [
            MeasuredModel(o.model, o.conversion, workloads[o.model, o.batch_size], o.floor_ms, o.control_ms)
            for o in others
        ]
        learnt = {"kernels": kernels, "history": learn(times, seen, kernels.backends)}
        past = tuple(_past(others, hardware))
        for row in here:
            key = row.model, row.batch_size
            question = PredictionRequest(
                specs[key], hardware, plans[row.conversion], row.batch_size, workloads[key],
                past=past, learnt=learnt, eager_ms=_eager(here, row),
            )  # fmt: skip
            for predictor in predictors:
                if made := predictor.predict(question):
                    yield Answer(predictor.name, row, made.latency_ms, made.low_ms, made.high_ms, made.control_ms)


def _spec(model: str, batch: int) -> ModelSpec:
    overrides = TEXT.get(model, ("model=torchvision", f"model.arch={model}"))
    return resolve_model(compose([*overrides, f"batch_size={batch}"]))


def _past(rows: Iterable[Row], hardware: HardwareSpec) -> Iterator[PastMeasurement]:
    """The others' floors, as eager's ratio knows them."""
    eager = {(row.model, row.batch_size): row.floor_ms for row in rows if row.conversion == "EAGER"}
    for row in rows:
        ratio = eager.get((row.model, row.batch_size), 0.0) / row.floor_ms
        yield PastMeasurement(
            row.model, hardware.name, row.conversion, row.batch_size, hardware.threads,
            row.floor_ms, row.floor_ms, "", "", "", 0.0, ratio or None,
        )  # fmt: skip


def _eager(rows: Iterable[Row], row: Row) -> float | None:
    same = (each for each in rows if (each.model, each.batch_size) == (row.model, row.batch_size))
    return next((each.floor_ms for each in same if each.conversion == "EAGER"), None)


def _show(answers: Sequence[Answer]) -> None:
    groups: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.row.conversion, answer.predictor].append(answer)
    order = {name: number for number, name in enumerate(CONVERSIONS["cpu"]) if any(name == c for c, _ in groups)}
    rows = []
    for (conversion, predictor), group in sorted(groups.items(), key=lambda item: order[item[0][0]]):
        errors = [abs(each.error) for each in group]
        held = [each.held for each in group if each.held is not None]
        scaled = [abs(each.scaled_error) for each in group if each.scaled_error is not None]
        rows.append([
            f"{conversion} {predictor}", str(len(group)), percent(fmean(errors)), percent(median(errors)),
            percent(fmean(each <= NEAR for each in errors), 0), percent(fmean(each.error for each in group)),
            percent(fmean(held), 0) if held else "", percent(fmean(scaled)) if scaled else "",
            percent(fmean(each <= NEAR for each in scaled), 0) if scaled else "",
            percent(fmean(abs(each.median_error) for each in group)),
        ])  # fmt: skip
    columns = [
        "",
        "n",
        "mean abs",
        "median abs",
        "within 10%",
        "bias",
        "interval holds",
        "scaled",
        "within 10%",
        "median",
    ]
    show("Error against the floor, families held out", columns, rows, NOTE)
    shown = [name for name in SHOWN if any(answer.predictor == name for answer in answers)]
    models = sorted({(a.row.model, a.row.batch_size) for a in answers})
    table = []
    for model, batch in models:
        cells = {
            (a.row.conversion, a.predictor): a.error
            for a in answers
            if (a.row.model, a.row.batch_size) == (model, batch)
        }
        line = [f"{model} x {batch}"]
        line += [percent(cells.get((c, p)), 0) for p in shown for c in order]
        table.append(line)
    short = {"COMPILE_INDUCTOR_DEFAULT": "inductor", "EAGER": "eager", "ONNX_CPU": "onnx", "OPENVINO": "openvino"}
    show("By model", ["", *(f"{short[c]} {p[:4]}." for p in shown for c in order)], table)


if __name__ == "__main__":
    run_script(main)
