"""A scenario: one fault in the real product, what is expected then, and the checks that scenarios share."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tests.faults.count import Count, locks, shown_of_other_model
from tests.faults.place import CONVERSIONS, MIN_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

    from tests.faults.commands import Ended
    from tests.faults.place import Place

SUBJECTS = (
    "killed", "interrupted", "processes", "limits", "workers", "disk", "homes", "power", "stores", "people", "servers",
    "records", "models", "surroundings", "environments", "users", "secrets", "shared",
)  # fmt: skip
"""Modules of ``tests.faults.scenarios``, in the order of the table."""
SCRATCH = ("reference.pt", "server.log", "prepare", "work", "cache")
"""Names of what only workers need, and what no command may leave for ever."""


class NotHereError(Exception):
    """The scenario cannot be played on this machine; the message says why."""


@dataclass(frozen=True)
class Scenario:
    """A fault in words, an expectation in words, and the code that plays it."""

    name: str
    fault: str
    expected: str
    play: Callable[..., None]
    cases: Mapping[str, tuple[Any, ...]]
    short: tuple[str, ...] = ()
    """The cases that belong to the short run."""

    def label(self, case: str) -> str:
        return f"{self.name}: {case}" if case else self.name


_FOUND: dict[str, list[Scenario]] = {}


@dataclass
class scenario:  # noqa: N801 - a decorator
    """Make a scenario of the function, under its name."""

    fault: str
    expected: str
    cases: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: {"": ()})
    short: tuple[str, ...] = ()

    def __call__(self, play: Callable[..., None]) -> Callable[..., None]:
        found = Scenario(play.__name__.replace("_", " "), self.fault, self.expected, play, self.cases, self.short)
        _FOUND.setdefault(play.__module__, []).append(found)
        return play


def scenarios() -> list[Scenario]:
    """Every scenario, by subject."""
    names = [f"tests.faults.scenarios.{name}" for name in SUBJECTS]
    for name in names:
        import_module(name)
    return [each for name in names for each in _FOUND[name]]


def cases(*, short: bool) -> Iterator[tuple[Scenario, str]]:
    """Every case of every scenario, or those of the short run."""
    for each in scenarios():
        for case in each.cases:
            if case in each.short or not short:
                yield each, case


def ended_with(ended: Ended, *codes: int) -> Ended:
    """Check how a command ended, and that nothing of it runs on."""
    assert ended.code in codes, f"expected exit code {codes}, got {ended}"
    assert not ended.left, f"left running: {ended.left}"
    if ended.code >= 0:
        assert "Traceback" not in ended.err, f"a traceback: {ended}"
    return ended


def fired(ended: Ended) -> Ended:
    """Check that the fault came."""
    assert ended.fired, f"the fault did not come: {ended.reached}"
    return ended


def holds(place: Place) -> Count:
    """Check what must hold at any time."""
    count = Count.of(place.home, place.store)
    assert not count.at_any_time(), count.at_any_time()
    assert not locks(place.home), locks(place.home)
    return count


def synced(place: Place, *more: str, excused: Container[tuple[str, str, int]] = ()) -> Count:
    """Sync, which has to end well, and check that nothing is lost, doubled, waiting or running for ever."""
    ended_with(place.sync(*more), 0)
    count = holds(place)
    wrong = count.after_sync(excused)
    assert not wrong, wrong
    return count


def resumed(place: Place, *more: str, **environment: Any) -> Ended:
    """Resume, which has to end well: the store then has all, of this version of the model, and in full."""
    before = {each.key for each in holds(place).known if each.version == place.version}
    ended = ended_with(place.resume("output=out.json", *more, **environment), 0)
    count = holds(place)
    assert not (gone := before - {each.key for each in count.on_disk}), f"measured again, or lost: {gone}"
    complete(place, count)
    return ended


def complete(place: Place, count: Count, conversions: tuple[str, ...] = CONVERSIONS) -> None:
    """Check that ``out.json`` shows every conversion, in full and of the current version of the model."""
    output = place.output()
    shown = {entry["conversion"]: entry["status"] for entry in output["conversions"]}
    assert shown == dict.fromkeys(conversions, "ok"), shown
    assert not (wrong := shown_of_other_model(output, count, place.version)), wrong
    of_runs = {run.run_id: run for run in count.conversions}
    for entry in output["conversions"]:
        run = of_runs.get(entry["run_id"])
        assert run is not None, f"{entry['conversion']} is not in the store"
        assert run.metrics["latency/samples"] >= MIN_SAMPLES, f"{entry['conversion']} was cut short"


def tidy(place: Place) -> None:
    """Check that nothing that only workers need is left, nor a directory that no command will look at."""
    left = [path for path in place.home.glob("jobs/**/*") if path.name in SCRATCH]
    left += [job for job in place.jobs if not (job / "job.json").exists()]
    assert not left, f"litter: {[str(path.relative_to(place.home)) for path in left]}"


def one_line(ended: Ended, *words: str) -> None:
    """Check that the command said what is wrong in a line of its own, with these words in it."""
    lines = [line for line in ended.err.splitlines() if line.startswith("almaflow: ")]
    assert len(lines) == 1, f"not one line: {ended}"
    assert all(word in lines[0] for word in words), f"without {words}: {lines[0]}"
