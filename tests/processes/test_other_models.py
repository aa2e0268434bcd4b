"""Real reference workers tell a model of the user's own from what it was before; nothing else makes it another one."""

from __future__ import annotations

import sys
from contextlib import closing
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

import cloudpickle
import pytest

from almaflow.conversions.catalogue.preload import modules_for
from almaflow.processes.launcher import Launcher
from almaflow.records import HardwareSpec, InputSpec, MeasureSpec, ModelSpec, ReferenceInfo, TargetSpec, WorkerTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

NET = """
import torch
from my_layers import activation
import my_package

class Net(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.line = torch.nn.Linear(4, 4)
        self.load_state_dict(torch.load(weights))
    def forward(self, x):
        if torch.rand(1).item() > 0.5:  # random, and not to be counted
            x = x + 1
        return activation(self.line(x))

def batches(value=1.0):
    return [torch.full((2, 4), value), torch.zeros(2, 4)]
"""
INPUTS = (InputSpec((4,), name="x"),)
OWN = ModelSpec("own", target="my_model.Net", kwargs={"weights": "w.pt"}, inputs=INPUTS, batch_size=2)
LOADED = ModelSpec(
    "own", target="my_model.Net", kwargs={"weights": "w.pt"}, data_loader=TargetSpec("my_model.batches"), batch_size=2
)


class Bench:
    """A user's directory, and a launcher that starts reference workers on what is in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers = count()
        self.undo()
        self._hardware = HardwareSpec("here", "cpu", threads=1)
        self.launcher = Launcher(self._hardware, root / "server.log", modules_for(OWN, ()))

    def undo(self) -> None:
        self.write("my_model.py", NET)
        self.write("my_layers.py", "import torch\ndef activation(x): return torch.tanh(x)\n")
        self.install("1.0", "")
        self.write_weights(1.0)

    @cached_property
    def before(self) -> ReferenceInfo:
        return self.prepared(OWN)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def install(self, version: str, code: str) -> None:
        self.write("site-packages/my_package/__init__.py", code)
        self.write("site-packages/my_package-1.dist-info/METADATA", f"Name: my_package\nVersion: {version}\n")

    def write_weights(self, value: float) -> None:
        import torch

        torch.save({"line.weight": torch.full((4, 4), value), "line.bias": torch.zeros(4)}, self.root / "w.pt")

    def prepared(self, model: ModelSpec) -> ReferenceInfo:
        work = self.root / f"work-{next(self._numbers)}"
        work.mkdir()
        model = ModelSpec(**{**vars(model), "directory": str(self.root)})
        paths = (str(self.root), str(self.root / "site-packages"), *sys.path)
        task = WorkerTask(model, self._hardware, MeasureSpec(), None, str(work), str(work / "r.pt"), sys_path=paths)
        with closing(self.launcher.start(task)) as worker:
            assert worker.until_ready(), worker.finish()
            found = worker.finish().result.prepared
        assert found
        return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"))
    with made.launcher:
        yield made


EDITS: dict[str, tuple[Callable[[Bench], Any], set[str]]] = {
    "nothing": (lambda _: None, set()),
    "the model's module": (lambda b: b.write("my_model.py", NET.replace("x + 1", "x + 1 + 1")), {"code"}),
    "a module that it imports": (lambda b: b.write("my_layers.py", "from torch import relu as activation"), {"code"}),
    "a comment": (lambda b: b.write("my_model.py", NET + "# a comment"), {"code"}),
    "the weights": (lambda b: b.write_weights(float("nan")), {"files", "weights"}),
    "the package's version": (lambda b: b.install("1.0.1", ""), {"code"}),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.usefixtures("home")
def test_an_own_model_is_another_one_after_an_edit(bench: Bench, edit: str) -> None:
    change, what = EDITS[edit]
    before = bench.before
    try:
        change(bench)
        after = bench.prepared(OWN)
    finally:
        bench.undo()
    assert before.traits.random
    assert set(before.sources) >= {"my_model", "my_layers"}
    assert set(before.digests) >= {"code", "weights", "attributes", "inputs", "files"}
    assert {name for name in before.digests if after.digests.get(name) != before.digests[name]} == what


@pytest.mark.usefixtures("home")
def test_another_loader_is_another_one_though_the_model_is_the_same(bench: Bench) -> None:
    other = ModelSpec(**{**vars(LOADED), "data_loader": TargetSpec("my_model.batches", {"value": 2.0})})
    first, again, second = (bench.prepared(spec).digests for spec in (LOADED, LOADED, other))
    assert first == again
    assert {name for name in first if first[name] != second[name]} == {"inputs"}


@pytest.mark.usefixtures("home")
def test_a_model_in_hand_is_known_by_its_classes_and_weights(bench: Bench) -> None:
    """As ``almaflow.validate`` hands it over: pickled with the code of its class, in other bytes each time."""
    text = NET.replace("from my_layers import activation", "activation = torch.tanh").replace("import my_package", "")
    found = []
    for code in (text, f"# moved\n\n{text}", text.replace("x + 1", "x + 2")):
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(code, "script.py", "exec"), names)  # noqa: S102 - what running a script does
        path = bench.root / "model.pkl"
        path.write_bytes(cloudpickle.dumps(names["Net"](bench.root / "w.pt")))
        found.append(bench.prepared(ModelSpec("in hand", pickle_path=str(path), inputs=INPUTS, batch_size=2)).digests)
    first, moved, edited = found
    assert first == moved
    assert {name for name in first if first[name] != edited[name]} == {"code"}
