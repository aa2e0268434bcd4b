"""How each conversion has fared in the store: over models, and over versions of what runs it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.records.runtimes import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Fared:
    """Runs of one conversion on one model with the same versions."""

    conversion: str
    model: str
    versions: str
    ok: int
    failed: int
    unavailable: int
    why: str | None
    """Of the newest run that was not ok: its failure and the line that matters; None where the newest run was ok."""
    last_at: float
    """Start of the newest run, in seconds since the epoch."""


def history(runs: Iterable[tuple[float, Mapping[str, str], Mapping[str, str]]]) -> list[Fared]:
    """How conversions have fared.

    Args:
        runs: Start in seconds since the epoch, params and tags of each conversion's run, in any order.

    Returns:
        One entry for each conversion, model and set of versions, ordered by them.
    """
    groups: dict[tuple[str, str, str], list[tuple[float, Mapping[str, str]]]] = defaultdict(list)
    for started_at, params, tags in runs:
        groups[params.get("conversion", ""), params.get("model", ""), _versions(tags)].append((started_at, tags))
    return [_fared(key, sorted(found, key=lambda each: each[0])) for key, found in sorted(groups.items())]


def _versions(tags: Mapping[str, str]) -> str:
    names = ("torch", *RUNTIMES.get(tags.get("almaflow.family", ""), ()))
    return ", ".join(f"{name} {tags[f'env.{name}']}" for name in names if f"env.{name}" in tags)


def _fared(key: tuple[str, str, str], found: list[tuple[float, Mapping[str, str]]]) -> Fared:
    statuses = [tags.get("almaflow.status") for _, tags in found]
    last_at, last = found[-1]
    return Fared(
        *key,
        ok=statuses.count("ok"),
        failed=statuses.count("failed"),
        unavailable=statuses.count("unavailable"),
        why=None if statuses[-1] == "ok" else _why(last),
        last_at=last_at,
    )


def _why(tags: Mapping[str, str]) -> str:
    kind = tags.get("almaflow.failure", "interrupted")
    line = tags.get("almaflow.failure_message") or tags.get("almaflow.unavailable")
    return f"{kind}: {line}" if line else kind
