from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from almaflow.errors import RecordError
from almaflow.records.json_files import read_json, to_line, write_json
from almaflow.records.profile import (
    Ambient,
    Backend,
    Call,
    LostCapture,
    Profile,
    ProfiledFunction,
    Segment,
    SegmentTensor,
    Timing,
    Variant,
)
from almaflow.segments.files import ProfileFiles, append_line

if TYPE_CHECKING:
    from pathlib import Path

TENSOR = SegmentTensor((2, 3), "float32", (1, 2), storage_offset=4, shares=0, mutated=True)
SEGMENT = Segment(
    "a5", "a", "predict", "app.py", 3, "predict", 9, "Tensor.item()", "app.py", 4, (TENSOR,), (TENSOR,),
    Ambient(autocast={"cpu": "bfloat16"}), "w", 24, copies=12, eager=Timing(6, 3.5, 1.0, 6.0),
)  # fmt: skip
CALL = Call(0, "predict", "MainThread", ("a5",), (1.0, 2.0), (3.0,), compiled=True, raised="OSError", concurrent=True)
LOST = LostCapture("loop", "predict", "search", "app.py", 7, "break in loop", "decorate `step`", 2, "app.py", 8)


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    files = ProfileFiles.of("p", tmp_path)
    files.create()
    profile = Profile(
        "p", 1.0, 2.0, (Backend("local", "EAGER", "local/eager"),),
        (ProfiledFunction("predict", "app.py", 2, 1, {"raised": 1}, (0,), None, Timing(1, 3.0), None),),
        (SEGMENT,), (Variant("predict", ("a",), (0,), 1.0, (None, Timing(1, 2.0))),), (LOST,), ("note",), "OSError",
    )  # fmt: skip
    files.write(profile)
    assert files.read() == profile
    assert files.root.stat().st_mode & 0o777 == 0o700


def test_segments_calls_and_losses_are_read_as_they_were_written(tmp_path: Path) -> None:
    files = ProfileFiles.of("p", tmp_path)
    files.create()
    files.segment_dir("a5").mkdir()
    files.write_segment(SEGMENT)
    files.calls_path.write_text(to_line(CALL) + to_line(CALL) + to_line(CALL)[:40])  # killed while it wrote
    files.lost_path.write_text(to_line(LOST))
    assert files.segments() == [SEGMENT]
    assert files.calls() == [CALL, CALL]
    assert files.lost() == [LOST]


def test_a_line_of_a_newer_version_is_read_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    files = ProfileFiles(tmp_path)
    assert files.calls() == []
    files.calls_path.write_text(to_line(CALL).replace("{", '{"new": 1, ', 1))
    assert files.calls() == [CALL]
    files.calls_path.write_text(to_line(CALL)[:40] + "\n" + to_line(CALL))
    with pytest.raises(RecordError, match=r"calls\.jsonl is damaged"):
        files.calls()


def test_a_line_that_the_disk_has_no_room_for_leaves_no_half_behind(tmp_path: Path) -> None:
    files = ProfileFiles(tmp_path)
    append_line(files.calls_path, to_line(CALL))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (files.calls_path.stat().st_size + 40, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            append_line(files.calls_path, to_line(CALL))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    append_line(files.calls_path, to_line(CALL))
    assert files.calls() == [CALL, CALL]


def test_a_record_without_the_newer_fields_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "old.json", {"form": 1, "profile_id": "p", "started_at": 1.0})
    assert read_json(tmp_path / "old.json", Profile) == Profile("p", 1.0)
