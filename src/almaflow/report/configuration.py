"""The configuration of a job as it was asked for, and as the libraries that ran it reported it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def configuration(output: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the settings of a job, each with what was asked for and what was found; empty where that is not known.

    Args:
        output: A job as ``output=FILE.json`` holds it.
    """
    timed = [each for each in output["conversions"] if each.get("threads")]
    if not timed:
        return []
    threads = _shared((name, str(count)) for each in timed for name, count in each["threads"].items())
    devices = ", ".join(dict.fromkeys(each["device"] for each in timed))
    measure = ", ".join(f"{name} {value}" for name, value in (output.get("measure") or {}).items())
    asked = output.get("threads")
    rows = [
        ("threads", "" if asked is None else str(asked), threads),
        ("device", "", devices),
        ("measurement", measure, ""),
        *(
            (f"runtime of {each['conversion']}", "", ", ".join(f"{name} {value}" for name, value in runtime.items()))
            for each in timed
            if (runtime := each.get("runtime"))
        ),
    ]
    return [row for row in rows if any(row[1:])]


def _shared(found: Iterable[tuple[str, str]]) -> str:
    """Join names with their values; a value that not all conversions have is told with their number."""
    counts = Counter(found)
    names = Counter(name for name, _ in counts)
    return ", ".join(
        f"{name} {value}" + (f" ({times} conversions)" if names[name] > 1 else "")
        for (name, value), times in counts.items()
    )
