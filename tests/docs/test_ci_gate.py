"""``examples/ci/gate.sh`` as it is: the commit before and the change, measured and compared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.support.example_jobs import in_rounds, ok
from tests.support.stored_jobs import stored

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "ci"
MEASURED_ALREADY = """#!/bin/sh
test "$1" = run || exec {almaflow} "$@"
for word; do case $word in output=*) printf '{{"job_id": "%s"}}' "$(cat job)" >"${{word#output=}}"; esac; done
"""
"""A command that measures nothing: each commit names the job that measured it, in a file."""
STEADY = (1.0, 1.002, 0.999, 1.001, 1.0, 0.998, 1.002, 1.0)


@pytest.mark.slow
def test_a_change_that_is_slower_fails_and_leaves_a_comment(tmp_path: Path, home: Path) -> None:
    for name, latency_ms in (("before", 10.0), ("same", 10.05), ("slower", 13.0)):
        stored(name, in_rounds(ok("ONNX_CPU"), [latency_ms * share for share in STEADY]))
    programs, tree = tmp_path / "programs", tmp_path / "tree"
    programs.mkdir()
    (programs / "almaflow").write_text(
        MEASURED_ALREADY.format(almaflow=Path(sys.executable).with_name("almaflow")), encoding="utf-8"
    )
    (programs / "almaflow").chmod(0o755)
    paths = os.pathsep.join(map(str, (programs, Path(sys.executable).parent, os.environ["PATH"])))
    environment = os.environ | {"PATH": paths, "ALMAFLOW_HOME": str(home), "BASE": "HEAD", "MODEL": "simple"}
    environment |= {
        f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    tree.mkdir()
    (tree / "job").write_text("before", encoding="utf-8")
    for words in (["init", "-q"], ["add", "job"], ["commit", "-q", "-m", "before"]):
        subprocess.run(["git", *words], cwd=tree, env=environment, check=True)

    def gate(job: str) -> subprocess.CompletedProcess[str]:
        (tree / "job").write_text(job, encoding="utf-8")
        return subprocess.run(
            [str(EXAMPLES / "gate.sh")], cwd=tree, env=environment, capture_output=True, text=True, check=False
        )

    same = gate("same")
    assert (same.returncode, same.stdout) == (0, ""), same.stderr
    assert (tree / "comment.md").read_text(encoding="utf-8").startswith("**Gate passed: 1 passed**")
    slower = gate("slower")
    assert (slower.returncode, slower.stdout) == (3, ""), slower.stderr
    assert (tree / "comment.md").read_text(encoding="utf-8").startswith("**Gate failed: 1 failed**")
    trees = subprocess.run(["git", "worktree", "list"], cwd=tree, capture_output=True, text=True, check=True)
    assert len(trees.stdout.splitlines()) == 1


def test_the_workflow_runs_it_for_branches_of_the_repository_itself() -> None:
    workflow = yaml.safe_load((EXAMPLES / "gate.yml").read_text(encoding="utf-8"))
    gate = workflow["jobs"]["gate"]
    assert "examples/ci/gate.sh" in [step.get("run") for step in gate["steps"]]
    assert "head.repo.full_name == github.repository" in gate["if"]
