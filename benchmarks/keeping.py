"""What do keeping the best model and evaluating it on labelled data add to a job of tier 2?

The same job of resnet18 runs with ``keep=none`` and with ``keep=best evaluate=top1``, in turns. What is added is split
into the evaluation's forward calls, which are the number of samples times the conversion's mean latency, and the rest.
Eager is called twice as often: before the conversions, and as one of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from processes import first_job, run_almaflow
from shared import HERE, at_least, figure, make_parser, run_script, save, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDES = ("bare", "kept and evaluated")
GOAL_S = 5.0
"""That the rest may take in a tier-2 job with 500 images."""


def main() -> None:
    """Run the pairs and show them."""
    parser = make_parser(__doc__, overrides="further settings of both jobs, such as measure=thorough")
    parser.add_argument("--pairs", type=at_least(1), default=3, help="default: 3")
    parser.add_argument("--samples", type=at_least(1), default=500, help="images (default: 500)")
    arguments = parser.parse_args()
    data = ["model.data_loader._target_=keeping_data.Images", f"+model.data_loader.kwargs.count={arguments.samples}"]
    common = ["model=resnet18", "tier=2", "hardware=cpu", *data, *arguments.overrides]
    asked = {
        SIDES[0]: ["keep=none"],
        SIDES[1]: ["keep=best", "evaluate=top1", f"evaluate.samples={arguments.samples}"],
    }
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    pairs: list[dict[str, dict[str, Any]]] = []
    with TemporaryDirectory(prefix="keeping-") as scratch:
        home = Path(scratch)
        first_job(home)
        for number in range(arguments.pairs):
            pair = {}
            for side in SIDES if number % 2 else reversed(SIDES):
                say(f"pair {number + 1} of {arguments.pairs}: {side}")
                ran = run_almaflow([*common, *asked[side]], home, PYTHONPATH=path)
                pair[side] = {"wall_s": ran.wall_s, "conversions": ran.conversions()}
            pairs.append(pair)
            save(arguments, {"pairs": pairs})
    columns = ["pair", "bare s", "kept and evaluated s", "forward calls s", "rest s", "evaluations s"]
    found = [added(pair, arguments.samples) for pair in pairs]
    rows = [[str(number + 1), *(figure(each, 1) for each in row)] for number, row in enumerate(found)]
    rows.append(["median", *(figure(median(column), 1) for column in zip(*found, strict=True))])
    show("Wall time of the whole command", columns, rows, f"Goal: the rest within {GOAL_S:g} s")


def added(pair: dict[str, dict[str, Any]], samples: int) -> Sequence[float]:
    """Wall times of both jobs, seconds of the evaluation's forward calls, the rest, and all that evaluations took."""
    bare, full = (pair[side]["wall_s"] for side in SIDES)
    by_name = pair[SIDES[1]]["conversions"]
    called = [*by_name.values(), by_name["EAGER"]]
    forward = sum(each["latency/mean"] for each in called) * samples / 1000
    evaluations = sum(each.get("time/evaluate") or 0.0 for each in by_name.values())
    return bare, full, forward, full - bare - forward, evaluations


if __name__ == "__main__":
    run_script(main)
