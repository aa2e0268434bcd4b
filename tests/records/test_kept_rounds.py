"""The rounds of a worker on disk: each is there once it was taken, to the last digit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.support.example_jobs import in_rounds, measured, ok

from almaflow.records.kept_rounds import NAME, KeptRound, keep_round, with_kept_rounds

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import Measurement


def kept(*medians_ms: float) -> list[KeptRound]:
    found = in_rounds(ok(), medians_ms, first=0).measurement
    assert found is not None
    samples = iter(found.samples_ms)
    return [
        KeptRound(each, tuple(next(samples) for _ in range(each.count)), (0.1 * number,), 8.0 + number, 700.0, None)
        for number, each in enumerate(found.rounds)
    ]


def with_first(rounds: list[KeptRound]) -> Measurement:
    return replace(measured(rounds[0].samples_ms), rounds=(rounds[0].round,))


def test_rounds_come_back_as_they_were(tmp_path: Path) -> None:
    rounds = kept(1 / 3, 2e-5, 1234.5678901)
    for each in rounds:
        keep_round(str(tmp_path), each)
    found = with_kept_rounds(with_first(rounds), tmp_path)
    assert found.rounds == tuple(each.round for each in rounds)
    assert found.samples_ms == tuple(sample for each in rounds for sample in each.samples_ms)
    assert found.device_samples_ms == (0.0, 0.1, 0.2)
    assert (found.total_s, found.peak_memory_mb, found.device_memory_mb) == (10.0, 700.0, None)
    assert found.fidelity == with_first(rounds).fidelity


def test_the_round_that_was_being_written_is_lost_and_no_other(tmp_path: Path) -> None:
    rounds = kept(1.0, 2.0, 3.0)
    for each in rounds:
        keep_round(str(tmp_path), each)
    whole = (tmp_path / NAME).read_bytes()
    for end in range(whole.rindex(b"\n", 0, -1) + 1, len(whole)):
        (tmp_path / NAME).write_bytes(whole[:end])
        assert len(with_kept_rounds(with_first(rounds), tmp_path).rounds) == 2


@pytest.mark.parametrize("spoilt", [b"\n", b"null\n", b'{"round": 1}\n', b"\xff\x00\n", b'{"samples_ms": "AAA"}\n'])
def test_of_a_spoilt_file_the_rounds_before_the_fault_count(tmp_path: Path, spoilt: bytes) -> None:
    rounds = kept(1.0, 2.0, 3.0)
    for each in rounds[:2]:
        keep_round(str(tmp_path), each)
    with (tmp_path / NAME).open("ab") as stream:
        stream.write(spoilt)
    keep_round(str(tmp_path), rounds[2])
    assert len(with_kept_rounds(with_first(rounds), tmp_path).rounds) == 2


def test_a_measurement_that_has_them_all_stays_as_it_is(tmp_path: Path) -> None:
    rounds = kept(1.0)
    assert with_kept_rounds(with_first(rounds), tmp_path) == with_first(rounds)  # none were kept
    keep_round(str(tmp_path), rounds[0])
    assert with_kept_rounds(with_first(rounds), tmp_path) == with_first(rounds)
