"""What almaflow says about the machine it is on."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import job, planned

from almaflow import machine
from almaflow.cli.hardware import hardware
from almaflow.machine import cpus, gpus
from almaflow.records import Outcome, Status
from almaflow.tracking.fingerprints import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    for kept in (machine.describe, gpus.first_handle):
        kept.cache_clear()
    yield
    for kept in (machine.describe, gpus.first_handle):
        kept.cache_clear()


def test_home_is_absolute_and_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALMAFLOW_HOME", "here")
    assert machine.home() == tmp_path / "here"
    monkeypatch.setenv("ALMAFLOW_HOME", "~/there")
    assert machine.home() == Path.home() / "there"
    monkeypatch.delenv("ALMAFLOW_HOME")
    assert machine.home().is_absolute()
    assert machine.home().name == "almaflow"


def test_this_machine_is_plausible() -> None:
    here = machine.describe()
    assert here.cpu
    assert 1 <= here.threads <= here.physical_cores <= here.logical_cores
    assert 0.1 < here.memory_gb < 100_000
    assert machine.has_cuda() == bool(here.gpus)


def test_it_answers_at_once_and_without_torch() -> None:
    code = "import sys; from almaflow import machine; machine.environment(); print('torch' in sys.modules)"
    source = str(Path(machine.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": source}
    )
    assert done.stdout.strip() == "False"
    begin = time.perf_counter()
    machine.describe()
    assert time.perf_counter() - begin < 1.0


def test_environment_tags_are_text_and_name_nobody() -> None:
    tags = machine.environment()
    assert {"cpu", "physical_cores", "memory_gb", "os", "python", "torch", "alma", "mlflow"} <= set(tags)
    assert all(type(value) is str and value for value in tags.values())
    text = " ".join(tags.values()).split()
    assert socket.gethostname() not in text
    assert getpass.getuser() not in text


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout


def test_git_commit_is_that_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert "git_commit" not in machine.environment()
    git(tmp_path, "init")
    assert "git_commit" not in machine.environment()
    (tmp_path / "file").write_text("a", encoding="utf-8")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    git(tmp_path, "tag", "v1")
    git(tmp_path, "remote", "add", "origin", "https://name:secret@example.org/r.git")
    head = git(tmp_path, "rev-parse", "HEAD")
    clean = machine.environment()["git_commit"]
    assert len(clean) >= 7
    assert head.startswith(clean)
    (tmp_path / "file").write_text("b", encoding="utf-8")
    assert machine.environment()["git_commit"] == f"{clean}-dirty"
    assert "git_commit" not in machine.environment(git=False)
    assert "secret" not in str(machine.environment())


def test_without_git_there_is_no_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "git_commit" not in machine.environment()


def test_cpu_name_comes_from_the_kernel_and_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpuinfo, board = tmp_path / "cpuinfo", tmp_path / "model"
    cpuinfo.write_text("processor\t: 0\nmodel\t\t: 167\nmodel name\t: Some CPU @ 2GHz\n", encoding="utf-8")
    monkeypatch.setattr(cpus, "CPUINFO", cpuinfo)
    monkeypatch.setattr(cpus, "BOARD", board)
    assert cpus.name(tmp_path) == "Some CPU @ 2GHz"
    board.write_text("Some Board\0", encoding="utf-8")
    assert cpus.name(tmp_path) == "Some CPU @ 2GHz (Some Board)"


def test_a_slowly_found_cpu_name_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def look() -> dict[str, str]:
        calls.append(1)
        return {"brand_raw": "Neoverse-N1"}

    monkeypatch.setattr(cpus, "CPUINFO", tmp_path / "absent")
    monkeypatch.setattr(cpus, "BOARD", tmp_path / "absent")
    monkeypatch.setitem(sys.modules, "cpuinfo", SimpleNamespace(get_cpu_info=look))
    assert [cpus.name(tmp_path), cpus.name(tmp_path)] == ["Neoverse-N1", "Neoverse-N1"]
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("table", "files", "limit"),
    [
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "400000 100000"}, 4.0),
        (
            "3:cpuset:/\n1:cpu,cpuacct:/x\n0::/\n",
            {"cpu/x/cpu.cfs_quota_us": "200000\n", "cpu/x/cpu.cfs_period_us": "100000\n"},
            2.0,
        ),
        ("1:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, None),
        ("", {}, None),
    ],
)
def test_the_tightest_quota_of_the_control_groups_counts(
    table: str, files: dict[str, str], limit: float | None, tmp_path: Path
) -> None:
    (tmp_path / "table").write_text(table, encoding="utf-8")
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert cpus.quota(tmp_path / "table", tmp_path / "root") == limit


@pytest.mark.parametrize(
    ("allowed", "quota", "threads"),
    [({0, 1, 2, 3}, None, 2), ({0, 2}, None, 2), ({0, 1}, None, 1), ({0, 2}, 1.5, 1), ({0}, 0.5, 1)],
)
def test_threads_are_the_physical_cores_under_the_allowed_cpus(
    allowed: set[int], quota: float | None, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cpu in range(4):  # two cores of two threads each
        place = tmp_path / f"cpu{cpu}" / "topology"
        place.mkdir(parents=True)
        (place / "physical_package_id").write_text("0\n", encoding="ascii")
        (place / "core_id").write_text(f"{cpu // 2}\n", encoding="ascii")
    monkeypatch.setattr(cpus, "SYSTEM", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: allowed, raising=False)
    monkeypatch.setattr(cpus, "quota", lambda: quota)
    assert cpus.usable_cores() == threads
    assert cpus.usable_cores(allowed) == threads
    assert cpus.usable_cores([3]) == 1
    assert (cpus.exists(3), cpus.exists(4)) == (True, False)


GPUS = [("GPU-aaaa", machine.Gpu("A", 1)), ("GPU-bbbb", machine.Gpu("B", 1)), ("GPU-cccc", machine.Gpu("C", 1))]


@pytest.mark.parametrize(
    ("allowed", "names"),
    [(None, "ABC"), ("", ""), ("-1", ""), ("1", "B"), ("2,0", "CA"), ("0,9,1", "A"), ("GPU-bb", "B"), ("MIG-x", "ABC")],
)
def test_only_gpus_that_cuda_may_see_count(allowed: str | None, names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if allowed is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert "".join(gpu.name for gpu in gpus.visible(GPUS)) == names


class FakeNvmlError(Exception):
    """As pynvml's own: raised for everything."""


