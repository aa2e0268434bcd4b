"""The Dockerfile, read as text: it is not built here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest.strip()) for line in joined.splitlines() if line for word, _, rest in [line.partition(" ")]]


def all_of(name: str) -> list[str]:
    return [rest for word, rest in instructions() if word == name]


def test_every_instruction_is_known_and_the_base_comes_first() -> None:
    known = {"FROM", "RUN", "COPY", "WORKDIR", "USER", "ENV", "VOLUME", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in instructions()} <= known
    assert instructions()[0][0] == "FROM"


def test_the_base_is_pinned_to_a_python_that_almaflow_runs_on() -> None:
    (base,) = all_of("FROM")
    match = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-[a-z]+", base)
    assert match
    assert match[1] in {"3.11", "3.12", "3.13"}


def test_packages_are_those_that_are_tested_together() -> None:
    installs = [run for run in all_of("RUN") if "pip install" in run]
    assert len(installs) == 1
    words = shlex.split(installs[0])
    assert words[words.index("--constraint") + 1] == "constraints/current.txt"
    assert "--no-cache-dir" in words
    assert ".[all]" in words


def test_nothing_from_the_network_is_run_by_a_shell() -> None:
    assert [run for run in all_of("RUN") if re.search(r"\b(curl|wget)\b", run)] == []
    assert [run for run in all_of("RUN") if "apt-get install" in run and "rm -rf /var/lib/apt/lists/*" not in run] == []


def test_it_does_not_run_as_root() -> None:
    (user,) = all_of("USER")
    assert any(f"useradd --create-home --uid 1000 {user}" in run for run in all_of("RUN"))
    order = [word for word, _ in instructions()]
    assert order.index("USER") < order.index("ENTRYPOINT")
    assert "RUN" not in order[order.index("USER") :]


def test_what_is_copied_is_there_and_sent() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    for copy in all_of("COPY"):
        *sources, _ = copy.split()
        for source in sources:
            assert (ROOT / source).exists()
            assert source.removeprefix("./") in sent
