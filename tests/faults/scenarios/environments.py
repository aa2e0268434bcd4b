"""What the environment says, and what lies in the directory of the command."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from tests.faults.inject import Fault
from tests.faults.real import really
from tests.faults.scenario import complete, ended_with, fired, holds, resumed, scenario, synced
from tests.faults.scenarios.records import WAITS

if TYPE_CHECKING:
    from tests.faults.place import Place


@scenario(
    fault="the environment has this",
    expected="all is measured and stored",
    cases={
        "a time zone that is not known": ({"TZ": "Nowhere/At_All"},),
        "a run of MLflow that the user has open": ({"MLFLOW_RUN_ID": "0123456789abcdef0123456789abcdef"},),
        "an experiment of MLflow that is not there": ({"MLFLOW_EXPERIMENT_ID": "4711"},),
        "asynchronous logging of MLflow": ({"MLFLOW_ENABLE_ASYNC_LOGGING": "true"},),
        "a number of threads that is none": ({"OMP_NUM_THREADS": "many"},),
        "a terminal without columns": ({"COLUMNS": "0", "LINES": "0", "TERM": "nothing-known"},),
        "GPUs that are not there": ({"CUDA_VISIBLE_DEVICES": "7,GPU-nothing"},),
        "a proxy that is not there": ({"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},),
        "nothing but the path and the home": (None,),
    },
)
def an_odd_environment(place: Place, variables: dict[str, str] | None) -> None:
    if variables is None:
        place.bare = frozenset({"PATH", "ALMAFLOW_HOME", "HOME"})
        variables = {}
    resumed(place, **variables)
    synced(place)


@scenario(
    fault="the interpreter is started with this in its environment, and the home has a name in other letters",
    expected="all is measured and stored, and what is printed can be read",
    cases={
        "LC_ALL=C": ({"LC_ALL": "C"},),
        "ASCII only": ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},),
        "PYTHONHASHSEED": ({"PYTHONHASHSEED": "4711"},),
        "PYTHONSAFEPATH": ({"PYTHONSAFEPATH": "1"},),
        "PYTHONDEVMODE": ({"PYTHONDEVMODE": "1"},),
        "PYTHONOPTIMIZE=2": ({"PYTHONOPTIMIZE": "2"},),
        "PYTHONWARNINGS=error": ({"PYTHONWARNINGS": "error"},),
        "no PATH and no HOME": ({"PATH": None, "HOME": None},),
    },
)
def an_odd_interpreter(place: Place, variables: dict[str, str | None]) -> None:
    place.home.rename(place.root / "h\N{LATIN SMALL LETTER O WITH DIAERESIS}me")
    place.name = "h\N{LATIN SMALL LETTER O WITH DIAERESIS}me"
    ended = really(place, *place.measuring("output=out.json"), environment=variables)
    assert "Traceback" not in ended.err, ended
    if "PYTHONOPTIMIZE" in variables and ended.code:  # Hydra's parser does not import without its texts
        assert ended.err.count("\n") <= 2, ended
        return
    ended_with(ended, 0)
    complete(place, synced(place))


NAMES = ("torch.py", "json.py", "mlflow.py", "random.py", "types.py", "almaflow.py", "sleepy/__init__.py", "numpy.py")


@scenario(
    fault="files in the directory of the command have names of modules, and one of a package has that of the model",
    expected="all is measured and stored; or one line names the file",
    cases={name: (name,) for name in NAMES},
)
def a_file_named_as_a_module(place: Place, name: str) -> None:
    path = place.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise RuntimeError('the wrong module')\n", encoding="utf-8")
    ended = ended_with(really(place, *place.measuring("output=out.json")), 0, 1, 2)
    if ended.code:
        assert path.name in ended.err or "the wrong module" in ended.err, ended
        assert ended.err.count("\n") < 10, ended
    else:
        complete(place, synced(place))


@scenario(
    fault="the time zone, or the time of the clock, is another one when a killed job is resumed",
    expected="what was measured is known; the rest is measured; nothing is doubled",
    cases={
        "another time zone": ("Pacific/Kiritimati", 0.0),
        "an hour back": ("UTC", -3600.0),
        "a day on": ("UTC", 86400.0),
        "a clock that begins in 1970": ("UTC", -time.time() + 1000),
    },
)
def another_time(place: Place, zone: str, seconds: float) -> None:
    fired(ended_with(place.run(faults=WAITS, TZ="UTC"), -signal.SIGKILL))
    place.always = (Fault("clock", "start", seconds=seconds),)
    resumed(place, TZ=zone)
    synced(place)


@scenario(
    fault="a job is interrupted; the clock is set back by an hour; the job is resumed, and killed after a measurement",
    expected="the later measurement is not taken for the earlier one: sync writes it, once",
    cases={
        "killed after the outcome": ("after outcome written",),
        "killed after the run": ("after conversion logged",),
    },
)
def the_clock_is_set_back_between_attempts(place: Place, at: str) -> None:
    fired(ended_with(place.run(faults=(Fault("signal", "before round", 6, number=signal.SIGINT),)), 130))
    place.always = (Fault("clock", "start", seconds=-3600.0),)
    killed = (Fault("signal", at, 1),)
    fired(ended_with(place.resume(faults=killed), -signal.SIGKILL))
    measured = {each.conversion for each in holds(place).on_disk if each.ok}
    assert measured, "nothing was measured"
    count = synced(place)
    there = {run.params["conversion"] for run in count.conversions if run.status == "FINISHED"}
    assert measured <= there, f"lost: {measured - there}"
    resumed(place)
    synced(place)


@scenario(
    fault="the clock is set back, or on, between the processes of a conversion that is measured in three",
    expected="all is measured and stored, with no negative duration",
    cases={"back by a day": (-86400.0,), "on by a day": (86400.0,)},
)
def the_clock_between_processes(place: Place, seconds: float) -> None:
    fault = Fault("clock", "before worker started", 4, seconds=seconds)
    fired(ended_with(place.run("measure.replicates=3", "output=out.json", faults=(fault,)), 0))
    count = synced(place)
    complete(place, count)
    for run in count.in_store:
        assert all(value >= 0 for name, value in run.metrics.items() if name.startswith("time/")), run.metrics
        assert all(value < 4000 for name, value in run.metrics.items() if name.startswith("time/")), run.metrics
