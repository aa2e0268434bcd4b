"""Which conversion to use for what, with the reason and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.analysis.metrics import device_type
from almaflow.analysis.rows import Compared, Row, compare
from almaflow.analysis.wording import UNKNOWN, doubts, speedup
from almaflow.records.plan import EAGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.records import Job, PlannedConversion


@dataclass(frozen=True)
class Recommendation:
    """A conversion for a use. ``latency_ms`` is its median; ``speedup_vs_eager`` is None where eager has none."""

    use: str
    conversion: str
    latency_ms: float
    speedup_vs_eager: float | None
    reason: str
    vs_eager: str = ""
    """The speedup as it is shown, only as precisely as it is known."""


def recommend(job: Job, ranked: Sequence[Row]) -> tuple[Recommendation, ...]:
    """Recommend for each use that has a candidate; nothing where there is but one to choose from.

    Args:
        job: the job.
        ranked: its rows that may be recommended, the fastest first.
    """
    if len(ranked) < 2:  # noqa: PLR2004 - no choice
        return ()
    made = (
        _gpu(job, ranked),
        _cross_platform(job, ranked),
        _edge(job, ranked),
        _intel(job, ranked),
        _quick(job, ranked),
    )
    return tuple(found for found in made if found)


def _made(use: str, row: Row, *reasons: str) -> Recommendation:
    reason = "; ".join(filter(None, (*reasons, _precision(row), *doubts(row.metrics))))
    value, text = row.metrics.get("speedup_vs_eager"), speedup(row.metrics, "eager")
    return Recommendation(use, row.name, row.metrics["latency_ms"], value, reason, "" if text == UNKNOWN else text)


def _pace(job: Job, row: Row, rows: Sequence[Row]) -> str:
    """Tell what keeps a row that counts from being called faster than eager; empty where it is faster."""
    if row.name == EAGER:
        return ""
    eager = next((other for other in rows if other.name == EAGER), None)
    if eager is None:
        return "eager has no valid latency to compare with"
    found = compare(row, eager, job.hardware.threads)
    if found is Compared.FASTER:
        return ""
    text = speedup(row.metrics, "eager")
    shown = "" if text in {UNKNOWN, ""} else f" ({text})"
    words = {
        Compared.SLOWER: "slower than",
        Compared.TIED: "tied with",
        Compared.UNKNOWN: "not known to be faster than",
    }
    return f"{words[found]} eager{shown}"


def _gpu(job: Job, ranked: Sequence[Row]) -> Recommendation | None:
    rows = [row for row in ranked if device_type(row.device) == "cuda"]
    return _made("GPU production", rows[0], "the fastest on the GPU", _pace(job, rows[0], ranked)) if rows else None


def _cross_platform(job: Job, ranked: Sequence[Row]) -> Recommendation | None:
    use = "cross-platform"
    rows = [row for row in ranked if row.outcome.planned.traits.recommended_for == use]
    if not rows:
        return None
    return _made(
        use,
        rows[0],
        "the fastest as an ONNX file, which runs wherever ONNX Runtime does",
        _pace(job, rows[0], ranked),
    )


def _edge(job: Job, ranked: Sequence[Row]) -> Recommendation | None:
    key = "memory/device_mb" if device_type(job.hardware.device) == "cuda" else "memory/peak_rss_mb"
    quantised = [row for row in ranked if _is_quantised(row.outcome.planned)]
    if quantised:
        row = quantised[0]
        reasons = ["the fastest of the quantised ones", _pace(job, row, ranked)]
        eager = next((other for other in ranked if other.name == EAGER), None)
        if eager and row.metrics.get(key, 0) > eager.metrics.get(key, float("inf")):
            reasons.append(f"uses more memory than eager ({row.metrics[key]:.0f} MB vs. {eager.metrics[key]:.0f} MB)")
        return _made("edge devices", row, *reasons)
    weighed = [row for row in ranked if key in row.metrics]
    if not weighed:
        return None
    row = min(weighed, key=lambda row: row.metrics[key])
    least = f"the least peak memory, {row.metrics[key]:.0f} MB; no quantised conversion may be recommended"
    return _made("edge devices", row, least, _pace(job, row, ranked))


def _intel(job: Job, ranked: Sequence[Row]) -> Recommendation | None:
    use = "Intel hardware"
    rows = [row for row in ranked if row.outcome.planned.traits.recommended_for == use]
    if not rows:
        return None
    cpu = job.environment.get("cpu", "")
    elsewhere = [f"measured on {cpu}, which is not Intel's"] if cpu and "intel" not in cpu.lower() else []
    return _made(use, rows[0], "the fastest through OpenVINO", _pace(job, rows[0], ranked), *elsewhere)


def _quick(job: Job, ranked: Sequence[Row]) -> Recommendation | None:
    rows = [row for row in ranked if row.name == EAGER or _is_plain_compile(row.outcome.planned)]
    if not rows:
        return None
    first = rows[0]
    eager = next((row for row in rows if row.name == EAGER), None)
    if eager and first is eager:
        others = {compare(eager, row, job.hardware.threads) for row in rows[1:]}
        known = ", and torch.compile is not faster" if others else ""
        unknown = "; whether torch.compile is faster is not known"
        return _made("quick deploy", eager, f"nothing to change{unknown if Compared.UNKNOWN in others else known}")
    beside = compare(first, eager, job.hardware.threads) if eager else Compared.FASTER
    if eager and beside is not Compared.FASTER:
        tied, unknown = f"{first.name} is tied with it", f"whether {first.name} is faster is not known"
        return _made("quick deploy", eager, f"nothing to change; {unknown if beside is Compared.UNKNOWN else tied}")
    cost = first.metrics.get("time/convert", 0) + first.metrics.get("time/first_call", 0)
    return _made(
        "quick deploy", first, _lines(first), _pace(job, first, ranked), f"{cost:.1f} s before the first answer"
    )


def _lines(row: Row) -> str:
    """Tell what to write. Freezing is no option of torch.compile: given as one, PyTorch does not freeze."""
    if row.name.endswith("_FREEZING"):
        return "torch._inductor.config.freezing = True, then torch.compile"
    return "one line of torch.compile"


def _precision(row: Row) -> str:
    """Say what a narrower type costs in accuracy."""
    dtype, sqnr_db = row.outcome.planned.dtype, row.metrics.get("fidelity/sqnr_db")
    if dtype == "float32":
        return ""
    return f"{dtype}, output not compared" if sqnr_db is None else f"{dtype}, SQNR {sqnr_db:.1f} dB against eager"


def _is_quantised(planned: PlannedConversion) -> bool:
    """Whether narrow numbers are computed with or stored, not only emulated in float32."""
    return planned.dtype.startswith(("int", "uint", "float8")) and not planned.traits.emulated


def _is_plain_compile(planned: PlannedConversion) -> bool:
    """Whether ``torch.compile(model)`` alone does it, without export, quantisation or another precision."""
    return len(planned.steps) == 1 and planned.traits.recommended_for == "quick deploy"
