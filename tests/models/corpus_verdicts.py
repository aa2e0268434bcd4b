"""Verdicts of several runs of the corpus, in one file that grows with each model."""

from __future__ import annotations

import json
from dataclasses import asdict
from threading import Lock
from typing import TYPE_CHECKING, Any

from tests.models.corpus.every_example import examples
from tests.models.corpus_runner import Examined, Verdict

from almaflow.conversions.catalogue.plan import plan

if TYPE_CHECKING:
    from pathlib import Path


class Verdicts:
    """What was said, by model and conversion; a newer verdict takes the place of an older one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = Lock()
        self._said: dict[str, dict[str, Any]] = {}
        if path and path.exists():
            self._said = json.loads(path.read_text(encoding="utf-8"))

    def add(self, examined: Examined) -> None:
        """Keep the verdicts of a model, and write the file anew."""
        with self._lock:
            of_model = self._said.setdefault(examined.example.name, {})
            of_model |= {each.conversion: asdict(each) for each in examined.verdicts}
            if self._path:
                self._path.write_text(json.dumps(self._said, indent=1), encoding="utf-8")

    def said(self) -> dict[str, set[str]]:
        """The conversions that each model went through, by its name."""
        return {name: set(of_model) for name, of_model in self._said.items()}

    def examined(self) -> list[Examined]:
        """The models of the corpus that were examined, with their verdicts in the catalogue's order."""
        order = [each.name for each in plan(None, 3, "cpu", allow_device_override=False)]
        return [
            Examined(each, tuple(_verdict(said[name]) for name in order if name in said))
            for each in examples("*")
            if (said := self._said.get(each.name))
        ]


def _verdict(said: dict[str, Any]) -> Verdict:
    return Verdict(**said | {"notes": tuple(said["notes"])})
