"""Secrets are masked wherever they stand, and what only looks like one is left alone."""

from __future__ import annotations

import os
import string
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from almaflow.secrets import MASK, mask, mask_file, printable

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "S3cr/et@pw"  # noqa: S105 - a planted one
PLAIN = "abc12345"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name not in {"PATH", "HOME", "TMPDIR"}:
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"no answer from http://alice:{SECRET}@host:5000/x", "no answer from http://***@host:5000/x"),
        (f"postgresql+psycopg2://u:{SECRET}@db/mlflow", "postgresql+psycopg2://***@db/mlflow"),
        (f"origin https://{PLAIN}@github.com/o/r.git", "origin https://***@github.com/o/r.git"),
        (f"https://h/x?token={PLAIN}&page=2&X-Amz-Signature=ab", "https://h/x?token=***&page=2&X-Amz-Signature=***"),
        (f"Authorization: Basic {PLAIN}==", "Authorization: ***"),
        (f"{{'Authorization': 'Bearer {PLAIN}', 'n': 1}}", "{'Authorization': '***', 'n': 1}"),
        (f"sent Bearer {PLAIN}.x-y", "sent Bearer ***"),
        (f"model.kwargs.api_key={PLAIN}: no such key", "model.kwargs.api_key=***: no such key"),
        ("calling it with (width=3, password='a b', depth=2)", "calling it with (width=3, password='***', depth=2)"),
        ('{"client_secret": "x", "size": 3}', '{"client_secret": "***", "size": 3}'),
        ("run 'tracking.password=x' now", "run 'tracking.password=***' now"),
        (f"HF_TOKEN={PLAIN}", "HF_TOKEN=***"),
        (r"'first\npassword=x'", r"'first\npassword=***'"),
        ("accessToken: q", "accessToken: ***"),
        ("hf_abcdefghijklmnopqrstuvwx is refused", "*** is refused"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nend", "***\nend"),
    ],
)
def test_a_secret_in_a_text_is_masked(text: str, expected: str) -> None:
    assert mask(text) == expected
    assert mask(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "num_key_value_heads=8 key_dim=64 tokenizer=gpt2-medium pad_token_id=50256 max_tokens=12345678",
        "KeyError: 'layer4.0.conv1.weight'",
        "Missing key: layer4.0.conv1.weight",
        "sorted(rows, key=operator.itemgetter)",
        "eos_token='<|endoftext|>' pad_token=[PAD]",
        "http://localhost:5000/#/experiments/1 and pip install git+https://github.com/o/r@v1.2",
        "sqlite:////home/a@b/mlflow.db",
        "password: none, token=None, secret=",
        "conversions=[EAGER,ONNX_CPU] batch_size=8",
        "basic indexing, bearer of news",
    ],
)
def test_what_only_looks_like_a_secret_is_left_alone(text: str) -> None:
    assert mask(text) == text


def test_a_configuration_is_masked_by_the_names_of_its_values() -> None:
    config: dict[str, Any] = {
        "api_key": "x",
        "password": 12345678,
        "credentials": {"user": "me", "phrase": ["a", "b"]},
        "hub_token": "abc.12345",
        "key": PLAIN,
        "token": "<pad>",
        "secret": None,
        "num_key_value_heads": 8,
        "key_dim": 64,
        "tokenizer": "gpt2-12345678",
        "pad_token_id": 50256,
        "layers": ({"use_key": True, "sort_key": "latency"}, f"http://u:{PLAIN}@h"),
    }
    assert mask(config) == config | {
        "api_key": MASK,
        "password": MASK,
        "credentials": {"user": MASK, "phrase": [MASK, MASK]},
        "hub_token": MASK,
        "key": MASK,
        "layers": ({"use_key": True, "sort_key": "latency"}, "http://***@h"),
    }


class Kind(StrEnum):
    ERROR = "error"


@dataclass(frozen=True)
class Record:
    kind: Kind
    kwargs: dict[str, Any]
    count: int = 3


def test_a_record_keeps_its_types() -> None:
    assert mask(Record(Kind.ERROR, {"api_key": "x"})) == Record(Kind.ERROR, {"api_key": MASK})
    assert isinstance(mask(Record(Kind.ERROR, {})).kind, Kind)


def test_secrets_of_the_environment_are_masked_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "correct horse")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUt+nFEMI/K7")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:battery-staple@db/x")
    monkeypatch.setenv("SHORT_PASSWORD", "mlflow")  # as a word it may stand anywhere
    monkeypatch.setenv("PWD", "ordinary")  # where the shell is
    monkeypatch.setenv("LABEL", "ordinary value")
    said = "correct horse, wJalrXUt+nFEMI/K7 and battery-staple: ordinary value in mlflow.db"
    assert mask(said) == "***, *** and ***: ordinary value in mlflow.db"


WORDS = st.sampled_from(
    ["password", "api_key", "token", "key", "=", ": ", "'", '"', "://", "@", "?", "&", "/", " ", "\n", "Bearer ", "***",
     "Authorization", "http", "S3cr3t-pw-1", "eyJ", "\\", "{", "}", ",", "-----BEGIN PRIVATE KEY-----", "\x1b[31m"]
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(WORDS).map("".join))


@settings(max_examples=50, deadline=None)
@given(TEXTS)
@example("password='a password=\"b\"'")
@example("http://a@b://c:d@e")
def test_masking_twice_is_masking_once(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


SECRETS = st.text(string.ascii_letters + string.digits + "_-+/.@:%", min_size=8)
PLACES = (
    "https://alice:{}@host/path",
    "x https://host/p?a=1&access_token={} y",
    "Authorization: Bearer {}",
    "model.kwargs.password={}",
    "{{'api_key': '{}', 'other': 1}}",
    'client_secret = "{}"',
)


@settings(max_examples=50, deadline=None)
@given(SECRETS.map(lambda text: f"Zq{text}7"), st.sampled_from(PLACES), st.text(" \n.(", max_size=5))
def test_a_planted_secret_is_gone_wherever_it_is_planted(secret: str, place: str, around: str) -> None:
    assert secret not in mask(around + place.format(secret) + around)


def test_a_log_is_masked_in_place_and_keeps_what_is_no_text(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_bytes(b"a\r\nhttp://u:" + PLAIN.encode() + b"@h\n\xff\xfe\x00end")
    mask_file(log)
    assert log.read_bytes() == b"a\r\nhttp://***@h\n\xff\xfe\x00end"
    assert [*tmp_path.iterdir()] == [log]


def test_no_control_character_reaches_a_terminal() -> None:
    assert printable("a\x1b[31mred\x9b\r\u202e\n\tb") == "a\ufffd[31mred\ufffd\ufffd\ufffd\n\tb"
