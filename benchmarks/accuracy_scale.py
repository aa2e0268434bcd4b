"""How long ``almaflow accuracy`` takes, and how much memory, as the store grows.

The store is made: each run is a copy of a real one of ``mlruns_example/`` with all its figures, params and tags, under
the names of twenty models and the conversions that the example has, a hundred in a night, with noise of 3%, predictions
of several predictors and a runtime that gets slower halfway. Rows are written into the database directly: through
MLflow's interface a hundred thousand runs take hours to make. They are read as always.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from almaflow.tracking.ui_server import free_port, serving
from shared import BenchmarkError, at_least, make_parser, run_script, save, say, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

EXAMPLE = Path(__file__).resolve().parents[1] / "mlruns_example" / "mlflow.db"
MODELS = [f"{family}{size}" for family in ("resnet", "vgg", "densenet", "regnet", "mixer") for size in (11, 18, 34, 50)]
CONVERSIONS = ("EAGER", "COMPILE_INDUCTOR_DEFAULT", "ONNX_CPU", "OPENVINO", "ONNX_CPU_INT8_STATIC")
PREDICTORS = {"calibrated": 0.08, "roofline": -0.4}
"""By how much they are off, in the logarithm."""
NOISE = 0.03
DAY_MS = 86_400_000
FIRST_MS = 1_700_000_000_000
NIGHTLY = len(MODELS) * len(CONVERSIONS)
WORKERS = 4
"""What ``mlflow server`` starts unless it is told otherwise."""
SETTLES_S = 20
LIVE = ("metrics", "latest_metrics", "params", "tags", "runs")


def main() -> None:
    """Make stores, read them, and show."""
    parser = make_parser(__doc__)
    parser.add_argument("--runs", type=at_least(100), nargs="+", default=[1000, 10_000], help="of conversions")
    parser.add_argument("--served", action="store_true", help="read them through a tracking server on this machine")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="keep the last store there")
    arguments = parser.parse_args()
    rows, found = [], []
    for count in arguments.runs:
        with tempfile.TemporaryDirectory(prefix="almaflow-scale-") as scratch:
            database = Path(scratch, "mlflow.db")
            make(database, count)
            say(f"{count} runs: {database.stat().st_size / 1e6:.0f} MB")
            home = Path(scratch, "home")
            with _opened(database, served=arguments.served) as uri:
                first = _accuracy(uri, home)
                again = min(_accuracy(uri, home) for _ in range(2))
                _add(database, count)
                added = _accuracy(uri, home)
            if arguments.keep:
                shutil.copy(database, arguments.keep)
        times = first[0], again[0], added[0]
        rows.append([f"{count}", *(f"{each:.1f}" for each in times), f"{max(first[1], again[1]):.0f}"])
        found.append(
            {"runs": count, "first_s": first[0], "again_s": again[0], "added_s": added[0], "peak_mb": first[1]}
        )
    columns = ["runs", "first, s", "again, s", "100 runs more, s", "peak, MB"]
    show("almaflow accuracy over a whole store", columns, rows, "peak: of the whole process that asks")
    save(arguments, found)


def make(database: Path, count: int) -> None:
    """Write a store of so many conversions' runs."""
    if not EXAMPLE.exists():
        message = f"{EXAMPLE.name} is not there: the example store is what runs are copied from"
        raise BenchmarkError(message)
    shutil.copy(EXAMPLE, database)
    with closing(sqlite3.connect(database)) as connection, connection:
        templates = {name: _template(connection, name) for name in CONVERSIONS}
        for table in LIVE:
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
        _insert(connection, templates, range(count))
        found = "SELECT COUNT(*) FROM tags WHERE key = 'almaflow.kind' AND value = 'conversion'"
        (made,) = connection.execute(found).fetchone()
    if made != count:
        message = f"{made} of {count} runs are of conversions: {EXAMPLE} has none of some"
        raise BenchmarkError(message)


def _add(database: Path, count: int) -> None:
    """One more night."""
    with closing(sqlite3.connect(EXAMPLE)) as connection:
        templates = {name: _template(connection, name) for name in CONVERSIONS}
    with closing(sqlite3.connect(database)) as connection, connection:
        _insert(connection, templates, range(count, count + NIGHTLY))


