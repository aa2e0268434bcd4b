"""The verdicts of the corpus as text: a table of letters, what is not true, and how often each verdict was given."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.models.corpus.example import OK, OK_WITH_NOTE
from tests.models.corpus_runner import NOT_PREPARED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.models.corpus_runner import Examined, Verdict

LETTERS = {
    OK: ".",
    OK_WITH_NOTE: "n",
    "error": "e",
    "unsupported": "u",
    "missing_dependency": "u",
    "unavailable": "-",
    "fell_back": "f",
    "wrong_output": "W",
    "crashed": "C",
    "timeout": "T",
    "out_of_memory": "M",
    REFUSED: "R",
    NOT_PREPARED: "X",
}


def table(examined: Sequence[Examined]) -> str:
    """One line a model, one letter a conversion, with the conversions' numbers above."""
    names = [each.conversion for each in examined[0].verdicts]
    width = max(len(each.example.name) for each in examined)
    lines = [f"{number:3}  {name}" for number, name in enumerate(names, 1)]
    lines += ["", " " * width + "  " + _ruler(len(names))]
    kind = None
    for each in examined:
        if each.example.kind != kind:
            kind = each.example.kind
            lines += [f"{kind}:"]
        wrong = {verdict.conversion for verdict in each.wrong()}
        letters = [
            LETTERS[verdict.verdict] + ("!" if verdict.conversion in wrong else " ") for verdict in each.verdicts
        ]
        lines.append(f"{each.example.name:{width}}  {''.join(letters)}".rstrip())
    return "\n".join(lines)


def _ruler(count: int) -> str:
    return "".join(f"{number:<10}" for number in range(1, count + 1, 5))


def legend() -> str:
    """What the letters mean."""
    verdicts = {
        letter: " or ".join(v for v, other in LETTERS.items() if other == letter) for letter in LETTERS.values()
    }
    return ", ".join(f"`{letter}` {words}" for letter, words in verdicts.items()) + ", `!` not what is true"


def counts(examined: Sequence[Examined]) -> str:
    """How often each conversion got each verdict, as a Markdown table."""
    kinds = list(dict.fromkeys(LETTERS))
    rows: dict[str, Counter[str]] = {}
    for each in examined:
        for verdict in each.verdicts:
            rows.setdefault(verdict.conversion, Counter())[verdict.verdict] += 1
    used = [kind for kind in kinds if any(row[kind] for row in rows.values())]
    lines = ["| conversion | " + " | ".join(used) + " |", "| --- |" + " ---: |" * len(used)]
    lines += [f"| `{name}` | " + " | ".join(str(row[kind] or "") for kind in used) + " |" for name, row in rows.items()]
    return "\n".join(lines)


def untrue(examined: Sequence[Examined]) -> list[str]:
    """Each verdict that is not true, with what was said and why it is not true."""
    return [_line(each, verdict) for each in examined for verdict in each.wrong()]


def _line(examined: Examined, verdict: Verdict) -> str:
    said = ": ".join(filter(None, [verdict.verdict, verdict.message]))
    notes = f" [{'; '.join(verdict.notes)}]" if verdict.notes else ""
    why = "; ".join(examined.example.reasons(verdict.conversion))
    return f"  {examined.example.name} {verdict.conversion}: {said}{notes}" + (f" (true: {why})" if why else "")
