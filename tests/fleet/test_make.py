"""Orders are made of validated configurations, and hold nothing that must not leave this machine."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from almaflow.config.composition import compose
from almaflow.config.validation import plain, validate_plain
from almaflow.errors import UsageError
from almaflow.fleet.make import Made, make_order
from almaflow.records import to_dict

if TYPE_CHECKING:
    from pathlib import Path


def made(*overrides: str, kind: str | None = "auto") -> Made:
    return make_order(compose(["model=simple", "fleet=local", *overrides]), kind=kind, warn=print)


def test_an_order_is_the_job_without_its_store() -> None:
    order = made("tracking.uri=http://ann:S3cret-word@server", "fleet.user=ann", "batch_size=4").kept.order
    assert (order.user, order.kind, order.configuration["batch_size"]) == ("ann", None, 4)
    assert not {"tracking", "fleet"} & order.configuration.keys()
    assert "server" not in json.dumps(to_dict(order))
    assert validate_plain(order.configuration).batch_size == 4


def test_hardware_of_another_machine_is_no_error_here() -> None:
    wanted = ("fleet.machine=0123456789ab", "fleet.environment='torch>=2.14'")
    sent = made("hardware=g4dn_xlarge", *wanted, kind="g4dn_xlarge")
    order = sent.kept.order
    assert (order.kind, order.machine_id, order.environment) == ("g4dn_xlarge", "0123456789ab", "torch>=2.14")
    assert order.configuration["hardware"]["gpu_match"]


def test_an_account_without_a_name_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        message = "uid not found: 12345"
        raise KeyError(message)

    monkeypatch.setattr("getpass.getuser", nameless)
    assert made().kept.order.user == "unknown"


def test_secrets_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"^the secret in model.kwargs.api_key is not sent to a machine"):
        made("+model.kwargs.api_key=A1b2C3d4E5f6")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    with pytest.raises(UsageError, match=r"^the secret in model.kwargs.name is"):
        made("+model.kwargs.name=wJalrXUtnFEMI")


def test_weights_are_a_blob(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    sent = made(f"model.weights={path}")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert (sent.kept.order.blobs["weights"].sha256, sent.files) == (digest, {digest: path})
    assert sent.kept.order.configuration["model"]["weights"] is None
    assert str(tmp_path) not in json.dumps(to_dict(sent.kept.order))
    other = tmp_path / "elsewhere.pt"
    other.write_bytes(b"weights")
    assert made(f"model.weights={other}").kept.key == sent.kept.key, "the same by its contents"


def test_the_same_again_has_the_same_key() -> None:
    assert made().kept.key == made("resume=true", "output=x.json", "fleet.quota=2").kept.key
    keys = {made(*each, kind=kind).kept.key for each, kind in ((("batch_size=2",), None), ((), "cpu"), ((), None))}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("resume=failed",), "resume=failed: a machine of a fleet does not see the store"),
        (("fleet=ray",), "fleet.address is required"),
        (("conversions=[EAGRE]",), "EAGRE"),
        (("model.weights=nowhere.pt",), "there is no such file"),
    ],
)
def test_what_can_be_checked_here_is_checked_here(overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        made(*overrides)


def test_a_job_does_not_say_who_measured_or_where() -> None:
    sent = made("fleet.user=ann", "fleet.machine=0123456789ab")
    everything = plain(compose(["model=simple"]))
    assert sent.kept.config == {name: value for name, value in everything.items() if name != "fleet"}
    assert sent.request.config == sent.kept.config
