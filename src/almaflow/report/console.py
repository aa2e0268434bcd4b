"""The consoles that everything people read is printed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.segment import Segment

from almaflow.secrets import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from rich.console import ConsoleOptions, RenderableType


class PlainConsole(Console):
    """Prints what others may have named or said, such as models, messages of a shared store: text is only text.

    Nothing in it is markup or an emoji's name, and no control character reaches the terminal.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, without control characters in any text."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable(segment.text)
            yield segment if text == segment.text else Segment(text, segment.style)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        """Leave the blanks away with which rich fills lines, where a file or a pipe keeps them."""
        text = super()._render_buffer(buffer)
        return text if self.is_terminal else "\n".join(line.rstrip(" ") for line in text.split("\n"))


class JobConsole(PlainConsole):
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
