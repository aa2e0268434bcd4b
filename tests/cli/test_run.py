"""``almaflow run``: Hydra's flags, wrong input, and whole jobs of a tiny model."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.command_directory import LINEAR
from tests.support.example_jobs import job, ok

from almaflow.errors import AlmaflowError
from almaflow.jobs.artifacts import write_output

if TYPE_CHECKING:
    from pathlib import Path

TINY = list(LINEAR)

IN_PROCESS = """
import sys
from almaflow.cli import main
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


def almaflow(*arguments: str, cwd: Path | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", IN_PROCESS, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    *_, last = done.stderr.splitlines()
    assert last == "False", "PyTorch was imported where the command runs"
    return done


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--help", "almaflow run [GROUP=CHOICE ...]"),
        ("--hydra-help", "--shell-completion"),
        ("--cfg job", "experiment_name: almaflow"),
        ("--cfg hydra", "subdir: ${hydra.job.num}"),
        ("-sc install=bash", "complete -o nospace -o default -F hydra_bash_completion almaflow\n"),
        ("--info defaults", "hardware"),
        ("--info config", "experiment_name: almaflow"),
    ],
)
def test_hydras_flags_work(flags: str, expected: str, home: Path) -> None:
    done = almaflow("run", *flags.split())
    assert expected in done.stdout
    assert done.stderr == "False\n"
    assert not home.exists()


def test_a_users_own_configs_are_found(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    own = "_target_: my_package.Mine\ninputs:\n- shape: [7]\n"
    (tmp_path / "model" / "mine.yaml").write_text(own, encoding="utf-8")
    done = almaflow("run", "--config-dir", str(tmp_path), "model=mine", "--cfg", "job")
    assert "_target_: my_package.Mine" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["output=no/such/r.json"], "output=no/such/r.json: the directory no/such does not exist"),
        (["batch_size=0"], "batch_size=0: must be 1 or more"),
        (["-m", "--cfg", "job"], "leave -m out to see the configuration"),
        (["hardware=i7_12700k", "hardware.cpu_match=i386"], "use hardware=auto here"),
        (["conversions=[COMPILE_INDUCTR]"], "COMPILE_INDUCTOR"),
        (["tracking.uri=file:///tmp/mlruns"], "maintenance mode"),
        (["-m", "batch_size=1,x"], "batch_size=x: must be a whole number"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_runs(arguments: list[str], line: str, home: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    done = almaflow("run", *arguments, cwd=work, code=2)
    assert line in done.stderr
    assert done.stderr.startswith("almaflow: ")
    assert done.stderr.count("\n") == 2
    assert done.stdout == ""
    assert not (home / "jobs").exists()
    assert not (home / "mlflow.db").exists()
    assert list(work.iterdir()) == []


@pytest.mark.slow
def test_a_sweep_in_which_one_job_is_wrong(stored_home: Path, tmp_path: Path) -> None:
    sweep = ["-m", "batch_size=0,1,2", "conversions=[EAGER]", "predicted_latency_ms=5"]
    done = almaflow("run", *TINY, *sweep, "output=r-${batch_size}.json", cwd=tmp_path, code=1)
    assert "almaflow: batch_size=0: must be 1 or more\n" in done.stderr
    lines = done.stdout.splitlines()
    assert "  batch_size=0" in [line.rstrip() for line in lines]
    assert "job 2 of 3: batch_size=1\n" in done.stderr
    assert lines[0] == f"MLflow store: sqlite:///{stored_home}/mlflow.db, experiment almaflow"
    opening = "Open the sweep in the MLflow UI: "
    assert lines[-1].startswith(opening)
    assert (
        "--port"
        in subprocess.run(
            [*shlex.split(lines[-1].removeprefix(opening)), "--help"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    for size in (1, 2):
        told: dict[str, Any] = json.loads((tmp_path / f"r-{size}.json").read_text(encoding="utf-8"))
        assert (told["batch_size"], told["model"], told["interrupted"]) == (size, "Linear", False)
        assert [entry["conversion"] for entry in told["conversions"]] == ["EAGER"]
        for entry in told["conversions"]:
            assert entry["status"] == "ok", entry
            latency = entry["latency_ms"]
            assert entry["prediction_error_pct"] == pytest.approx(100 * (5 - latency) / latency)
        kept = stored_home / "jobs" / told["job_id"] / "summary"
        assert f"batch_size: {size}\n" in (kept / "config.yaml").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == [stored_home.name, "r-1.json", "r-2.json"]


@pytest.mark.slow
def test_strict_makes_a_failed_conversion_fail_the_command(tmp_path: Path) -> None:
    """A model that has other weights each time it is built: nothing that is compared with it can be right."""
    (tmp_path / "mine.py").write_text(
        "import os, torch\n"
        "def build():\n"
        "    torch.manual_seed(int.from_bytes(os.urandom(4)))\n"
        "    return torch.nn.Linear(8, 4)\n",
        encoding="utf-8",
    )
    store = f"sqlite:///{tmp_path}/other.db"
    own = ["model._target_=mine.build", f"tracking.uri={store}", "conversions=[EAGER]"]
    done = almaflow("run", *TINY[:1], *TINY[3:], *own, "strict=true", cwd=tmp_path, code=1)
    assert "wrong_output" in done.stdout
    assert done.stdout.splitlines()[0] == f"MLflow store: {store}, experiment almaflow"
    assert done.stdout.rstrip().endswith(f"ui --uri {store}")


def test_an_output_that_cannot_be_written_in_the_end_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        AlmaflowError, match=r"could not be written \(No such file or directory\); the same is in jobs/j1"
    ):
        write_output(str(tmp_path / "gone" / "r.json"), job(ok()))
    write_output(os.fspath(tmp_path / "r.json"), job(ok()))
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["best_conversion"] == "EAGER"
