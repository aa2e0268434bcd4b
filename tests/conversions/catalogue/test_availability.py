"""What can run here is found out from what is installed, and the plan says why the rest cannot."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from almaflow import machine
from almaflow.conversions.catalogue import requirements
from almaflow.conversions.catalogue.availability import Availability, check
from almaflow.conversions.catalogue.names import resolve
from almaflow.conversions.catalogue.plan import plan
from almaflow.conversions.catalogue.tiers import everything, tier
from almaflow.errors import UsageError
from almaflow.records import FailureKind


@dataclass
class Here:
    """A machine as a test wants it: versions by distribution, files that a module has, programs, a GPU or none."""

    versions: dict[str, str]
    missing_files: set[str] = field(default_factory=set)
    programs: set[str] = field(default_factory=lambda: {"g++", "gcc"})
    gpu: bool = False


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """Everything is installed and fits; there is no GPU."""
    needs = [Requirement(need) for entry in everything() for need in entry.needs]
    made = Here(
        {need.name: next((bound.version for bound in need.specifier), "1.0") for need in needs}
        | {
            "torch": "2.9.1",
            "alma-torch": "0.3.7",
            "torch-xla": "2.9.0",
            "torch-tensorrt": "2.9.0",
            "apache-tvm": "0.27.0",
            "openvino": "2026.4.1",
            "triton": "1.0",
        }
    )
    monkeypatch.setattr(requirements, "installed", made.versions.get)
    monkeypatch.setattr(requirements, "has_file", lambda module, path: f"{module}/{path}" not in made.missing_files)
    monkeypatch.setattr(shutil, "which", lambda program: program if program in made.programs else None)
    monkeypatch.setattr(machine, "has_cuda", lambda: made.gpu)
    # A version of PyTorch whose TVM backend wants relax, and Python's headers.
    monkeypatch.setattr(requirements, "_file", lambda _module, _path: None)
    monkeypatch.setattr(requirements, "headers", lambda: Path(__file__))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.delenv("CC", raising=False)
    return made


def _check(name: str, device: str = "cpu", *, allow: bool = True) -> Availability:
    ((_, entry),) = resolve([name])
    return check(entry, device, allow_device_override=allow)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_where_everything_is_installed_everything_runs(here: Here, device: str) -> None:
    here.gpu = True
    for entry in everything():
        assert check(entry, device, allow_device_override=True).available, entry.name


def test_without_a_gpu_what_needs_one_is_unavailable_and_never_moved(here: Here) -> None:
    for name in ("ONNX_GPU", "COMPILE_TENSORRT", "FP16+COMPILE_CUDAGRAPHS", "FP16+TENSORRT"):
        found = _check(name)
        assert (found.available, found.device, found.kind) == (False, "cuda", FailureKind.UNSUPPORTED)
        assert found.reason == "needs an NVIDIA GPU, and there is none here"
        assert found.install is None
    assert not _check("EAGER", "cuda").available
    here.gpu = True
    assert _check("EAGER", "cuda").available


@pytest.mark.parametrize(
    "name", ["ONNX_CPU", "ONNX_CPU_INT8_STATIC", "COMPILE_OPENVINO", "NATIVE_CONVERT_AI8WI8_STATIC_QUANTIZED"]
)
def test_on_a_gpu_machine_what_knows_the_cpu_only_is_moved_there_or_refused(here: Here, name: str) -> None:
    here.gpu = True
    moved = _check(name, "cuda")
    assert (moved.available, moved.device, moved.device_override) == (True, "cpu", True)
    refused = _check(name, "cuda", allow=False)
    assert (refused.available, refused.kind) == (False, FailureKind.UNSUPPORTED)
    assert refused.reason == "runs on cpu only, cuda was asked for, and allow_device_override=false"
    stays = _check(name, "cpu", allow=False)
    assert (stays.available, stays.device, stays.device_override) == (True, "cpu", False)


def test_from_the_cpu_to_a_gpu_only_where_there_is_one_and_it_is_allowed(here: Here) -> None:
    here.gpu = True
    moved = _check("ONNX_GPU", "cpu")
    assert (moved.available, moved.device, moved.device_override) == (True, "cuda", True)
    assert "allow_device_override=false" in str(_check("ONNX_GPU", "cpu", allow=False).reason)


@pytest.mark.parametrize(
    ("name", "without", "install"),
    [
        ("COMPILE_OPENVINO", "openvino", "pip install 'openvino>=2025.0'"),
        ("COMPILE_TVM", "apache-tvm", "pip install 'apache-tvm>=0.25'"),
        ("COMPILE_OPENXLA", "torch-xla", "pip install 'torch-xla==2.9.*'"),
        ("EAGER", "optimum-quanto", "pip install optimum-quanto"),
        ("EAGER", "alma-torch", "pip install alma-torch==0.3.7"),
        ("ONNX_CPU_INT8_STATIC", "onnxruntime", "pip install onnxruntime"),
    ],
)
def test_a_missing_package_comes_with_its_install_line(here: Here, name: str, without: str, install: str) -> None:
    assert _check(name).available
    del here.versions[without]
    found = _check(name)
    assert found.kind is FailureKind.MISSING_DEPENDENCY
    assert found.reason == f"{without} is not installed"
    assert found.install == install


def test_a_native_conversion_does_not_want_alma(here: Here) -> None:
    del here.versions["alma-torch"]
    assert _check("ONNX_CPU_INT8_STATIC").available


def test_a_wrong_version_is_told_with_the_one_that_is_needed(here: Here) -> None:
    here.versions["openvino"] = "2024.6"
    found = _check("COMPILE_OPENVINO")
    assert found.reason == "needs openvino>=2025.0, and 2024.6 is installed"
    assert found.install == "pip install 'openvino>=2025.0'"


def test_what_is_built_against_one_torch_follows_it(here: Here) -> None:
    here.gpu = True
    here.versions["torch"] = "2.14.1+cu130"
    assert _check("COMPILE_TENSORRT", "cuda").install == "pip install 'torch-tensorrt==2.14.*'"
    xla = _check("COMPILE_OPENXLA")
    assert (xla.kind, xla.device) == (FailureKind.UNSUPPORTED, "xla")
    assert "torch==2.9.*" in str(xla.install)


def test_a_torch_without_cuda_does_not_see_the_gpu(here: Here) -> None:
    here.gpu = True
    here.versions["torch"] = "2.9.1+cpu"
    assert "built without CUDA" in str(_check("EAGER", "cuda").reason)
    assert _check("EAGER", "cpu").available


@pytest.mark.parametrize(
    ("name", "file", "told"),
    [
        ("COMPILE_ONNXRT", "onnxruntime/capi/libonnxruntime_providers_cuda.so", "no CUDA provider"),
        ("ONNX_GPU", "onnxruntime/capi/libonnxruntime_providers_cuda.so", "no CUDA provider"),
        ("COMPILE_CUDAGRAPHS+TORCHAO_AUTOQUANT_DEFAULT", "torchao/quantization/autoquant.py", "no autoquant"),
        ("COMPILE_TVM", "tvm/relax", "no tvm.relax"),
    ],
)
def test_a_package_without_the_part_that_is_needed_will_not_do(here: Here, name: str, file: str, told: str) -> None:
    here.gpu = True
    assert _check(name, "cuda").available
    here.missing_files.add(file)
    found = _check(name, "cuda")
    assert told in str(found.reason)
    assert found.install


def test_onnx_runtime_as_a_backend_needs_cuda_on_a_gpu_only(here: Here) -> None:
    here.missing_files.add("onnxruntime/capi/libonnxruntime_providers_cuda.so")
    assert _check("COMPILE_ONNXRT", "cpu").available


def test_an_older_torch_wants_a_tvm_that_has_relay(here: Here, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    backend = tmp_path / "tvm.py"
    backend.write_text("from tvm import relay\n", encoding="utf-8")
    monkeypatch.setattr(requirements, "_file", lambda _module, _path: backend)
    here.missing_files.add("tvm/relay")
    here.gpu = True
    assert "tvm.relay" in str(_check("COMPILE_TVM", "cuda").reason)
    assert _check("COMPILE_TVM", "cpu").available
    here.missing_files.clear()
    assert _check("COMPILE_TVM", "cuda").available


def test_inductor_wants_the_compiler_that_it_will_call(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    here.programs = {"clang++"}
    found = _check("COMPILE_INDUCTOR_DEFAULT")
    assert found.kind is FailureKind.MISSING_DEPENDENCY
    assert found.reason == "inductor needs a C++ compiler, and g++ is not here"
    assert not _check("EXPORT+AOT_INDUCTOR").available
    assert _check("EAGER").available
    monkeypatch.setenv("CXX", "clang++ -O2")
    assert _check("COMPILE_INDUCTOR_DEFAULT").available
    monkeypatch.setattr(requirements, "headers", lambda: Path("nowhere/Python.h"))
    assert "Python.h" in str(_check("COMPILE_INDUCTOR_DEFAULT").reason)


def test_inductor_on_a_gpu_wants_triton(here: Here) -> None:
    here.gpu = True
    del here.versions["triton"]
    assert _check("COMPILE_INDUCTOR_DEFAULT", "cuda").reason == "triton is not installed"
    assert _check("COMPILE_INDUCTOR_DEFAULT", "cpu").available


def test_what_is_installed_is_read_from_the_metadata() -> None:
    version = requirements.installed("pytest")
    assert version == pytest.__version__
    assert requirements.installed("no-such-distribution-here") is None
    assert requirements.has_file("hypothesis", "strategies/__init__.py")
    assert not requirements.has_file("hypothesis", "no-such-file.py")
    assert not requirements.has_file("no_such_module_here", "__init__.py")


def test_the_plan_keeps_what_was_asked_and_how(here: Here) -> None:
    planned = plan(["onnx_cpu", 3, "FP16", "OPENVINO"], 1, "cpu", allow_device_override=True)
    assert [(each.requested, each.name) for each in planned] == [
        ("onnx_cpu", "ONNX_CPU"),
        ("3", "ONNX_GPU"),
        ("FP16", "FP16+EAGER"),
        ("OPENVINO", "OPENVINO"),
    ]
    assert [each.unavailable is None for each in planned] == [True, False, True, True]
    assert planned[2].input_dtype == planned[2].dtype == "float16"
    here.gpu = True
    (moved,) = plan([3], 1, "cpu", allow_device_override=True)
    assert (moved.device, moved.device_override, moved.unavailable) == ("cuda", True, None)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_without_a_request_the_plan_is_the_tier(number: int) -> None:
    planned = plan(None, number, "cpu", allow_device_override=True)
    assert [each.name for each in planned] == [entry.name for entry in tier(number, "cpu")]
    assert all((each.unavailable is None) == (each.unavailable_kind is None) for each in planned)


def test_an_empty_request_is_the_users_error() -> None:
    with pytest.raises(UsageError, match=r"conversions=\[\]"):
        plan([], 1, "cpu", allow_device_override=True)
