"""Conversions in a process of their own, since repairs and runtimes change modules for good.

The process is forked by a server, as workers are, which has imported what conversions need: that takes ten seconds. Run
as ``python -m tests.support.conversion_child MODULE ...``, it imports the modules and waits for requests.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from packaging.version import Version
from tests.support.shared_home import shared_home

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]

NEWER_TORCH = Version(metadata.version("torch")) >= Version("2.11")
"""What moved out of PyTorch had moved by then; on the older set of constraints Alma needs no repair for it."""


def in_child(function: Callable[[], dict[str, Any]], directory: Path, *, fresh: bool = False) -> dict[str, Any]:
    """What the function returns in a process of its own that works in ``directory``.

    A fresh one has imported nothing before, and nothing was compiled for another.
    """
    result, log = directory / "result.json", directory / "log.txt"
    server = _start((), {"TORCHINDUCTOR_CACHE_DIR": str(directory / "compile-cache")}) if fresh else _server()
    assert server.stdin
    assert server.stdout
    request = [function.__module__, function.__name__, str(directory), dict(os.environ)]
    server.stdin.write(f"{json.dumps(request)}\n")
    server.stdin.flush()
    code = server.stdout.readline().strip()
    if fresh:
        server.communicate()
    assert result.exists(), f"exit code {code}\n{log.read_text(encoding='utf-8', errors='replace')[-6000:]}"
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


@cache
def _server() -> subprocess.Popen[str]:
    """The one of this process; it ends with its standard input."""
    from almaflow.conversions.catalogue.plan import plan
    from almaflow.conversions.catalogue.preload import modules_for
    from almaflow.records import ModelSpec

    planned = plan(None, 3, "cpu", allow_device_override=False)
    # What the compiler makes of a processor and of equal code is found again; what PyTorch makes of a graph is not.
    caches = {
        "TORCHINDUCTOR_CACHE_DIR": str(shared_home() / "compile-cache"),
        "TORCHINDUCTOR_FX_GRAPH_CACHE": "0",
        "TORCHINDUCTOR_AUTOGRAD_CACHE": "0",
    }
    return _start(modules_for(ModelSpec("", arch="resnet18"), planned), caches)


def _start(modules: tuple[str, ...], variables: dict[str, str]) -> subprocess.Popen[str]:
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in paths),
        # Two processors serve two of these at once: no pool of compilers beside each, and no thread that spins.
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "tests.support.conversion_child", *modules]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment | variables, stdin=pipe, stdout=pipe, text=True)


def _serve() -> None:
    """Fork a process for each request, and answer with its exit code."""
    from almaflow.worker import toolchain
    from almaflow.worker.fork_server import import_all

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import_all(sys.argv[1:])
    if toolchain.__name__ in sys.argv:
        toolchain.take(shared_home())
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            _work(*json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _work(module: str, function: str, directory: str, environment: dict[str, str]) -> NoReturn:
    """Be the fork: call the function, and write what it returns."""
    try:
        os.chdir(directory)
        os.environ.update({name: value for name, value in environment.items() if not name.startswith("TORCHINDUCTOR")})
        log = os.open("log.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        returned = getattr(importlib.import_module(module), function)()
        Path(directory, "result.json").write_text(json.dumps(returned), encoding="utf-8")
    except BaseException:  # noqa: BLE001 - the fork ends here, whatever happens
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def convert(name: str, model: str, *, skip: tuple[str, ...] = (), rows: int = 2, calls: int = 0) -> dict[str, Any]:
    """Build, call and compare one conversion, as a worker does; what came of it, or the failure.

    Args:
        name: The conversion, also one that is not available here.
        model: One of ``adapter_models.MODELS``.
        skip: Repairs to leave out.
        rows: Batch size.
        calls: Further calls before the evidence is taken.
    """
    import torch
    from tests.support.example_models import MODELS

    from almaflow.conversions.build import build
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.conversions.catalogue.plan import plan
    from almaflow.models.outputs import flatten_outputs
    from almaflow.worker.failures import classify
    from almaflow.worker.fidelity import compare

    _forget()
    planned = plan([name], 1, "cpu", allow_device_override=True)[0]
    make, draw = MODELS[model]
    torch.manual_seed(1)
    torch.set_num_threads(1)
    module, batches = make().eval(), [draw(rows) for _ in range(4)]
    dtype = getattr(torch, planned.input_dtype)
    cast = [tuple(each.to(dtype) if each.is_floating_point() else each for each in batch) for batch in batches]
    with torch.no_grad():
        references = [flatten_outputs(module(*batch)) for batch in batches]
        try:
            converted = build(planned, module, BuildInputs(cast, 1), skip_repairs=frozenset(skip))
            converted.call(cast[0])
            converted.start_counting()
            outputs = [[each.clone() for each in flatten_outputs(converted.call(batch))] for batch in cast]
            for i in range(calls):
                converted.call(cast[i % len(cast)])
            evidence = converted.evidence()
        except Exception as error:  # noqa: BLE001 - whatever a converter raises is the result
            failure = classify(error, "convert")
            return {"failure": str(failure.kind), "message": f"{type(error).__name__}: {error}"}
    fidelity = compare(references, outputs, planned.dtype)
    return {
        "failure": None,
        "repairs": list(converted.repairs),
        "right": fidelity.ok,
        "sqnr_db": fidelity.sqnr_db,
        "runtime": evidence.runtime,
        "fell_back": evidence.fell_back,
        "recompiles": evidence.recompiles,
        "shape": list(outputs[0][0].shape),
    }


def _forget() -> None:
    """Let each conversion find the counters and caches of a fresh process."""
    from torch._dynamo.utils import counters

    counters.clear()
    execute = sys.modules.get("openvino.frontend.pytorch.torchdynamo.execute")
    if execute:
        execute.clear_caches()


if __name__ == "__main__":
    _serve()
