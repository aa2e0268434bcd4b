"""Check an export: run the example through it, and compare the outputs with those that it gave when it was measured.

``python check.py`` prints one line of JSON: whether the outputs are equal within the tolerance, their least SQNR in
decibels (null where they are equal to the bit), the seconds to load the model and to make the first call, and the floor
of further calls, their 5th percentile, in milliseconds.
"""

import importlib
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
WARM_CALLS, MOST_CALLS, MOST_S = 10, 200, 5.0
LEAST_FOR_PERCENTILE = 20


def main() -> int:
    """Print what was found, and return the exit code: 0 where the outputs are equal, else 1."""
    about = json.loads((HERE / "export.json").read_text(encoding="utf-8"))
    with np.load(HERE / "example.npz") as stored:
        example = dict(stored)
    inputs = {each["name"]: example[f"input_{number}"] for number, each in enumerate(about["inputs"])}
    expected = [(each["name"], example[f"output_{number}"]) for number, each in enumerate(about["outputs"])]
    sys.path.insert(0, str(HERE))
    started = time.perf_counter()
    model = importlib.import_module("load").load()
    load_s = time.perf_counter() - started
    output, first_call_ms = _timed(model, inputs)
    fault, least_db = _compared(expected, list(flat(output)), about)
    samples: list[float] = []
    began = time.perf_counter()
    while len(samples) < WARM_CALLS + MOST_CALLS and (len(samples) < 2 or time.perf_counter() - began < MOST_S):  # noqa: PLR2004 - the first one is cold
        samples.append(_timed(model, inputs)[1])
    samples = samples[min(WARM_CALLS, len(samples) // 2) :]
    floor_ms = float(np.percentile(samples, 5)) if len(samples) >= LEAST_FOR_PERCENTILE else min(samples)
    found = {
        "equal": fault is None,
        "fault": fault,
        "sqnr_db": least_db if math.isfinite(least_db) else None,
        "load_s": load_s,
        "first_call_s": first_call_ms / 1000,
        "floor_ms": floor_ms,
        "calls": len(samples),
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0 if fault is None else 1


def _timed(model: Any, inputs: dict[str, Any]) -> tuple[Any, float]:
    """Call the model on copies of the inputs, and return its output and the milliseconds that the call took."""
    given = [np.array(each) for each in inputs.values()]
    torch = sys.modules.get("torch")
    given = [torch.from_numpy(each) for each in given] if torch else given
    started = time.perf_counter()
    output = model(*given)
    if torch and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return output, 1000 * (time.perf_counter() - started)


def flat(output: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the arrays of an output with their names: its keys and positions, nested to any depth."""
    if hasattr(output, "detach"):
        tensor = output.detach().cpu()
        tensor = tensor.dequantize() if tensor.is_quantized else tensor
        tensor = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor.resolve_conj().resolve_neg()
        yield name, tensor.numpy().copy()
    elif isinstance(output, np.ndarray | np.generic | bool | int | float | complex):
        yield name, np.array(output)
    elif hasattr(output, "items"):
        for key, value in output.items():
            yield from flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(output, tuple | list):
        for position, value in enumerate(output):
            yield from flat(value, f"{name}.{position}" if name else str(position))
    elif hasattr(output, "__dataclass_fields__"):
        yield from flat({key: getattr(output, key) for key in output.__dataclass_fields__}, name)


def _compared(
    expected: list[tuple[str, Any]], found: list[tuple[str, Any]], about: dict[str, Any]
) -> tuple[str | None, float]:
    """Return what is wrong with the outputs, None where nothing is, and the least SQNR of those looked at by then."""
    least_db = math.inf
    if len(expected) != len(found):
        return f"{len(found)} outputs, not {len(expected)}", least_db
    by_name = dict(found)
    named = len(by_name) == len(found) and all(name in by_name for name, _ in expected)
    for position, (name, wanted) in enumerate(expected):
        given = by_name[name] if named else found[position][1]
        label = f"output {name or position}"
        if given.shape != wanted.shape:
            return f"{label} has the shape {given.shape}, not {wanted.shape}", least_db
        if not about["comparable"] or not wanted.size:
            continue
        if wanted.dtype.kind not in "fc":
            share = float((wanted == given).mean())
            if share < about["least_equal"]:
                return f"{label}: {100 * share:.1f}% of the elements are equal", least_db
            continue
        if not np.array_equal(_not_finite(wanted), _not_finite(given), equal_nan=True):
            return f"{label}: infinities or NaN in other places", least_db
        sqnr_db = _sqnr_db(wanted, given)
        least_db = min(least_db, sqnr_db)
        if sqnr_db < about["tolerance_db"]:
            return f"{label}: SQNR {sqnr_db:.1f} dB, at least {about['tolerance_db']:g}", least_db
    return None, least_db


def _not_finite(values: Any) -> Any:
    return np.where(np.isfinite(values), 0, values)


def _sqnr_db(wanted: Any, given: Any) -> float:
    """Return the ratio of the signal to the noise of the finite elements: infinite where all are equal."""
    kind = np.complex128 if wanted.dtype.kind == "c" else np.float64
    finite = np.isfinite(wanted)
    wanted, given = wanted[finite].astype(kind), given[finite].astype(kind)
    signal = float((np.abs(wanted) ** 2).sum())
    noise = float((np.abs(wanted - given) ** 2).sum())
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


if __name__ == "__main__":
    sys.exit(main())
