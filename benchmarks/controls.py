"""Which small fixed piece of work shows how fast the machine is for a model just now?

Candidates are timed in turn with a few eager calls of resnet18, in one process, and correlated with them. Only what
follows the model is of use as a control; where the machine is equally fast all the time, nothing correlates.
"""

from __future__ import annotations

import mmap
import time
from statistics import correlation, median
from typing import TYPE_CHECKING, Any

from shared import at_least, make_parser, run_script, save, say, show

if TYPE_CHECKING:
    from collections.abc import Callable

ARCH = "resnet18"
CALLS = 8
REPEATS = 9
PAGES_MB = 8
COPIED_MB = 32
REPORTED = (0.1, 0.5, 0.9)


def main() -> None:
    """Measure, and show each candidate's quantiles and its correlation with the model."""
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=at_least(10), default=120, help="how long (default: 120)")
    arguments = parser.parse_args()
    times_ms = measure(arguments.seconds)
    found = {name: {"times_ms": own} | described(own, times_ms[ARCH]) for name, own in times_ms.items()}
    save(arguments, found)
    rows = [
        [name, *(f"{own[f'p{share:.0%}']:.3f}" for share in REPORTED), f"{own['correlation']:.2f}"]
        for name, own in found.items()
    ]
    heading = f"{len(times_ms[ARCH])} rounds: quantiles in ms, correlation with {ARCH}"
    show(heading, ["work", *(f"{share:.0%}" for share in REPORTED), "correlation"], rows)


def measure(seconds: int) -> dict[str, list[float]]:
    """Milliseconds of the model and of each candidate, round by round."""
    import torch
    import torchvision

    torch.manual_seed(0)
    model, image = torchvision.models.get_model(ARCH, weights=None).eval(), torch.randn(1, 3, 224, 224)
    works = candidates()
    times_ms: dict[str, list[float]] = {ARCH: [], **{name: [] for name in works}}
    say(f"{ARCH} and {len(works)} candidates for {seconds} s")
    with torch.no_grad():
        timed(lambda: model(image), 20)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for name, work in works.items():
                times_ms[name].append(timed(work, REPEATS))
            model(image)  # what the candidates pushed out of the caches comes back
            times_ms[ARCH].append(timed(lambda: model(image), CALLS))
    return times_ms


def candidates() -> dict[str, Callable[[], object]]:
    """What might tell the speed of the machine, the control that almaflow uses first."""
    import numpy as np
    import torch

    from almaflow.worker.control_workload import PRODUCTS, SIZE

    one, out = torch.ones(SIZE, SIZE), torch.empty(SIZE, SIZE)
    small = np.ones((64, 64), np.float32)
    source = np.ones(COPIED_MB * 250_000, np.float32)
    target = np.empty_like(source)
    return {
        f"{PRODUCTS} products of {SIZE} x {SIZE}, all threads": lambda: [
            torch.mm(one, one, out=out) for _ in range(PRODUCTS)
        ],
        "50 products of 64 x 64, one thread": lambda: [small @ small for _ in range(50)],
        f"a copy of {COPIED_MB} MB": lambda: np.copyto(target, source),
        f"page faults over {PAGES_MB} MB": fault_pages,
    }


def fault_pages() -> None:
    """Touch every page of fresh memory once."""
    with mmap.mmap(-1, PAGES_MB << 20) as memory:
        for page in range(0, PAGES_MB << 20, mmap.PAGESIZE):
            memory[page] = 1


def timed(work: Callable[[], object], repeats: int) -> float:
    """The median time of one piece of work in milliseconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times) * 1000


def described(own_ms: list[float], model_ms: list[float]) -> dict[str, Any]:
    """Quantiles of a candidate, and its correlation with the model."""
    import numpy as np

    quantiles = {f"p{share:.0%}": float(np.quantile(own_ms, share)) for share in REPORTED}
    return quantiles | {"correlation": correlation(own_ms, model_ms)}


if __name__ == "__main__":
    run_script(main)
