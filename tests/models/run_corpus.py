"""Run the corpus by hand: ``python -m tests.models.run_corpus [--models A,B] [--conversions X,Y] [--verdicts F.json]``.

With ``--verdicts`` a long run can be cut into short ones, and the table of ``--output`` is made of all of them. With
``--cover`` it runs each model with each family of conversions, and each conversion with each kind of model, once: what
the file of verdicts has is not run again.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tests.models.corpus.every_example import examples
from tests.models.corpus.families import PRELOAD
from tests.models.corpus_cover import covered, covering
from tests.models.corpus_runner import run
from tests.models.corpus_table import counts, legend, table, untrue
from tests.models.corpus_verdicts import Verdicts

from almaflow.conversions.catalogue.plan import plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.models.corpus_runner import Examined

    from almaflow.records import PlannedConversion

BEGIN, END = "<!-- the corpus begins -->", "<!-- the corpus ends -->"
VERSIONS = ("torch", "torchvision", "timm", "transformers", "onnxruntime", "openvino", "executorch", "torchao")


def main(arguments: Sequence[str]) -> None:
    """Run what is asked for and print what is not true; the table goes to ``--output``."""
    parser = argparse.ArgumentParser(prog="python -m tests.models.run_corpus", description=__doc__)
    parser.add_argument("--models", default="*", help="names or kinds, with * for anything, joined by commas")
    parser.add_argument("--conversions", default="", help="names joined by commas; by default all that run on a CPU")
    parser.add_argument("--jobs", type=int, default=1, help="how many models at once")
    parser.add_argument(
        "--output", type=Path, help="a Markdown file whose part between two marks is replaced, or a new one"
    )
    parser.add_argument("--verdicts", type=Path, help="a file of verdicts that those of this run are added to")
    parser.add_argument("--cover", action="store_true", help="only what is needed to meet all families and kinds")
    options = parser.parse_args(arguments)
    chosen = examples(*options.models.split(","))
    if not chosen:
        parser.error(f"--models {options.models}: there is no such model")
    planned = cpu_plan(options.conversions.split(",") if options.conversions else None)
    began = time.monotonic()
    kept = Verdicts(options.verdicts)

    def show_and_keep(each: Examined) -> None:
        _show(each)
        kept.add(each)

    plans = covering(chosen, planned, kept.said()) if options.cover else {each.name: planned for each in chosen}
    chosen = [each for each in chosen if plans[each.name]]
    if chosen:
        examined = run(chosen, plans, jobs=options.jobs, preload=PRELOAD, on_model=show_and_keep)
        took, workers = time.monotonic() - began, sum(len(each.verdicts) for each in examined)
        print(f"{len(examined)} models, {workers} verdicts in {took:.0f} s; {len(untrue(examined))} untrue")
    if options.output:
        write(options.output, kept.examined())


def cpu_plan(names: Sequence[str] | None) -> tuple[PlannedConversion, ...]:
    """The conversions of these names, or all that can run on a CPU here."""
    planned = plan(names, 3, "cpu", allow_device_override=False)
    return tuple(each for each in planned if names or not each.unavailable)


def write(path: Path, examined: Sequence[Examined]) -> None:
    """Put the table between the marks of a Markdown file, or into a new one."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in VERSIONS)
    said = {each.example.name: {verdict.conversion for verdict in each.verdicts} for each in examined}
    how_many = covered(examples("*"), cpu_plan(None), said)
    told = f"Taken on {time.strftime('%Y-%m-%d')} on a CPU, with {versions}. {how_many}"
    block = f"{BEGIN}\n\n{told}\n\n{legend()}.\n\n```text\n{table(examined)}\n```\n\n{counts(examined)}\n\n{END}"
    text = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    path.write_text(before + block + rest.partition(END)[2], encoding="utf-8")


def _show(examined: Examined) -> None:
    lines = untrue([examined])
    seconds = sum(each.seconds for each in examined.verdicts)
    if examined.traits and (wrong := examined.example.wrong_traits(examined.traits)):
        lines.append(f"  {examined.example.name} traits: {wrong}")
    name = f"{examined.example.kind}/{examined.example.name}"
    print(
        "\n".join([f"{name}: {len(examined.verdicts)} verdicts, {len(lines)} untrue, {seconds:.1f} s", *lines]),
        flush=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
