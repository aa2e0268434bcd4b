"""Every record says its form; what is damaged, or of a form that is unknown here, raises one error that says so."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.damaged_records import damaged
from tests.support.example_jobs import failed, in_rounds, job, ok, unavailable

from almaflow.errors import RecordError
from almaflow.records import Job, Outcome, Sweep, SweepJob, read_json, stamp, to_dict, write_json
from almaflow.records.json_files import FORM

if TYPE_CHECKING:
    from pathlib import Path

OUTCOME = in_rounds(ok("EAGER", predicted_ms=2.0), [20.0, 21.0])
RECORDS = (
    OUTCOME,
    job(OUTCOME, failed("ONNX_CPU"), unavailable("COMPILE_TVM")),
    Sweep("s", ("batch_size=1,2",), (("batch_size=1",), ("batch_size=2",)), 1.0),
    SweepJob(0, ("batch_size=1",), 1.0, 2.0, 0, output={"conversions": []}),
)


def reads(path: Path, record: object) -> bool:
    """Whether the file is read as such a record; all but the one error is passed on."""
    try:
        return type(read_json(path, type(record))) is type(record)
    except RecordError as error:
        return str(path) not in str(error)  # the error names the file


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_read_as_it_was_written_and_says_its_form(tmp_path: Path, record: object) -> None:
    write_json(tmp_path / "record.json", record)
    assert read_json(tmp_path / "record.json", type(record)) == record
    written = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))
    assert list(written)[:2] == ["form", "almaflow"]
    assert written["form"] == FORM


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=st.sampled_from(RECORDS), data=st.data())
def test_a_file_that_is_cut_short_is_damaged(tmp_path: Path, record: object, data: st.DataObject) -> None:
    path = tmp_path / "record.json"
    write_json(path, record)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    assert not reads(path, record)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=st.sampled_from(RECORDS), data=st.data())
def test_any_value_in_any_place_is_read_or_raises_the_one_error(
    tmp_path: Path, record: object, data: st.DataObject
) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(data.draw(damaged(record))), encoding="utf-8")
    reads(path, record)


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b"3", b'"x"', b"\xff\xfe", b'{"form": 1}', b"[" * 99_999, b"NaN"]
)
def test_what_is_no_record_is_damaged(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "record.json").write_bytes(text)
    assert [reads(tmp_path / "record.json", record) for record in RECORDS] == [False] * len(RECORDS)


def test_keys_of_a_newer_almaflow_are_borne_at_any_depth(tmp_path: Path) -> None:
    data = {**stamp(), **to_dict(OUTCOME), "new": 1}
    data["planned"]["new"] = {"a": []}
    (tmp_path / "outcome.json").write_text(json.dumps(data), encoding="utf-8")
    assert read_json(tmp_path / "outcome.json", Outcome) == OUTCOME


def test_a_newer_form_is_refused_and_says_which_almaflow_wrote_it(tmp_path: Path) -> None:
    data = {**to_dict(OUTCOME), "form": FORM + 1, "almaflow": "9.9"}
    (tmp_path / "outcome.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(RecordError, match=r"written by a newer almaflow \(9\.9\): upgrade"):
        read_json(tmp_path / "outcome.json", Outcome)


def test_a_file_without_a_form_is_an_older_one(tmp_path: Path) -> None:
    made = job(replace(OUTCOME, predictions=()))
    data = to_dict(made)
    del data["references"], data["outcomes"][0]["predictions"]
    (tmp_path / "job.json").write_text(json.dumps(data), encoding="utf-8")
    assert read_json(tmp_path / "job.json", Job) == made


def test_a_file_that_is_not_there_is_not_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "job.json", Job)
    (tmp_path / "outcome.json").mkdir()
    with pytest.raises(RecordError, match="Is a directory"):
        read_json(tmp_path / "outcome.json", Outcome)
