"""Plays scenarios, each in a place of its own, and then random schedules.

``python -m tests.faults.play --words 'killed then'`` plays those that have the words; ``make faults`` plays all.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.commands import Zygote, make_store
from tests.faults.place import Place
from tests.faults.scenario import NotHereError, Scenario, cases
from tests.faults.schedules import run_in_processes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator


@dataclass(frozen=True)
class Played:
    """A case that was played."""

    scenario: Scenario
    case: str
    verdict: str
    """``holds``, ``FAILS`` or ``not played``."""
    why: str
    seconds: float


def play(scenario: Scenario, case: str, zygote: Zygote, root: Path, template: Path) -> None:
    """Play one case; an ``AssertionError`` says what does not hold."""
    place = Place(zygote, root, template)
    scenario.play(place, *scenario.cases[case])


def play_all(chosen: Iterable[tuple[Scenario, str]], zygote: Zygote, root: Path) -> Iterator[Played]:
    """Play cases one after the other, whatever each comes to."""
    template = root / "template.db"
    if not template.exists():
        make_store(zygote, template)
    for number, (scenario, case) in enumerate(chosen):
        began = time.monotonic()
        place = root / f"{number:03d}"
        verdict, why = "holds", ""
        try:
            play(scenario, case, zygote, place, template)
        except NotHereError as error:
            verdict, why = "not played", str(error)
        except Exception as error:  # noqa: BLE001 - the product may do anything here
            verdict, why = "FAILS", f"{type(error).__name__}: {error}"
        zygote.end_all()
        shutil.rmtree(place, ignore_errors=True)
        yield Played(scenario, case, verdict, why, time.monotonic() - began)


def show(played: Played) -> str:
    """One line, and below it why where it does not hold."""
    line = f"{played.verdict:10s} {played.seconds:5.1f} s  {played.scenario.label(played.case)}"
    return f"{line}\n    {played.why}" if played.why else line


def chosen_cases(words: str, known: Collection[tuple[str, str]]) -> list[tuple[Scenario, str]]:
    """Those that have the words in their labels and are not known yet: one case of each scenario before the others."""
    found = [(each, case) for each, case in cases(short=False) if words in each.label(case)]
    found.sort(key=lambda pair: list(pair[0].cases).index(pair[1]))
    return [(each, case) for each, case in found if (each.name, case) not in known]


def held(results: Path) -> set[tuple[str, str]]:
    """The cases of which the file says that they hold."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return {(name, case) for name, case, verdict, _ in map(json.loads, lines) if verdict == "holds"}


def main(words: str, schedules: int, number: int, processes: int, results: Path | None, *, go_on: bool) -> int:
    """Play what has the words in its label, keep how each ended, then run random schedules; 1 where one fails."""
    chosen = chosen_cases(words, held(results) if results and go_on else ())
    failed = 0
    if results:
        results.parent.mkdir(parents=True, exist_ok=True)
        if not go_on:
            results.unlink(missing_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="almaflow-faults-") as root, Zygote.start() as zygote:
        Path(root).chmod(0o755)  # for scenarios of other users
        for place, played in enumerate(play_all(chosen, zygote, Path(root)), 1):
            failed += played.verdict == "FAILS"
            left = (time.monotonic() - began) / place * (len(chosen) - place)
            print(f"[{place}/{len(chosen)}, {left / 60:.0f} min left] {show(played)}", flush=True)
            if results:
                with results.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps([played.scenario.name, played.case, played.verdict, played.why]) + "\n")
        print(f"{len(chosen)} scenarios played, {failed} fail", flush=True)
    if schedules:
        print(f"{schedules} random schedules from seed {number} on", flush=True)
        failed += run_in_processes(schedules, number=number, processes=processes)
    return min(failed, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--words", default="", help="play only scenarios that have these words in their names")
    parser.add_argument("--schedules", type=int, default=0, help="run so many random schedules afterwards")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6, help="which schedules  [default: others]")
    parser.add_argument("--processes", type=int, default=2, help="how many of them at a time")
    parser.add_argument("--results", type=Path, help="file that is to say how each scenario ended")
    parser.add_argument("--go-on", action="store_true", help="leave out what holds by that file, and add to it")
    given = parser.parse_args()
    sys.exit(main(given.words, given.schedules, given.seed, given.processes, given.results, go_on=given.go_on))
