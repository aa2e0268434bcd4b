"""What the clean server imports: what the plan needs, nothing else, and nothing that computes by being imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from tests.support.example_jobs import planned

from almaflow.conversions.catalogue.preload import ALMA, ALWAYS, INDUCTOR, NATIVE, ONNX, OPENVINO, modules_for
from almaflow.processes.environment import server_environment
from almaflow.records import FailureKind, HardwareSpec, ModelSpec, PlannedConversion

OWN = ModelSpec("own", target="some.where.Model")
RESNET = ModelSpec("resnet18", arch="resnet18")


def native(name: str) -> PlannedConversion:
    return replace(planned(name), engine="native")


def test_torch_and_the_work_come_first_whatever_is_planned() -> None:
    for plan in ([], [planned()], [planned("ONNX_CPU"), native("COMPILE_OPENVINO")]):
        assert modules_for(OWN, plan)[: len(ALWAYS)] == ALWAYS
    assert ALWAYS[0] == "torch"
    assert modules_for(OWN, []) == ALWAYS


def test_torchvision_is_for_its_own_models() -> None:
    assert "torchvision" in modules_for(RESNET, [planned()])
    assert "torchvision" not in modules_for(OWN, [planned()])


def test_alma_is_for_what_alma_builds() -> None:
    assert ALMA in modules_for(OWN, [planned()])
    assert ALMA not in modules_for(OWN, [native("ONNX_CPU_INT8_STATIC")])


@pytest.mark.parametrize(
    ("name", "wanted", "unwanted"),
    [
        ("EAGER", (), (*INDUCTOR, *ONNX, *OPENVINO)),
        ("JIT_TRACE", (), (*INDUCTOR, *ONNX, *OPENVINO)),
        ("COMPILE_INDUCTOR_DEFAULT", INDUCTOR, (*ONNX, "openvino")),
        ("FP16+COMPILE_CUDAGRAPHS", INDUCTOR, (*ONNX, "openvino")),
        ("EXPORT+AOT_INDUCTOR", INDUCTOR, (*ONNX, "openvino")),
        ("ONNX_CPU", ONNX, (*INDUCTOR, "openvino")),
        ("ONNX+DYNAMO_EXPORT", ONNX, (*INDUCTOR, "openvino")),
        ("COMPILE_OPENVINO", OPENVINO, ONNX),
        ("OPENVINO_INT8", ("openvino",), (*INDUCTOR, *ONNX)),
        ("COMPILE_ONNXRT", (*INDUCTOR, *ONNX), ("openvino",)),
    ],
)
def test_compilers_and_runtimes_are_for_what_uses_them(
    name: str, wanted: tuple[str, ...], unwanted: tuple[str, ...]
) -> None:
    found = modules_for(OWN, [planned(name)])
    assert set(wanted) <= set(found)
    assert not set(unwanted) & set(found)


def test_no_module_stands_twice() -> None:
    found = modules_for(RESNET, [planned(name) for name in ("COMPILE_OPENVINO", "ONNX_CPU", "COMPILE_INDUCTOR")])
    assert len(set(found)) == len(found)


def test_what_cannot_run_here_is_not_imported_for() -> None:
    missing = replace(
        planned("COMPILE_OPENVINO"), unavailable="not installed", unavailable_kind=FailureKind.MISSING_DEPENDENCY
    )
    assert modules_for(OWN, [native("EAGER"), missing]) == (*ALWAYS, *NATIVE)


LOOK = """
import json, os, sys
from almaflow.worker import fork_server

fork_server.import_all(sys.argv[1:])

def seconds(thread):
    user, system = open(f"/proc/self/task/{thread}/stat").read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

others = [seconds(thread) for thread in os.listdir("/proc/self/task") if int(thread) != os.getpid()]
print(json.dumps({"missing": [name for name in sys.argv[1:] if name not in sys.modules], "others_s": others}))
"""


@pytest.mark.slow
@pytest.mark.alma
def test_every_module_is_there_and_importing_starts_nothing_that_computes() -> None:
    names = dict.fromkeys((*ALWAYS, "torchvision", ALMA, *INDUCTOR, *ONNX, *OPENVINO))
    environment = {**os.environ, **server_environment(HardwareSpec("here", "cpu", threads=2))}
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *names], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    # A name that is misspelt or has moved would only cost time, and nobody would notice.
    assert found["missing"] == []
    # Threads that wait are left behind by a fork without harm; one that computes may hold a lock.
    assert sum(found["others_s"]) < 0.5  # starting a thread takes a tick or two
