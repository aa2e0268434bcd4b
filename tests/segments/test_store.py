from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from almaflow.models.graph_code import GraphCode
from almaflow.records.profile import Segment
from almaflow.segments import store as module
from almaflow.segments.files import ProfileFiles
from almaflow.segments.standalone import Standalone
from almaflow.segments.store import SegmentStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="files")
def files_fixture(tmp_path: Path) -> ProfileFiles:
    files = ProfileFiles.of("p", tmp_path)
    files.create()
    return files


@pytest.fixture(name="notes")
def notes_fixture() -> list[str]:
    return []


@pytest.fixture(name="store")
def store_fixture(files: ProfileFiles, notes: list[str]) -> SegmentStore:
    return SegmentStore(files, 4, "real", notes.append)


def layer(value: float) -> Standalone:
    weights = {"weight_0": torch.full((2,), value)}
    return Standalone(GraphCode("def forward(self): ...", {}, {}, {}), weights, (), (), (), [])


def segment(name: str, digest: str = "", family: str = "f") -> Segment:
    return Segment(name, family, "predict", "app.py", 1, "predict", 1, weights_digest=digest)


def test_inputs_are_on_disk_and_none_stay_in_memory(store: SegmentStore, files: ProfileFiles) -> None:
    store.write_model("a", "w", layer(1.0))
    whole = torch.arange(12.0).reshape(3, 4)
    kept = store.add(segment("a"), (whole.t(), whole[1]))
    for shift in (0.0, 1.0, float("nan"), float("nan"), 2.0):
        store.keep(kept, ((whole + shift).t(), whole[1]))
    assert not any(isinstance(each, torch.Tensor) for held in vars(kept).values() for each in (held, *_items(held)))
    tensors = torch.load(files.segment_dir("a") / "batches.pt", weights_only=True)["tensors"]
    assert [batch[0][0, 1].item() for batch in tensors] == [4.0, 5.0, pytest.approx(float("nan"), nan_ok=True), 6.0]
    first, row = tensors[0]
    assert (first.stride(), first.untyped_storage().data_ptr()) == ((1, 4), row.untyped_storage().data_ptr())
    assert (kept.record.batches, kept.wants_inputs) == (4, False)


def _items(held: object) -> list[object]:
    return list(held) if isinstance(held, list | tuple | set) else []


def test_a_record_names_the_weights_that_are_on_disk(store: SegmentStore, files: ProfileFiles) -> None:
    """The layer that begins first may end last, or raise."""
    for name, value in (("first", 1.0), ("second", 2.0)):
        assert store.write_model("a", name, layer(value)) is None
    kept = store.add(segment("a", "second"), (torch.ones(2),))
    assert kept.record.weights_digest == "first"
    assert files.segments()[0].weights_digest == "first"
    assert torch.load(files.weights_path("first"))["weight_0"].tolist() == [1.0, 1.0]
    store.add(segment("a", "first"), ())
    assert kept.record.copies == 2


@pytest.mark.parametrize(("limit", "told"), [("FAMILY_MB", "of one graph"), ("SESSION_MB", "in the session")])
def test_beyond_a_limit_only_shapes_are_kept_and_a_line_says_so(
    store: SegmentStore, files: ProfileFiles, notes: list[str], monkeypatch: pytest.MonkeyPatch, limit: str, told: str
) -> None:
    monkeypatch.setattr(module, limit, 0.001)
    for name in "abcd":
        store.write_model(name, "w", layer(1.0))
        store.add(segment(name), (torch.ones(100),))
    assert [each.record.batches for each in store.kept.values()] == [1, 1, 0, 0]
    assert not (files.segment_dir("c") / "batches.pt").exists()
    (note,) = set(notes)
    assert told in note
    assert told in str(store.kept["c"].record.unmeasurable)
    assert store.kept["a"].record.unmeasurable is None


@pytest.mark.parametrize("limit", ["FAMILY_MB", "SESSION_MB"])
def test_further_inputs_of_a_size_leave_room_for_the_first_of_the_others(
    store: SegmentStore, notes: list[str], monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(module, limit, 0.004)  # ten inputs
    for name in "abcde":
        store.write_model(name, "w", layer(1.0))
        kept = store.add(segment(name), (torch.ones(100),))
        for number in range(4):
            store.keep(kept, (torch.full((100,), float(number)),))
    assert [each.record.batches for each in store.kept.values()] == [2, 1, 1, 1, 1]
    assert notes == []


def test_the_applications_call_survives_what_goes_wrong_in_keeping(
    store: SegmentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    store.write_model("a", "w", layer(1.0))
    kept = store.add(segment("a"), (torch.ones(2),))
    monkeypatch.setattr(module, "copied", full)
    store.keep(kept, (torch.zeros(2),))
    assert (kept.record.batches, kept.record.unmeasurable, kept.wants_inputs) == (1, None, False)
    store.write_model("b", "w", layer(1.0))
    unkept = store.add(segment("b"), (torch.ones(2),))
    assert unkept.record.unmeasurable == "its inputs could not be kept"
