"""Validate the configuration that Hydra composed: every value of a job has to be in range."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MissingMandatoryValue, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from almaflow.analysis.metric_names import is_metric, unknown_figure, unknown_metric
from almaflow.config.cpus import parse_cpus
from almaflow.config.dynamic import batch_search, dynamic_dims, further_sizes, unmeasured
from almaflow.config.schema import EvaluateConfig, JobConfig, LimitsConfig, MeasureConfig, TrackingConfig
from almaflow.errors import UsageError
from almaflow.records import Resume
from almaflow.records.quality import BOX_FORMATS, SECTION, figures_of, wrong_box_format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from omegaconf import DictConfig
    from pydantic_core import ErrorDetails

FILE_NAME_BYTES = 255
"""The most bytes that a file system takes as a name, as the store does for an experiment's artifacts."""

_BOUNDS = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "finite_number": "must be a finite number",
}


@cache
def _adapter() -> TypeAdapter[JobConfig]:
    return TypeAdapter(JobConfig)


def validate_stored(config: Mapping[str, Any]) -> JobConfig:
    """Return the configuration of a job that a store kept, whoever may write there.

    Nothing in it is resolved: an interpolation could read this process's environment. Its files for output and for
    weights are left out, which are of the machine that wrote it.

    Raises:
        UsageError: one line with the key, its value and what it has to be.
    """
    model = config.get("model") or {}
    # The default of an input's batch dimension is an interpolation.
    inputs = [{"batch_dim": model.get("batch_dim", 0), **each} for each in model.get("inputs") or ()]
    return _checked({**config, "output": None, "model": {**model, "inputs": inputs or None, "weights": None}})


def validate_plain(config: Mapping[str, Any]) -> JobConfig:
    """Return the configuration that ``plain`` made plain, maybe on another machine; nothing in it is resolved.

    Raises:
        UsageError: one line with the key, its value and what it has to be.
    """
    return _checked(dict(config))


def validate(cfg: DictConfig) -> JobConfig:
    """Resolve interpolations and check every value.

    Raises:
        UsageError: one line with the key, its value and what it has to be.
    """
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise UsageError(_required(missing[0]))
    try:
        values = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise UsageError(_required(str(error.full_key))) from error
    except OmegaConfBaseException as error:
        message = f"{error.full_key}: {str(error).splitlines()[0]}"
        raise UsageError(message) from error
    return _checked(values)


def _checked(values: Any) -> JobConfig:
    try:
        job = _adapter().validate_python(values)
    except ValidationError as error:
        raise UsageError(_out_of_range(error.errors()[0], values)) from error
    for problem in _relations(job):
        raise UsageError(problem)
    return job


def plain(job: JobConfig) -> dict[str, Any]:
    """Return the configuration as nested dicts, lists, words and numbers, ready for JSON or YAML."""
    values = OmegaConf.to_container(OmegaConf.structured(asdict(job)), enum_to_str=True)
    assert isinstance(values, dict)  # noqa: S101 - what a dict becomes, for the type checker
    return {str(key): value for key, value in values.items()}


def _required(key: str) -> str:
    return f"{key} is required: give it a value"


