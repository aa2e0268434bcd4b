"""Secrets in all that a user gives are looked for in all that a whole session leaves."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.faults.count import runs, secrets
from tests.faults.inject import Fault
from tests.faults.scenario import ended_with, fired, holds, scenario, synced

if TYPE_CHECKING:
    from tests.faults.commands import Ended
    from tests.faults.place import Place

SECRET = "s3cr3tpw-of-alice"  # noqa: S105 - planted, to be looked for
TOKEN = "t0psecret-t0ken"  # noqa: S105 - the same
PLANTED = {
    "the address of the store": "pw-0f-the-address/4711",
    "its query": "qu3ry-t0ken-4711",
    "an override": "0verride-token-4711",
    "a keyword argument": "kw4rg-api-key-4711",
    "a message of the model": "pw-in-a-mess4ge-4711",
    "the address of a git repository": "ghp_r3mote0f0the0repository0of0alice0",
    "the environment": "envir0nment-secret-4711",
}
"""Where each secret is planted, in a whole session."""


def nowhere(place: Place, printed: str, words: tuple[str, ...] = (SECRET, TOKEN)) -> None:
    """Check that none of the words was printed, or is in a file that no user wrote."""
    assert not [word for word in words if word in printed], printed
    assert not (found := secrets(place.root, words)), found


def forms(word: str) -> tuple[str, ...]:
    """The ways in which a secret may be written."""
    return word, quote(word, safe=""), base64.b64encode(f"alice:{word}".encode()).decode()


@scenario(
    fault="the store's address has a password and a token in it",
    expected="neither is in any file nor in anything printed",
    cases={"one job": (), "a sweep": ("-m", "batch_size=1,2"), "a typing error": ("batch_sise=1",)},
)
def a_password_in_the_address(place: Place, *more: str) -> None:
    with place.server().running() as server:
        uri = server.uri.replace("://", f"://alice:{SECRET}@")
        ended = place.run(*more, f"tracking.uri='{uri}/?token={TOKEN}'", API_TOKEN=TOKEN)
        nowhere(place, ended.out + ended.err)
        ended = place.run(*more, f"tracking.uri='{uri}'", API_TOKEN=TOKEN)
        nowhere(place, ended.out + ended.err)


@scenario(
    fault="a model raises with a database's address and its password in the message",
    expected="the password is in no file, no tag, no page and nothing printed",
)
def a_password_in_an_exception(place: Place) -> None:
    raising(place, SECRET)
    ended = ended_with(place.run("output=out.json"), 0)
    nowhere(place, ended.out + ended.err)
    synced(place)


def raising(place: Place, password: str) -> None:
    """Let the model raise where it is in bfloat16."""
    path = place.root / "sleepy.py"
    raises = f'if x.dtype == torch.bfloat16:\n            raise OSError("postgresql://alice:{password}@db/x")\n        '
    path.write_text(path.read_text(encoding="utf-8").replace("time.sleep", f"{raises}time.sleep"), encoding="utf-8")


@scenario(
    fault="a keyword argument of the model is a key for some service",
    expected="its value is in no file, no param and nothing printed",
)
def a_key_in_the_arguments(place: Place) -> None:
    with_arguments(place)
    ended = ended_with(place.run(f"+model.kwargs.api_key={SECRET}", "output=out.json"), 0)
    nowhere(place, ended.out + ended.err)
    holds(place)


def with_arguments(place: Place) -> None:
    """Let the model take a key and a token."""
    path = place.root / "sleepy.py"
    text = path.read_text(encoding="utf-8").replace("(self)", "(self, api_key=None, access_token=None)", 1)
    path.write_text(text, encoding="utf-8")


@scenario(
    fault="in a whole session secrets are given in every way: in the store's address, in an override, in arguments, in "
    "a model's message, in the address of a git repository, in the environment",
    expected="none is in any file, in the store, in a log, in a page or in anything printed: not of a job, a killed "
    "one, a resumed one, a sweep, sync, report, comparison, accuracy, MLflow's pages, or a server that fails",
)
def secrets_in_a_whole_session(place: Place) -> None:
    words = tuple(form for secret in PLANTED.values() for form in forms(secret))
    with_arguments(place)
    raising(place, PLANTED["a message of the model"])
    repository(place, PLANTED["the address of a git repository"])
    place.environment = {"DATABASE_PASSWORD": PLANTED["the environment"], "GIT_CONFIG_NOSYSTEM": "1"}
    with place.server().running() as server:
        password = quote(PLANTED["the address of the store"], safe="")
        bare = server.uri.replace("://", f"://alice:{password}@")
        given = (
            f"+model.kwargs.api_key={PLANTED['a keyword argument']}",
            f"+model.kwargs.access_token={PLANTED['an override']}",
            f"tracking.uri='{bare}'",
        )
        said: list[Ended] = []
        said.append(ended_with(place.run(*given, "output=out.json"), 0))
        said.append(place.run(*given, f"tracking.uri='{bare}/?token={PLANTED['its query']}'"))
        killed = (Fault("signal", "before conversion logged", 2),)
        said.append(fired(ended_with(place.run(*given, "batch_size=2", faults=killed), -signal.SIGKILL)))
        server.trouble(("500", "log-batch", 2, 0))
        said.append(ended_with(place.run(*given, "batch_size=3"), 0))
        server.trouble(("html", "", 1, 0))
        said.append(ended_with(place.sync("--uri", bare), 1))
        server.trouble()
        said.append(ended_with(place.sync("--uri", bare), 0))
        said.append(ended_with(place.resume(*given, "batch_size=2"), 0))
        said.append(ended_with(place.run(*given, "-m", "batch_size=4,5"), 0))
        said += [place.almaflow(*arguments, "--uri", bare) for arguments in readers(place)]
        said.append(place.run(*given, "--cfg", "job"))
        said.append(place.run(*given, "measure.replicatse=3"))
        said.append(place.almaflow("doctor", MLFLOW_TRACKING_URI=bare))
        said.append(place.almaflow("predict", *place.measuring(*given)[1:]))
        command = place.start("ui", "--no-open", "--uri", bare)
        said.append(command.end())
    assert len([run for run in runs(place.database) if run.kind == "conversion"]) >= 10, "too little was searched"
    for each in said:
        nowhere(place, each.out + each.err, words)
    # What is looked for can be found where it does stand: in the files that the user wrote.
    assert PLANTED["a message of the model"] in (place.root / "sleepy.py").read_text(encoding="utf-8")
    assert secrets(place.root, (PLANTED["the address of a git repository"],), everywhere=True)


def readers(place: Place) -> list[tuple[str, ...]]:
    """Commands that read a store and write what they read."""
    jobs = [path.name for path in place.jobs]
    return [
        ("report", jobs[0], "--output", "report.html"),
        ("compare", jobs[0], jobs[-1], "--format", "json"),
        ("accuracy", "--baselines", "--html", "accuracy.html", "--track"),
        ("conversions", "--history"),
        ("rescore", "predictor=roofline"),
    ]


def repository(place: Place, token: str) -> None:
    """Make the directory of the command one of git, whose remote has a token in its address."""
    git = ["git", "-c", "user.name=alice", "-c", "user.email=alice@example.com"]
    for words in (["init", "-q"], ["add", "sleepy.py"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], cwd=place.root, check=True, env={**os.environ, "GIT_CONFIG_NOSYSTEM": "1"})
    remote = f"https://alice:{token}@git.example.com/models.git"
    subprocess.run(["git", "remote", "add", "origin", remote], cwd=place.root, check=True)
