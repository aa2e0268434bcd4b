"""Compose ``load.py``, the few lines that load an export with the settings it was measured with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from almaflow.conversions.built.model import BuiltModel
    from almaflow.models.batches import Batch
    from almaflow.models.call_form import CallForm
    from almaflow.models.dynamic import Axes
    from almaflow.records import ModelSpec, PlannedConversion

INT4_ARITHMETIC = "bfloat16"
"""Alma casts the model and its inputs to it for torchao's int4 weights."""


@dataclass(frozen=True)
class Work:
    """A converted model that is to be exported, and what its loader has to know."""

    planned: PlannedConversion
    model: ModelSpec
    built: BuiltModel
    batch: Batch
    """An example batch in the types that the converted model takes."""
    form: CallForm
    """How a batch becomes the arguments of the caller's model; its names are those of the inputs."""
    output_names: tuple[str, ...]
    """Names of eager's outputs."""
    outputs: tuple[torch.Tensor, ...]
    """What the converted model answers to the example batch."""
    threads: int
    axes: Axes = ()
    """Of each input, the names of the dimensions whose sizes may change, by their places."""
    keeps_memory: bool = False
    """Whether the C library's allocator kept freed memory when it was measured."""

    @property
    def input_types(self) -> dict[str, str]:
        """The element type of each input, by its name."""
        casts = INT4_ARITHMETIC if "TORCHAO_QUANT_I4_WEIGHT_ONLY" in self.planned.steps else None
        types = [casts if casts and each.is_floating_point() else _type_of(each) for each in self.batch]
        return dict(zip(self.form.names, types, strict=True))


@dataclass(frozen=True)
class Loader:
    """What the loader of one format does."""

    runs_by: str
    """What runs the model, in words."""
    imports: tuple[str, ...]
    load: tuple[str, ...]
    """Lines that load it, in which ``HERE`` is the directory."""
    call: tuple[str, ...]
    """Lines that call it with the dictionary ``given``; the last one returns."""
    files: tuple[str, ...]
    distributions: tuple[str, ...]
    arrays: bool = False
    """Whether it takes NumPy's arrays; otherwise tensors."""
    builder: str | None = None
    compiles: bool = False
    restores: bool = False
    """Whether ``call`` names the outputs as eager's are named; otherwise the model itself does."""

    def keeps_memory(self, work: Work) -> bool:
        """Whether it sets the allocator: PyTorch takes memory for each call anew, other runtimes keep their own."""
        return work.keeps_memory and not self.arrays


def script(work: Work, loader: Loader) -> str:
    """Return the text of ``load.py``."""
    axes = work.axes or tuple({} for _ in work.batch)
    inputs = ", ".join(
        f"{plain(name)} {dtype} ({', '.join(named.get(place, str(size)) for place, size in enumerate(tensor.shape))})"
        for (name, dtype), tensor, named in zip(work.input_types.items(), work.batch, axes, strict=True)
    )
    marks = _marks(work) if loader.compiles else []
    threads = "1 thread" if work.threads == 1 else f"{work.threads} threads"
    keeps = loader.keeps_memory(work)
    more = ("import ctypes", "import sys") if keeps else ()
    imports = sorted({"from pathlib import Path", *loader.imports, *more}, key=_order)
    blocks = [
        [f'"""Loads {work.planned.name} of {plain(work.model.name)}: {loader.runs_by}, {threads}."""'],
        imports,
        ["HERE = Path(__file__).resolve().parent", f"INPUTS = {work.input_types!r}"],
        [
            "",
            f"def load({'keep_memory=True' if keeps else ''}):",
            f'    """Return a function of these inputs, by position or by name: {inputs}."""',
            *(("    if keep_memory:", "        _keep_memory()") if keeps else ()),
            *_indented(loader.load, 1),
            "",
            "    def model(*args, **kwargs):",
            "        given = _given(args, kwargs)",
            *_indented(marks, 2),
            *_indented(loader.call, 2),
            "",
            "    return model",
        ],
        ["", *_taking(work, arrays=loader.arrays)],
        *([["", *_KEEPING]] if keeps else []),
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks) + "\n"