def _key(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _out_of_range(detail: ErrorDetails, values: Any) -> str:
    if detail["type"] == "unexpected_keyword_argument":
        *parents, name = detail["loc"]
        siblings = values
        for parent in parents:
            siblings = siblings[parent]
        keys = [str(key) for key in siblings if key != name]
        near = get_close_matches(str(name), keys, n=1)
        offer = f"nearest: {_key((*parents, near[0]))}" if near else f"keys: {', '.join(keys)}"
        return f"{_key(detail['loc'])}: no such key; {offer}"
    bound = _BOUNDS.get(detail["type"])
    text = (
        bound.format(**{name: f"{limit:g}" for name, limit in detail.get("ctx", {}).items()})
        if bound
        else detail["msg"]
    )
    return f"{_key(detail['loc'])}={detail['input']}: {text}"


def _relations(job: JobConfig) -> list[str]:
    """Return the problems between values that are each in range."""
    return [
        *_times(job.measure),
        *_evaluate(job.evaluate),
        *_conversions(job.conversions),
        *_inputs(job),
        *_dynamic(job),
        *_cpus(job.hardware.cpus),
        *_patterns({"cpu_match": job.hardware.cpu_match, "gpu_match": job.hardware.gpu_match}),
        *_limits(job.hardware.limits),
        *_output(job.output),
        *_tracking(job.tracking),
        *_resume(job.resume),
        *_keep(job.keep),
        *_experiment(job.experiment_name),
        *_choose(job),
    ]


def _experiment(name: str) -> list[str]:
    """Return the problems of a name by which the store makes a directory of artifacts."""
    if not name.strip():
        return ["experiment_name: must not be empty"]
    size = len(name.encode(errors="surrogatepass"))
    if size > FILE_NAME_BYTES:
        return [f"experiment_name: has {size} bytes, and the store can keep {FILE_NAME_BYTES} at most"]
    if re.search("[\0\ud800-\udfff]", name):
        return ["experiment_name: has a character that is not in UTF-8, or a NUL"]
    return []


def _times(measure: MeasureConfig) -> list[str]:
    names = ("min_time_s", "max_time_s", "time_budget_s")
    return [
        f"measure.{low}={getattr(measure, low):g}: must be no more than measure.{high}={getattr(measure, high):g}"
        for low, high in pairwise(names)
        if getattr(measure, low) > getattr(measure, high)
    ]


def _evaluate(evaluate: EvaluateConfig) -> list[str]:
    samples = evaluate.samples
    if samples is not None and samples > 1 and not samples.is_integer():
        return [f"evaluate.samples={samples:g}: must be a whole number, or a share below 1"]
    given = [key for key in ("samples", "max_drop") if getattr(evaluate, key) is not None]
    if given and evaluate._target_ is None:
        chosen = "evaluate=top1 or another one, or evaluate._target_=my_package.my_function"
        return [f"evaluate.{given[0]}={getattr(evaluate, given[0]):g}: there is no evaluation; choose {chosen}"]
    if evaluate.lower_is_better and evaluate._target_ is None:
        return [f"evaluate.lower_is_better={evaluate.lower_is_better}: there is no evaluation"]
    if (form := wrong_box_format(evaluate._target_, evaluate.kwargs)) is not None:
        return [f"evaluate.kwargs.box_format={form}: must be one of {', '.join(BOX_FORMATS)}"]
    return []


def _conversions(conversions: list[Any] | None) -> list[str]:
    if conversions is None:
        return []
    if not conversions:
        return ["conversions=[]: must name at least one conversion; `almaflow conversions` lists them"]
    return [
        f"conversions: {entry!r} is neither a name nor a number of `almaflow conversions`"
        for entry in conversions
        if isinstance(entry, bool) or not isinstance(entry, (str, int))
    ]


def _inputs(job: JobConfig) -> list[str]:
    if job.model.inputs is None:
        return []
    if not job.model.inputs:
        return ["model.inputs=[]: must have at least one input, e.g. model.inputs=[{shape: [3, 224, 224]}]"]
    problems = []
    drawn = job.model.data_loader._target_ is None
    for number, each in enumerate(job.model.inputs):
        if each.batch_dim is not None and each.batch_dim > len(each.shape):
            problems.append(
                f"model.inputs.{number}.batch_dim={each.batch_dim}: must be {len(each.shape)} or less for "
                f"shape={list(each.shape)}, or null where the input has no batch dimension"
            )
        if "int" in each.dtype and each.dtype != "uint8" and each.high is None and drawn:
            problems.append(f"model.inputs.{number}.high is required for {each.dtype}: one more than the largest")
        elif each.high is not None and each.high <= each.low:
            problems.append(f"model.inputs.{number}.high={each.high}: must be more than low={each.low}")
    names = [each.name for each in job.model.inputs if each.name]
    problems += [f"model.inputs: two inputs have the name {name}" for name in sorted({*names}) if names.count(name) > 1]
    problems += [
        f"model.{key}={name}: none of model.inputs has that name; they are: {', '.join(names)}"
        for key, name in (("padding_mask", job.model.padding_mask), ("attention_mask", job.model.attention_mask))
        if name and len(names) == len(job.model.inputs) and name not in names
    ]
    return problems


def _dynamic(job: JobConfig) -> list[str]:
    try:
        dims = dynamic_dims(job.model, job.batch_size)
        further_sizes(job.model, dims)
        searched = batch_search(job.model, dims)
    except UsageError as error:
        return [str(error)]
    named = (name for name in (*job.choose.max, *job.choose.min, job.choose.by) if name.startswith("batch_search/"))
    if not searched and (wanted := next(filter(is_metric, named), None)):
        return [f"choose: {wanted} is found by a search only; add model.dynamic=[batch] model.sizes=search"]
    return []


def _cpus(cpus: Any) -> list[str]:
    try:
        parse_cpus(cpus)
    except ValueError as error:
        return [f"hardware.cpus: {error}"]
    return []


def _patterns(patterns: dict[str, str | None]) -> list[str]:
    problems = []
    for key, pattern in patterns.items():
        try:
            re.compile(pattern or "")
        except re.error as error:
            problems.append(f"hardware.{key}={pattern}: is not a regular expression ({error})")
    return problems


def _limits(limits: LimitsConfig) -> list[str]:
    problems = [
        f"hardware.limits.{field}.{name}={rate:g}: must be more than 0"
        for field in ("gflops", "conv_gflops")
        for name, rate in getattr(limits, field).items()
        if not rate > 0
    ]
    sizes = [level.mb for level in limits.bandwidth]
    if sizes and (sizes[-1] is not None or None in sizes[:-1] or sizes[:-1] != sorted(filter(None, sizes[:-1]))):
        problems.append("hardware.limits.bandwidth: must go from the smallest level to main memory, which has no mb")
    return problems


def _tracking(tracking: TrackingConfig) -> list[str]:
    # A `???` in the file would not do: merged onto the schema's None it counts as not set.
    if tracking.name == "server" and not tracking.uri:
        return ["tracking.uri is required with tracking=server, e.g. tracking.uri=http://localhost:5000"]
    return []


def _resume(resume: Any) -> list[str]:
    return [] if str(resume).lower() in set(Resume) else [f"resume={resume}: must be true, false or failed"]


def _keep(keep: Any) -> list[str]:
    named = keep if isinstance(keep, list) else [] if keep is None else [keep]
    if all(isinstance(each, str | int) and not isinstance(each, bool) for each in named):
        return []
    return [f"keep={keep}: must be best, all, none, or a list of conversions"]


def _output(output: str | None) -> list[str]:
    if output is None:
        return []
    path = Path(output).expanduser()
    if path.is_dir():
        return [f"output={output}: is a directory, and must be a file"]
    if not path.parent.is_dir():
        return [f"output={output}: the directory {path.parent} does not exist"]
    return []


def _choose(job: JobConfig) -> list[str]:
    choose, problems = job.choose, []
    for kind, limits in (("max", choose.max), ("min", choose.min)):
        for name, limit in limits.items():
            if not is_metric(name):
                problems.append(f"choose.{kind}.{unknown_metric(name)}")
            elif isinstance(limit, bool) or not isinstance(limit, int | float) or not math.isfinite(limit):
                problems.append(f"choose.{kind}.{name}={limit}: must be a finite number")
    named = [name for name in (*choose.max, *choose.min, choose.by) if name.startswith(SECTION)]
    if named and job.evaluate._target_ is None:
        problems.append(f"choose: {named[0]} is measured by an evaluation only, such as evaluate=top1")
    elif (figures := figures_of(job.evaluate._target_)) and (wrong := unknown_figure(named, figures)):
        problems.append(wrong)
    of_sizes = [name for name in (*choose.max, *choose.min, choose.by) if name.startswith("size/") and is_metric(name)]
    if of_sizes and not _dynamic(job):
        problems += unmeasured(of_sizes, job.model, job.batch_size)
    if not is_metric(choose.by):
        problems.append(f"choose.by={unknown_metric(choose.by)}")
    return problems or [
        f"choose.min.{name}={least:g}: must be no more than choose.max.{name}={choose.max[name]:g}"
        for name, least in choose.min.items()
        if least > choose.max.get(name, math.inf)
    ]
