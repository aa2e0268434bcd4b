"""A page of a real browser, read as a person sees it: which texts are in view, and where.

Chromium is told what to do by its DevTools protocol through a pipe (``--remote-debugging-pipe``): one JSON object for
each message, ended by a zero byte.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip
WINDOW = (1440, 900)
"""Pixels of a laptop's window."""
ANSWERED_WITHIN_S = 60.0
ABOVE_FIRST_FDS = 10
SEEN = """(() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = [], range = document.createRange();
  while (walker.nextNode()) {
    const node = walker.currentNode, text = node.textContent.trim();
    if (!text) continue;
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect(), middle = (box.top + box.bottom) / 2;
    if (!box.width || box.left < 0 || box.top < 0 || box.bottom > innerHeight) continue;
    const plot = node.parentElement.closest('.js-plotly-plot');  // has a layer for the mouse over its texts
    const isOn = x => { const at = document.elementFromPoint(x, middle);
                        return at && (at.contains(node) || node.parentElement.contains(at)
                                      || (plot && plot.contains(at))); };
    const style = getComputedStyle(node.parentElement);
    if (style.visibility == 'hidden' || style.opacity == '0') continue;
    if (isOn(box.left + 2)) seen.push([text, box.left, box.top, box.right, box.bottom, !!isOn(box.right - 2)]);
  }
  return seen;
})()"""
"""JavaScript: each text whose beginning is in the window and not covered, its box, and whether its end is there too."""


@dataclass(frozen=True)
class Seen:
    """A text in view, and its box in pixels from the window's top left corner."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    whole: bool
    """Whether its end is in view too."""

    @property
    def middle(self) -> float:
        """Height of its middle."""
        return (self.top + self.bottom) / 2


def beside(one: Seen, texts: list[Seen], *, whole: bool = True) -> list[str]:
    """The texts that stand in the same line as one, from left to right: those that are whole, or all of them."""
    line = (each for each in texts if each.top < one.middle < each.bottom and each.whole >= whole)
    return [each.text for each in sorted(line, key=lambda each: each.left)]


def found() -> str | None:
    """The path of a Chromium; None where none is installed (Debian: apt-get install chromium)."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@dataclass
class Browser:
    """A window; it shows one page at a time, in real time."""

    reading: int
    writing: int
    session: str = ""
    _last: int = 0
    _rest: bytes = field(default=b"")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWERED_WITHIN_S
        while True:
            while b"\0" not in self._rest:
                if not select.select([self.reading], [], [], max(deadline - time.monotonic(), 0))[0]:
                    raise TimeoutError(method)
                more = os.read(self.reading, 1 << 20)
                if not more:
                    ended = f"Chromium has ended, at {method}"
                    raise ConnectionError(ended)
                self._rest += more
            text, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str) -> Self:
        """Go to a page. A blank one comes first: another place in the same document would load nothing anew."""
        for each in ("about:blank", address):
            self.call("Page.navigate", url=each)
        return self

    def run(self, script: str) -> Any:
        """Run JavaScript in the page and return its value."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def seen(self) -> list[Seen]:
        """The texts in view."""
        return [Seen(*each) for each in self.run(SEEN) or []]

    def seen_when(self, ready: Callable[[list[Seen]], object], within_s: float = 90.0) -> list[Seen]:
        """The texts in view once they are as wanted and have come to rest; the last ones where they never are."""
        deadline = time.monotonic() + within_s
        before: list[Seen] = []
        while True:
            now = self.seen()
            if (ready(now) and now == before) or time.monotonic() > deadline:
                return now
            before = now
            time.sleep(0.4)

    def picture(self, path: Path) -> None:
        """Write what is in view as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def _pipe() -> tuple[int, int]:
    """Open a pipe whose ends are none of the numbers that Chromium expects its own at."""
    ends = os.pipe()
    reading, writing = (fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, ABOVE_FIRST_FDS) for each in ends)
    for each in ends:
        os.close(each)
    return reading, writing


@contextmanager
def window(profile: Path, size: tuple[int, int] = WINDOW) -> Iterator[Browser]:
    """Open a window of a new profile, as somebody has who opens MLflow for the first time."""
    binary = found()
    assert binary
    theirs, writing = _pipe()
    reading, answers = _pipe()
    with (profile.parent / f"{profile.name}.log").open("wb") as log:
        # The log first: it may have one of the numbers that are Chromium's.
        places = ((log.fileno(), 1), (log.fileno(), 2), (theirs, 3), (answers, 4))
        actions = [(os.POSIX_SPAWN_DUP2, ours, number) for ours, number in places]
        command = [binary, *FLAGS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", "about:blank"]
        process = os.posix_spawn(binary, command, os.environ, file_actions=actions, setpgroup=0)
    for each in (theirs, answers):
        os.close(each)
    browser = Browser(reading, writing)
    try:
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        browser.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        browser.call("Page.enable")
        width, height = size
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        yield browser
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        for each in (reading, writing):
            os.close(each)