_KEEPING = (
    "def _keep_memory():",
    '    """Let the allocator keep what is freed, as in the process that was measured: calls get it again."""',
    '    if sys.platform.startswith("linux") and hasattr(libc := ctypes.CDLL(None), "mallopt"):',
    "        libc.mallopt(-4, 0)  # M_MMAP_MAX: no block is mapped by itself",
    "        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: none goes back to the system",
)
"""What ``worker.allocator`` does, as lines of ``load.py``."""


def _marks(work: Work) -> list[str]:
    """Return the lines by which torch.compile makes one graph for all sizes."""
    return [
        f"torch._dynamo.maybe_mark_dynamic(given[{name!r}], {list(named)})"
        for name, named in zip(work.form.names, work.axes, strict=bool(work.axes))
        if named
    ]


def _taking(work: Work, *, arrays: bool) -> list[str]:
    """Return the function that gives each input the type that the model takes."""
    if arrays:
        cast = 'np.asarray(given[name], dtype, order="C")'
    else:
        cast = f'torch.as_tensor(given[name]).to("{work.planned.device}", getattr(torch, dtype))'
    return [
        "def _given(args, kwargs):",
        "    given = dict(zip(INPUTS, args)) | kwargs",
        "    if len(args) + len(kwargs) != len(INPUTS) or set(given) != set(INPUTS):",
        "        raise TypeError(f\"the model takes {', '.join(INPUTS)}\")",
        f"    return {{name: {cast} for name, dtype in INPUTS.items()}}",
    ]


def answer(work: Work, outputs: str = "outputs") -> str:
    """Return the expression of the model's answer, given the name of the list of what the runtime returns.

    It has the figures in the order of eager's: a mapping where these have names, a tuple where they are several.
    """
    wrapped = work.built.outputs
    places = wrapped.places if wrapped else ()
    values = [_value(origin, place, work, outputs) for origin, place in places]
    if not values:  # the model answers with nothing
        return "()"
    names = work.output_names
    if len(names) == len(values) and any(name and not name[0].isdigit() for name in names):
        return f"{{{', '.join(f'{name!r}: {value}' for name, value in zip(names, values, strict=True))}}}"
    return values[0] if len(values) == 1 else f"({', '.join(values)})"


def _value(origin: str, place: Any, work: Work, outputs: str) -> str:
    match origin:
        case "number":
            return repr(place)
        case "input":
            return f"given[{work.form.names[place]!r}]"
        case _:
            return f"{outputs}[{place}]"


def no_bfloat16(work: Work) -> None:
    """Refuse what an array of NumPy's cannot hold.

    Raises:
        NotImplementedError: the model takes or gives bfloat16.
    """
    if "bfloat16" in work.input_types.values() or any(each.dtype is torch.bfloat16 for each in work.outputs):
        message = "it takes or gives bfloat16, which NumPy lacks"
        raise NotImplementedError(message)


def plain(text: str) -> str:
    """Return a text as it may stand in a docstring or a comment of one line."""
    return re.sub(r"[\\\"\s\x00-\x1f]+", " ", text).strip()


def _indented(lines: Iterable[str], depth: int) -> list[str]:
    return [f"{'    ' * depth}{line}" if line else "" for line in lines]


def _type_of(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _order(line: str) -> tuple[bool, bool, str]:
    """Sort imports as isort does: the standard library first, then modules before names."""
    standard = line.startswith(("from pathlib", "import ctypes", "import sys"))
    return not standard, line.startswith("from"), line


def settings_source(settings: dict[str, Any]) -> str:
    """Return keyword arguments as they are written in a call.

    Raises:
        NotImplementedError: a value is an object that has no literal.
    """
    if not _is_literal(settings):
        message = "its settings are objects that cannot be written down"
        raise NotImplementedError(message)
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())


def _is_literal(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_literal(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_literal, value))
    return value is None or isinstance(value, bool | int | float | str)


def torch_imports(*more: str) -> tuple[str, ...]:
    """Return the imports of a loader that uses PyTorch."""
    return ("import torch", *more)


def threads_line(work: Work) -> str:
    """Return the line that sets the threads of PyTorch."""
    return f"torch.set_num_threads({work.threads})"


def called(network: str, arguments: Sequence[str] | str) -> tuple[str, ...]:
    """Return the lines that call a module without gradients."""
    given = arguments if isinstance(arguments, str) else ", ".join(arguments)
    return ("with torch.no_grad():", f"    return {network}({given})")
