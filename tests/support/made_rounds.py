"""Rounds of two conversions on a machine that others disturb, made from a known ratio of the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tests.support.example_jobs import changed, job, ok

from almaflow.records import Job, MachineState, Outcome, Round

if TYPE_CHECKING:
    from collections.abc import Sequence

THREADS = 2
ROUND_MS = 60.0
MOST_CALLS = 8


@dataclass(frozen=True)
class Disturbance:
    """What happens on the machine while the two take their turns."""

    busy: float = 0.0
    """Share of the time in which others compute."""
    spell: float = 5.0
    """Turns that others compute on end, on average."""
    slower: tuple[float, float] = (1.0, 1.0)
    """How many times as long a call of either takes meanwhile, on average: they may differ, as their threads do."""
    drift: float = 1.0
    """How many times as slow the machine is at the end as at the beginning."""
    steps: float = 1.0
    """Ratio of the two speeds between which the machine goes back and forth."""
    seen: bool = True
    """Whether the load of others is known for each round."""
    noise: float = 0.02


def made_job(truth: float, rounds: int, what: Disturbance, seed: int, fast_ms: float = 4.0) -> Job:
    """A job of eager, and of ONNX Runtime that is ``truth`` times as fast."""
    random = np.random.default_rng(seed)
    turns = 2 * rounds
    busy, slow = _spells(random, turns, what.busy, what.spell), _spells(random, turns, 0.5, 8.0)
    pace = np.geomspace(1.0, what.drift, turns) * np.where(slow, what.steps, 1.0)
    sides: list[list[tuple[list[float], MachineState | None]]] = [[], []]
    for number in range(rounds):
        order = (0, 1) if number % 2 else (1, 0)  # there and back, as workers take turns
        for place, side in enumerate(order):
            turn = 2 * number + place
            quiet_ms = fast_ms * (truth if side == 0 else 1.0) * pace[turn]
            sides[side].append(_round(random, quiet_ms, what, side, busy=bool(busy[turn])))
    return job(*(_outcome(name, each) for name, each in zip(("EAGER", "ONNX_CPU"), sides, strict=True)))


def _spells(random: np.random.Generator, turns: int, share: float, length: float) -> Sequence[bool]:
    """Say for each turn whether it lies in a spell: a chain that enters and leaves by chance."""
    if share in {0.0, 1.0}:
        return [bool(share)] * turns
    leave = 1 / length
    enter = min(1.0, leave * share / (1 - share))
    found, inside = [], bool(random.random() < share)
    for _ in range(turns):
        found.append(inside)
        inside = bool(random.random() >= leave if inside else random.random() < enter)
    return found


def _round(
    random: np.random.Generator, quiet_ms: float, what: Disturbance, side: int, *, busy: bool
) -> tuple[list[float], MachineState | None]:
    waits = (what.slower[side] - 1) * random.exponential(size=MOST_CALLS) if busy else 0.0
    calls = quiet_ms * (1 + waits) * np.exp(what.noise * np.abs(random.standard_normal(MOST_CALLS)))
    samples = calls[: 1 + int(np.searchsorted(np.cumsum(calls), ROUND_MS))].tolist()
    load = min(THREADS, max(0.0, (1.2 if busy else 0.03) + 0.05 * random.standard_normal()))
    return samples, MachineState(others_cpus=load) if what.seen else None


def _outcome(name: str, sides: Sequence[tuple[Sequence[float], MachineState | None]]) -> Outcome:
    rounds = tuple(
        Round(0, index, len(samples), float(index), sum(samples) / 1000, sum(samples) / 500, 1.0, state)
        for index, (samples, state) in enumerate(sides, start=1)
    )
    calls = tuple(sample for samples, _ in sides for sample in samples)
    return changed(ok(name), samples_ms=calls, rounds=rounds)