class FakeMismatchError(Exception):
    """As pynvml's own: the driver is too old for a function; not an NVMLError."""


def nvml(**changes: object) -> SimpleNamespace:
    calls: dict[str, object] = {
        "NVMLError": FakeNvmlError,
        "NVMLLibraryMismatchError": FakeMismatchError,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=16_000_000_000),
        "nvmlDeviceGetUUID": lambda _: "GPU-aaaa",
        "nvmlDeviceGetName": lambda _: "Tesla T4",
        "nvmlSystemGetCudaDriverVersion": lambda: 12040,
        "nvmlSystemGetDriverVersion": lambda: "550.54",
    }
    return SimpleNamespace(**{**calls, **changes})


def refuse(*_: object) -> None:
    raise FakeNvmlError


def mismatch(*_: object) -> None:
    raise FakeMismatchError


def test_gpus_driver_and_cuda_as_nvml_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    assert gpus.nvidia() == ((machine.Gpu("Tesla T4", 16000),), "550.54", "12.4")
    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlDeviceGetMemoryInfo=refuse))
    assert gpus.nvidia()[0] == (machine.Gpu("Tesla T4", None),)


def test_architecture_of_a_gpu_that_cuda_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    two = {
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetUUID": lambda index: f"GPU-{index}",
        "nvmlDeviceGetCudaComputeCapability": lambda index: (8, index),
    }
    monkeypatch.setitem(sys.modules, "pynvml", nvml(**two))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert [gpus.compute_capability(index) for index in range(3)] == [(8, 1), (8, 0), None]
    for call in ("nvmlInit", "nvmlDeviceGetCudaComputeCapability"):
        monkeypatch.setitem(sys.modules, "pynvml", nvml(**(two | {call: refuse})))
        assert gpus.compute_capability(0) is None


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetName"])
def test_nvml_that_fails_is_no_gpu(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(**{call: refuse}))
    assert gpus.nvidia() == ((), None, None)


