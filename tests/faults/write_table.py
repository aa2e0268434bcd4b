"""Writes the table of ``docs/results/reliability.md`` after ``make faults``.

``python -m tests.faults.write_table RESULTS``
"""

from __future__ import annotations

import json
import platform
import sys
from collections import Counter
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from tests.faults.elsewhere import ELSEWHERE, NOT_TRIED
from tests.faults.scenario import SUBJECTS, Scenario, scenarios

PAGE = Path(__file__).parents[2] / "docs" / "results" / "reliability.md"
MARK = "<!-- The rest is written by `python -m tests.faults.write_table`. -->\n"
HEAD = "| what goes wrong | what happens then | checked by |\n| --- | --- | --- |\n"
TITLES = {
    "killed": "The command is killed",
    "interrupted": "The command is interrupted",
    "processes": "The command is started or treated in an unusual way",
    "limits": "The system gives less than is wanted",
    "workers": "A worker has trouble",
    "disk": "A disk is full or refuses",
    "homes": "Homes, paths and file systems",
    "power": "Power is lost, and what else spoils a killed job's files",
    "stores": "The store on this machine",
    "people": "The store is changed by hand",
    "servers": "The store behind a server",
    "records": "Records are damaged, or of another version",
    "models": "The model changes",
    "surroundings": "Readers, other commands, the clock",
    "environments": "The environment, the time, and files beside the command",
    "users": "Two users of one machine",
    "secrets": "Secrets",
    "shared": "A store that somebody else may write",
}
Verdicts = dict[tuple[str, str], str]


def row(scenario: Scenario, verdicts: Verdicts) -> str:
    """One line of the table."""
    ended = Counter(verdicts.get((scenario.name, case), "not played") for case in scenario.cases)
    named = [case for case in scenario.cases if case]
    fault = scenario.fault + (f" ({'; '.join(named)})" if named else "")
    count = len(scenario.cases)
    fails = f"; **{ended['FAILS']} of {count} fail**" if ended["FAILS"] else ""
    checked = f"*{scenario.name}*, {count} {'case' if count == 1 else 'cases'}{fails}"
    return f"| {_sentence(fault)} | {_sentence(scenario.expected)} | {checked} |\n"


def _sentence(text: str) -> str:
    text = text.replace("|", "\\|")
    return text[:1].upper() + text[1:]


def table(verdicts: Verdicts) -> str:
    """Everything below the mark."""
    text = ""
    for subject in SUBJECTS:
        mine = [each for each in scenarios() if each.play.__module__.endswith(f".{subject}")]
        text += f"\n## {TITLES[subject]}\n\n{HEAD}{''.join(row(each, verdicts) for each in mine)}"
    text += f"\n## Checked by other tests\n\n{HEAD}"
    text += "".join(f"| {_sentence(fault)} | {_sentence(then)} | `{test}` |\n" for fault, then, test in ELSEWHERE)
    text += "\n## Not tried\n\n" + "".join(f"- {_sentence(each)}.\n" for each in NOT_TRIED)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("mlflow", "torch", "alma-torch"))
    ended = Counter(verdicts.get((each.name, case), "not played") for each in scenarios() for case in each.cases)
    played = (
        f"Written on {datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {versions}. Of "
        f"{ended.total()} cases {ended['holds']} were played and hold, {ended['FAILS']} fail, and "
        f"{ended['not played']} were not played on that day."
    )
    return f"\n{played}\n{text}"


def main(results: str) -> None:
    lines = [json.loads(line) for line in Path(results).read_text(encoding="utf-8").splitlines()]
    verdicts = {(name, case): verdict for name, case, verdict, _ in lines}
    introduction, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(introduction + mark + table(verdicts), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
