from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.support.real_servers import free_port

from almaflow.cli.fleet import fleet
from almaflow.cli.fleet_services import LOST_S
from almaflow.errors import AlmaflowError, UsageError
from almaflow.fleet import broker
from almaflow.fleet.engines.ray_calls import explain
from almaflow.fleet.engines.ray_node import check_answers, is_loopback, ray_environment, split_address
from almaflow.fleet.head import check_token_is_asked, make_token, welcome
from almaflow.fleet.join import prove, taken_token, unit
from almaflow.fleet.service import HEAD, directory

if TYPE_CHECKING:
    from pathlib import Path

MISMATCH = """RuntimeError: Version mismatch: The cluster was started with:
    Ray: 2.61.0
    Python: 3.12.1
This process on node 10.0.0.2 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_default_of_the_command_is_the_brokers() -> None:
    assert LOST_S == broker.LOST_S


@pytest.mark.parametrize(
    ("text", "read"),
    [("10.0.0.5:6379", ("10.0.0.5", 6379)), ("ray://head:1", ("head", 1)), (" [::1]:6379 ", ("[::1]", 6379))],
)
def test_an_address_is_read(text: str, read: tuple[str, int]) -> None:
    assert split_address(text) == read


@pytest.mark.parametrize("text", [None, "", "head", "head:", ":6379", "head:port", "head:0", "head:65535"])
def test_what_is_no_address_is_refused(text: str | None) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        split_address(text)


def test_a_head_that_is_gone_is_told_at_once() -> None:
    with pytest.raises(AlmaflowError, match="no head of a fleet answers there"):
        check_answers(f"127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    ("host", "alone"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("10.0.0.5", False), ("head", False)]
)
def test_which_addresses_only_this_machine_reaches(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.5"])
def test_no_head_is_without_a_token_since_ray_listens_on_all_addresses(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    check_token_is_asked()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    done = CliRunner().invoke(fleet, ["head", "--host", host])
    assert isinstance(done.exception, UsageError)
    assert "needs the token" in str(done.exception)
    assert HEAD.running() is None


def test_the_token_is_made_once_and_its_owners_alone() -> None:
    first = make_token()
    text = first.read_text(encoding="ascii")
    assert len(text) == 64
    assert make_token().read_text(encoding="ascii") == text
    assert mode(first) == 0o600
    assert mode(directory()) == 0o700
    assert text not in "\n".join(welcome("10.0.0.5:6379", first)), "it would stay on the terminal"


def test_a_copied_token_is_kept_as_the_owners_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no token is here"), taken_token(None):
        pass
    source = tmp_path / "copied"
    source.write_text("ab12\n", encoding="ascii")
    source.chmod(0o644)
    with taken_token(source) as kept:
        assert kept.read_text(encoding="ascii") == "ab12"
        assert mode(kept) == 0o600
    kept.chmod(0o644)
    with taken_token(None) as again:
        assert (again, mode(again)) == (kept, 0o600)
    with pytest.raises(UsageError, match="cannot be read"), taken_token(tmp_path / "missing"):
        pass


def test_a_token_that_the_head_refuses_does_not_replace_the_one_that_was_here(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("cd34", encoding="ascii")
    kept = make_token()
    right = kept.read_text(encoding="ascii")
    seen = ""

    def refused() -> None:
        nonlocal seen
        seen = kept.read_text(encoding="ascii")
        message = "the head refuses the token"
        raise AlmaflowError(message)

    with pytest.raises(AlmaflowError, match="refuses"), taken_token(wrong):
        refused()
    assert seen == "cd34"
    assert kept.read_text(encoding="ascii") == right
    assert mode(kept) == 0o600
    with HEAD.held("127.0.0.1:6379"), pytest.raises(UsageError, match="another token"), taken_token(wrong):
        pass
    assert kept.read_text(encoding="ascii") == right


def test_a_machine_proves_what_it_claims() -> None:
    assert prove(["cpu"], {}).kinds[0] == "cpu"
    with pytest.raises(UsageError, match=r"--kind h200: this machine"):
        prove(["h200"], {})
    with pytest.raises(UsageError, match="no hardware config of this name"):
        prove(["r6i_lage"], {})


def test_an_environment_without_almaflow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--environment old="):
        prove(["cpu"], {"old": tmp_path / "python"})


def test_rays_processes_have_the_path_of_the_token_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_TOKEN", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "RAY_ADDRESS"):
        monkeypatch.setenv(name, "planted")
    found = ray_environment(tmp_path / "token")
    assert "planted" not in found.values()
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")
    assert found["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (MISMATCH, r"head: Ray: 2.61.0, Python: 3.12.1; here: Ray: 2.60.0, Python: 3.11.7"),
        ("RPC error: InvalidAuthToken: Authentication token is missing", "refuses the token"),
        ("ray client connection timeout", "the token of this home is not the head's"),
        ("Failed to connect to GCS. Last connection error", "no head of a fleet answers"),
    ],
)
def test_what_ray_says_becomes_one_line(text: str, line: str) -> None:
    said = explain(text)
    assert said is not None
    assert line in said
    assert "\n" not in said


def test_what_ray_says_otherwise_is_not_guessed_at() -> None:
    assert explain("something else") is None


def test_a_service_runs_once_a_home() -> None:
    assert HEAD.running() is None
    assert not HEAD.stop()
    with HEAD.held("127.0.0.1:6379"):
        found = HEAD.running()
        assert found is not None
        assert (found.pid, found.address) == (os.getpid(), "127.0.0.1:6379")
        with pytest.raises(UsageError, match="runs here already"), HEAD.held("127.0.0.1:6379"):
            pass
    assert HEAD.running() is None


def test_the_unit_joins_in_the_foreground_and_leaves_what_measures_alone(home: Path) -> None:
    text = unit(["head:6379", "--kind", "cpu"])
    assert "fleet join head:6379 --kind cpu --foreground" in text
    assert f"ALMAFLOW_HOME={home}" in text
    assert "KillMode=process" in text


def test_commands_that_know_no_head_say_so() -> None:
    done = CliRunner().invoke(fleet, ["list"])
    assert isinstance(done.exception, UsageError)
    assert "give it by --address" in str(done.exception)
    assert "has its result" in CliRunner().invoke(fleet, ["status"]).output
