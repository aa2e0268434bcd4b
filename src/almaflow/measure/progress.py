"""The interface of whatever shows a job's progress."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from almaflow.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.records import Job, MeasureSpec, Outcome, PlannedConversion


class Progress:
    """Is told what a job does, and shows nothing but warnings, through the logger ``almaflow``.

    ``report.progress.TerminalProgress`` shows it all.
    """

    def start(
        self,
        plan: Sequence[PlannedConversion],
        measure: MeasureSpec | None = None,
        estimate_s: Mapping[str, float] | None = None,
    ) -> None:
        """Begin; ``estimate_s`` has the seconds that conversions may take until they are ready, by name."""

    def phase(self, name: str, phase: str) -> None:
        """Tell that a conversion is now in this phase; several may be prepared at the same time."""

    def ready(self, planned: PlannedConversion) -> None:
        """Tell that a conversion is converted and checked, and waits until nobody is prepared any more."""

    def put_back(self, planned: PlannedConversion) -> None:
        """Tell that the process of a conversion was ended, and that it will get another one."""

    def turns(self, name: str, number: int, settled: int, total: int) -> None:
        """Tell whose turn it is, the number of the round, and how many of all need no more."""

    def finish(self, outcome: Outcome) -> None:
        """Tell how a conversion ended."""

    def measured(self, job: Job) -> None:
        """Tell that all of the job is known; its report and what the store still lacks come afterwards."""

    def note(self, text: str) -> None:
        """Show a line that stays."""

    def warn(self, text: str) -> None:
        """Show a warning that stays."""
        logging.getLogger("almaflow").warning(mask(text))

    def close(self) -> None:
        """End; may be called again."""
