"""The console that a job prints on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from types import TracebackType


class JobConsole(Console):
    """Falls silent where it cannot be written to any more: rich would end the process, and with it the job."""

    def on_broken_pipe(self) -> None:
        """Fall silent."""
        self.quiet = True

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write what was printed."""
        try:
            super().__exit__(exc_type, exc_value, traceback)
        except (OSError, ValueError):  # a full disk, a terminal that was hung up; a stream that its owner has closed
            self.quiet = True