def _template(connection: sqlite3.Connection, conversion: str) -> dict[str, Any]:
    """A real run's row, figures, params and tags: of that conversion, or of another where the example has none."""
    connection.row_factory = sqlite3.Row
    query = (
        "SELECT p.run_uuid FROM params p JOIN tags s ON s.run_uuid = p.run_uuid AND s.key = 'almaflow.status' "
        "JOIN tags k ON k.run_uuid = p.run_uuid AND k.key = 'almaflow.kind' WHERE p.key = 'conversion' "
        "AND s.value = 'ok' AND k.value = 'conversion' ORDER BY p.value = ? DESC, p.run_uuid LIMIT 1"
    )
    (run_id,) = connection.execute(query, (conversion,)).fetchone()
    found: dict[str, Any] = {
        "run": dict(connection.execute("SELECT * FROM runs WHERE run_uuid = ?", (run_id,)).fetchone())
    }
    for table in ("latest_metrics", "params", "tags"):
        rows = connection.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ?", (run_id,))  # noqa: S608
        found[table] = {row["key"]: row["value"] for row in rows}
    connection.row_factory = None
    return found


def _insert(connection: sqlite3.Connection, templates: Mapping[str, dict[str, Any]], numbers: Sequence[int]) -> None:
    columns = list(templates["EAGER"]["run"])
    placeholders = ", ".join("?" * len(columns))
    insert = f"INSERT INTO runs ({', '.join(columns)}) VALUES ({placeholders})"  # noqa: S608
    for row, metrics, params, tags in _runs(templates, numbers):
        run_id, at = row["run_uuid"], row["end_time"]
        connection.execute(insert, [row[name] for name in columns])
        for table in ("metrics", "latest_metrics"):
            connection.executemany(
                f"INSERT INTO {table} (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, 0, 0, ?)",  # noqa: S608
                [(key, value, at, run_id) for key, value in metrics.items()],
            )
        for table, values in (("params", params), ("tags", tags)):
            connection.executemany(
                f"INSERT INTO {table} (key, value, run_uuid) VALUES (?, ?, ?)",  # noqa: S608
                [(key, value, run_id) for key, value in values.items()],
            )


def _runs(templates: Mapping[str, dict[str, Any]], numbers: Sequence[int]) -> Iterator[tuple[dict[str, Any], ...]]:
    for number in numbers:
        draw = random.Random(number)  # noqa: S311 - figures, not secrets
        night, place = divmod(number, NIGHTLY)
        model, conversion = MODELS[place // len(CONVERSIONS)], CONVERSIONS[place % len(CONVERSIONS)]
        template = templates[conversion]
        started = FIRST_MS + night * DAY_MS + place * 60_000
        run_id = uuid.UUID(int=draw.getrandbits(128)).hex
        later = night >= numbers[-1] // NIGHTLY / 2
        usual = 5.0 + 3.0 * (place // len(CONVERSIONS)) + place % len(CONVERSIONS)
        slower = 1.1 if later and conversion == "ONNX_CPU" else 1.0
        measured = usual * slower * math.exp(draw.gauss(0, NOISE))
        row = template["run"] | {
            "run_uuid": run_id,
            "name": f"{conversion} {model} b1",
            "start_time": started,
            "end_time": started + 50_000,
        }
        metrics = template["latest_metrics"] | {
            "latency_ms": measured * 1.02, "latency/floor": measured, "latency/ci_low": measured * 1.01,
            "latency/ci_high": measured * 1.03, "machine/control_ms": 0.9 * math.exp(draw.gauss(0, 0.01)),
            "machine/others_cpus": 0.04, "machine/steal_cpus": 0.0,
        }  # fmt: skip
        tags = template["tags"] | {
            "almaflow.job_run_id": f"{night:08x}{place // len(CONVERSIONS):024x}",
            "env.onnxruntime": "1.31.1" if later else "1.30.0",
        }
        for predictor, off in PREDICTORS.items():
            metrics[f"prediction/{predictor}/latency_ms"] = usual * math.exp(off)
            tags[f"almaflow.predictor_version.{predictor}"] = "1"
        params = template["params"] | {
            "model": model,
            "conversion": conversion,
            "batch_size": "1",
            "predictor": "calibrated",
        }
        yield row, metrics, params, tags


@contextmanager
def _opened(database: Path, *, served: bool) -> Iterator[str]:
    """The store's URI, or the address of a server of as many workers as MLflow starts by itself."""
    uri = f"sqlite:///{database}"
    if not served:
        yield uri
        return
    os.environ["ALMAFLOW_HOME"] = str(database.parent)  # for the server's log
    port = free_port(None)
    with serving(uri, port, WORKERS):
        time.sleep(SETTLES_S)  # its workers import one after the other
        yield f"http://127.0.0.1:{port}"


def _accuracy(uri: str, home: Path) -> tuple[float, float]:
    """Seconds and megabytes of one call."""
    environment = os.environ | {"ALMAFLOW_HOME": str(home), "MLFLOW_TRACKING_URI": uri}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "almaflow", "accuracy"], stdout=subprocess.DEVNULL, env=environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        message = f"almaflow accuracy ended with {status}"
        raise BenchmarkError(message)
    return time.perf_counter() - began, usage.ru_maxrss / 1000


if __name__ == "__main__":
    run_script(main)
