"""What does it cost that a converted model takes other batch sizes, and is it right there?

One job for each model converts at a batch of 4 with a dynamic batch, and times each conversion at 1, 3 and 8. One job
for each of these sizes converts at that size, fixed. The floors of both are put beside each other. A conversion that
refuses other sizes is in the table with its reason.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from processes import first_job, run_almaflow
from shared import at_least, figure, make_parser, run_script, save, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

MODELS = ("resnet18", "vit_b_16")
CONVERSIONS = ("EAGER", "ONNX_CPU", "OPENVINO", "COMPILE_INDUCTOR_DEFAULT", "AOT_INDUCTOR_PACKAGE")
CONVERTED_AT = 4
SIZES = (1, 3, 8)


def main() -> None:
    """Run the jobs of each model and show them."""
    parser = make_parser(__doc__, overrides="further settings of the jobs, such as measure=thorough")
    parser.add_argument(
        "--models", nargs="+", default=list(MODELS), metavar="NAME", help="torchvision's (default: two)"
    )
    parser.add_argument("--conversions", nargs="+", default=list(CONVERSIONS), metavar="NAME")
    parser.add_argument("--sizes", nargs="+", type=at_least(1), default=list(SIZES), metavar="N", help="of the batch")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, for the documentation")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="dynamic-") as scratch:
        home = Path(scratch)
        first_job(home)
        for model in arguments.models:
            common = [
                *("model=torchvision", f"model.arch={model}", "hardware=cpu", "keep=none"),
                f"conversions=[{','.join(arguments.conversions)}]",
                *arguments.overrides,
            ]
            say(f"{model}: dynamic, converted at {CONVERTED_AT}")
            sizes = f"model.sizes={arguments.sizes}".replace(" ", "")
            dynamic = [f"batch_size={CONVERTED_AT}", "model.dynamic=[batch]", sizes]
            results += entries(model, None, run_almaflow([*common, *dynamic], home).output)
            for size in arguments.sizes:
                say(f"{model}: fixed at {size}")
                results += entries(model, size, run_almaflow([*common, f"batch_size={size}"], home).output)
            save(arguments, results)
    header, rows = compared(results, arguments.sizes)
    show("Floors in ms: fixed, dynamic, and dynamic over fixed; least SQNR at any size", header, rows)
    if arguments.markdown:
        lines = [header, ["---"] * len(header), *rows]
        arguments.markdown.write_text("".join(f"| {' | '.join(line)} |\n" for line in lines), encoding="utf-8")


def entries(model: str, size: int | None, output: dict[str, Any]) -> list[dict[str, Any]]:
    """What a job has of each conversion; ``size`` is None where it is dynamic."""
    return [{"model": model, "fixed_at": size, **each, "traceback": None} for each in output["conversions"]]


def compared(results: Sequence[dict[str, Any]], sizes: Sequence[int]) -> tuple[list[str], list[list[str]]]:
    """The header and a row for each conversion of each model."""
    header = ["model and conversion"]
    for size in sizes:
        header += [f"{size} fixed", "dynamic", "ratio"]
    rows = []
    for each in (each for each in results if each["fixed_at"] is None):
        row = [f"{each['model']} {each['conversion']}"]
        for size in sizes:
            fixed = next(
                found.get("latency/floor")
                for found in results
                if (found["model"], found["conversion"], found["fixed_at"]) == (each["model"], each["conversion"], size)
            )
            dynamic = each.get(f"size/{size}/floor_ms")
            ratio = dynamic / fixed if fixed and dynamic else None
            row += [figure(fixed), figure(dynamic), figure(ratio)]
        decibels = [each[f"size/{size}/sqnr_db"] for size in sizes if f"size/{size}/sqnr_db" in each]
        row.append(figure(min(decibels), 0) if decibels else f"{each['failure']}: {each['message']}")
        rows.append(row)
    return [*header, "dB"], rows


if __name__ == "__main__":
    run_script(main)
