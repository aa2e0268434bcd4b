"""The verdicts of the corpus as text: a table of letters, what is not true, and how often each verdict was given."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.models.corpus.example import OK, OK_WITH_NOTE
from tests.models.corpus_runner import NOT_PREPARED, REFUSED

from almaflow.conversions.catalogue.plan import plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.models.corpus_runner import Examined, Verdict

LETTERS = {
    OK: ".",
    OK_WITH_NOTE: "n",
    "error": "e",
    "unsupported": "u",
    "missing_dependency": "u",
    "unavailable": "/",
    "fell_back": "f",
    "wrong_output": "W",
    "crashed": "C",
    "timeout": "T",
    "out_of_memory": "M",
    REFUSED: "R",
    NOT_PREPARED: "X",
}


def table(examined: Sequence[Examined]) -> str:
    """One line a model, one letter a conversion that it went through, with the conversions' numbers above."""
    names = _names(examined)
    width = max(len(each.example.name) for each in examined)
    lines = [f"{number:3}  {name}" for number, name in enumerate(names, 1)]
    lines += ["", " " * width + "  " + _ruler(len(names))]
    kind = None
    for each in examined:
        if each.example.kind != kind:
            kind = each.example.kind
            lines += [f"{kind}:"]
        wrong = {verdict.conversion for verdict in each.wrong()}
        said = {verdict.conversion: LETTERS[verdict.verdict] for verdict in each.verdicts}
        letters = [said.get(name, " ") + ("!" if name in wrong else " ") for name in names]
        lines.append(f"{each.example.name:{width}}  {''.join(letters)}".rstrip())
    return "\n".join(lines)


def _names(examined: Sequence[Examined]) -> list[str]:
    """The conversions that any model went through, in the catalogue's order."""
    order = [each.name for each in plan(None, 3, "cpu", allow_device_override=False)]
    return sorted({verdict.conversion for each in examined for verdict in each.verdicts}, key=order.index)


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
    rows: dict[str, Counter[str]] = {name: Counter() for name in _names(examined)}
    for each in examined:
        for verdict in each.verdicts:
            rows[verdict.conversion][verdict.verdict] += 1
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