def test_the_handle_is_that_of_the_gpu_that_workers_use(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[None] = []
    two = {"nvmlDeviceGetCount": lambda: 2, "nvmlDeviceGetUUID": lambda index: f"GPU-{index}"}
    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlInit=lambda: begun.append(None), **two))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [gpus.first_handle(), gpus.first_handle()] == [1, 1]
    assert len(begun) == 1
    gpus.first_handle.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus.first_handle() is None
    gpus.first_handle.cache_clear()
    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlInit=refuse))
    assert gpus.first_handle() is None


def test_what_nvml_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(a=refuse, b=mismatch, c=lambda handle: handle + 1))
    assert [gpus.ask(name, 1) for name in ("a", "b", "c", "of another version")] == [None, None, 2, None]


def settings_tree(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="ascii")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, {}),
        ({"cpu0/cpufreq/scaling_governor": "powersave", "smt/active": "1"}, {"governor": "powersave", "smt": "on"}),
        (
            {f"cpu{cpu}/cpufreq/scaling_governor": name for cpu, name in enumerate(["schedutil", "performance"] * 6)},
            {"governor": "performance,schedutil"},
        ),
        ({"cpuidle/cpufreq/scaling_governor": "menu", "smt/active": "0"}, {"smt": "off"}),
        ({"intel_pstate/no_turbo": "1"}, {"boost": "off"}),
        ({"intel_pstate/no_turbo": "0"}, {"boost": "on"}),
        ({"cpufreq/boost": "1"}, {"boost": "on"}),
        ({"cpufreq/boost": "0"}, {"boost": "off"}),
        ({"cpufreq/boost": "?"}, {}),
    ],
)
def test_how_the_processors_are_set(
    files: dict[str, str], expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_tree(tmp_path, files)
    monkeypatch.setattr(cpus, "SYSTEM", tmp_path)
    assert cpus.settings() == expected
    assert expected.items() <= machine.environment(git=False).items()


def test_a_governor_that_is_changed_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "SYSTEM", tmp_path)
    for name in ("powersave", "performance"):
        settings_tree(tmp_path, {"cpu0/cpufreq/scaling_governor": name})
        assert machine.environment(git=False)["governor"] == name


def test_the_command_shows_how_the_processors_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "SYSTEM", tmp_path)
    assert "settings" not in CliRunner().invoke(hardware).output
    settings_tree(
        tmp_path, {"cpu0/cpufreq/scaling_governor": "powersave", "smt/active": "1", "intel_pstate/no_turbo": "0"}
    )
    assert "settings governor powersave, SMT on, boost on\n" in CliRunner().invoke(hardware).output
    told = json.loads(CliRunner().invoke(hardware, ["--json"]).output)
    assert {"governor": "powersave", "smt": "on", "boost": "on"}.items() <= told["machine"].items()


@pytest.mark.parametrize("setting", ["governor", "smt", "boost"])
def test_figures_of_other_settings_are_not_compared(setting: str) -> None:
    outcome = Outcome(planned("EAGER"), Status.OK, 0, 1)
    made = job(outcome)
    other = replace(made, environment=made.environment | {setting: "on"})
    assert fingerprint(other, outcome.planned) != fingerprint(made, outcome.planned)


@given(st.text())
def test_reading_a_field_takes_any_text(text: str) -> None:
    assert isinstance(cpus.field(text, "model name"), str)


@pytest.mark.parametrize(
    ("flags", "overflows"),
    [("fma avx2", True), ("avx2 avx512f avx512_vnni", False), ("avx2 avx_vnni", False), ("", False)],
)
def test_int8_overflows_where_there_are_no_instructions_for_it(
    flags: str, overflows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n", encoding="utf-8")
    monkeypatch.setattr(cpus, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert cpus.int8_overflows() is overflows
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert cpus.int8_overflows() is False
