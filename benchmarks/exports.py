r"""Does each converted model, exported to a folder and loaded in a fresh process, answer as it did in its job?

    almaflow run model=resnet18 tier=3 keep=all
    PYTHONPATH=benchmarks almaflow run model=custom model.name=tokens_and_numbers \
        model._target_=export_models.TokensAndNumbers batch_size=4 tier=3 keep=all \
        'model.inputs=[{name: tokens, shape: [24], dtype: int64, high: 100}, {name: numbers, shape: [16]}]'
    python benchmarks/exports.py JOB_ID JOB_ID

Writes a Markdown page of tables: for each conversion and job the SQNR of the loaded model's outputs against
those that the conversion gave in the job, and the floor of its calls over that of the job; and why others have none.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conversions_page import replaced, table
from shared import at_least, make_parser, run_script, save, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records import Job

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "exports.md"


@dataclass(frozen=True)
class Found:
    """What became of one conversion of one job."""

    model: str
    conversion: str
    format: str = ""
    equal: str = ""
    """``to the bit``, or the SQNR."""
    floor_ratio: float | None = None
    """Floor of the exported model's calls over that of the job."""
    load_s: float | None = None
    reason: str = ""
    """Why there is nothing to load, or what is wrong with what was loaded."""


def main() -> None:
    """Export, check and write the tables."""
    parser = make_parser(__doc__)
    parser.add_argument("jobs", nargs="*", metavar="JOB_ID", help="jobs of this machine with keep=all")
    parser.add_argument(
        "--from", dest="earlier", nargs="*", type=Path, default=[], metavar="FILE", help="earlier --json"
    )
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--conversions", nargs="+", metavar="NAME", help="these alone (default: all of the jobs)")
    parser.add_argument(
        "--times", type=at_least(1), default=1, help="processes of each; the lowest floor counts, as of a job's rounds"
    )
    arguments = parser.parse_args()
    from almaflow.jobs.kept_export import job_of
    from almaflow.machine.lock import alone
    from almaflow.tracking.uris import resolve_uri

    jobs = [job_of(each, resolve_uri(None))[0] for each in arguments.jobs]
    every = [Found(**each) for path in arguments.earlier for each in json.loads(path.read_text("utf-8"))["results"]]
    with alone("wait", say):
        every += [
            checked(job, each.planned.name, arguments.times)
            for job in jobs
            for each in job.outcomes
            if each.planned.name in (arguments.conversions or [each.planned.name])
        ]
    found = list({(each.model, each.conversion): each for each in every}.values())  # of two the later one
    models = list(dict.fromkeys(each.model for each in found))
    page = arguments.page.read_text(encoding="utf-8")
    for name, lines in {
        "counts": counts(found, models),
        "exports": exports(found, models),
        "reasons": why(found),
    }.items():
        page = replaced(page, name, lines, by=Path(__file__).name)
    arguments.page.write_text(page, encoding="utf-8")
    save(arguments, [asdict(each) for each in found])


def checked(job: Job, conversion: str, times: int) -> Found:
    """Export a conversion to a folder that is removed afterwards, and check it there so many times."""
    from almaflow.errors import AlmaflowError
    from almaflow.jobs.kept_check import check_export
    from almaflow.jobs.kept_export import export_kept

    bare = Found(job.model.name, conversion)
    with tempfile.TemporaryDirectory(prefix="almaflow-exports-") as scratch:
        try:
            exported = export_kept(job, conversion, Path(scratch, "export"))
            result = min((check_export(exported) for _ in range(times)), key=lambda each: each.floor_ms)
        except AlmaflowError as error:
            reason = str(error).removeprefix(f"{conversion}: ").partition("; kept are")[0].replace(scratch, "DIR")
            found = Found(**asdict(bare) | {"reason": reason})
        else:
            equal = "to the bit" if result.sqnr_db is None else f"{result.sqnr_db:.0f} dB"
            found = Found(
                *(bare.model, conversion, exported.export.format.value, "" if result.fault else equal),
                *(result.floor_ratio, result.load_s, result.fault or ""),
            )
    ratio = "" if found.floor_ratio is None else f", floor {found.floor_ratio:.2f} times the job's"
    say(f"{found.model} {conversion}: {found.reason or found.equal + ratio}")
    return found


def counts(found: Sequence[Found], models: Sequence[str]) -> list[str]:
    """How many conversions of each model are equal to the bit, equal within the tolerance, wrong, and not exported."""
    rows = []
    for model in models:
        own = [each for each in found if each.model == model]
        exported = [each for each in own if each.format]
        to_the_bit = sum(each.equal == "to the bit" for each in exported)
        wrong = sum(bool(each.reason) for each in exported)
        numbers = len(own), len(exported), to_the_bit, len(exported) - to_the_bit - wrong, wrong
        rows.append([model, *map(str, numbers)])
    return table(["model", "conversions", "exported", "equal to the bit", "equal but for rounding", "other"], rows)


def exports(found: Sequence[Found], models: Sequence[str]) -> list[str]:
    """One row for each conversion that was exported from any job."""
    by_name: dict[str, dict[str, Found]] = defaultdict(dict)
    for each in found:
        if each.format:
            by_name[each.conversion][each.model] = each
    rows = []
    for name, of_models in by_name.items():
        formats = {each.format for each in of_models.values()}
        rows.append([f"`{name}`", ", ".join(sorted(formats)), *(cell(of_models.get(model)) for model in models)])
    return table(["conversion", "format", *models], rows)


def cell(found: Found | None) -> str:
    """How equal it is, and how fast beside the job."""
    if found is None:
        return ""
    ratio = "" if found.floor_ratio is None else f", {found.floor_ratio:.2f}"
    return "**other**" if found.reason else found.equal + ratio


def why(found: Sequence[Found]) -> list[str]:
    """Each reason once, with the conversions and models that it holds for."""
    models = {each.model for each in found}
    reasons: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for each in found:
        if each.reason:
            reason = " ".join(each.reason.split()).replace("|", "\\|").replace("<", "&lt;")
            reasons[reason][each.conversion].append(each.model)
    rows = []
    for reason, names in sorted(reasons.items()):
        told = [f"`{name}`" + ("" if {*on} == models else f" ({', '.join(on)})") for name, on in names.items()]
        rows.append([reason, ", ".join(told)])
    return table(["why", "conversions"], rows)


if __name__ == "__main__":
    run_script(main)
