"""Conversions in a process of their own, since repairs and runtimes change modules for good.

Run as ``python -m tests.support.conversion_child MODULE FUNCTION RESULT.json``. It calls the
function and writes what that returns.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]

NEWER_TORCH = Version(metadata.version("torch")) >= Version("2.11")
"""What moved out of PyTorch had moved by then; on the older set of constraints Alma needs no repair for it."""


def in_child(function: Callable[[], dict[str, Any]], directory: Path) -> dict[str, Any]:
    """What the function returns in a fresh process that works in ``directory``."""
    result = directory / "result.json"
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in paths),
        "TORCHINDUCTOR_CACHE_DIR": str(directory / "compile-cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.conversion_child", function.__module__, function.__name__, str(result)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.exists(), f"exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


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
    returned = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])()
    Path(sys.argv[3]).write_text(json.dumps(returned), encoding="utf-8")
