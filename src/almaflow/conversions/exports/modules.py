"""Export models that PyTorch runs: TorchScript, exported programs, and weights of a module that the user's code builds.

What ``torch.compile`` made stays in the memory of its process. Its export compiles again, with the same settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import TreeSpec

from almaflow.conversions.converted import taken
from almaflow.conversions.exports.building import building, loading
from almaflow.conversions.exports.compiling import compilers, compiling
from almaflow.conversions.exports.loader import Loader, called, threads_line, torch_imports
from almaflow.conversions.native.model_changes import ChannelsLast
from almaflow.models.binding import unbound

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.conversions.exports.loader import Work
    from almaflow.models.call_form import Tree

PT2E_OPERATORS = "import torch.ao.quantization.fx._decomposed  # registers the quantised operators"


def torchscript(directory: Path, work: Work) -> Loader:
    """Save the module in TorchScript."""
    runs = work.built.executable
    getattr(runs, "owner", runs).save(str(directory / "model.pt"))  # of a method, its module
    return Loader(
        "TorchScript",
        torch_imports(),
        (threads_line(work), f'network = torch.jit.load(HERE / "model.pt", map_location="{work.planned.device}")'),
        called("network", "*given.values()"),
        ("model.pt",),
        ("torch",),
    )


def torch_export(directory: Path, work: Work) -> Loader:
    """Save the exported program; a quantised graph is exported once more, as it is.

    Raises:
        NotImplementedError: there is no program to save.
    """
    program, imports = work.built.program, torch_imports()
    if work.planned.traits.quantises_graph:
        runs = work.built.executable
        program = torch.export.export(runs, taken(runs, work.batch))
        imports = torch_imports(PT2E_OPERATORS)
    if program is None:
        message = "torch.export left no program"
        raise NotImplementedError(message)
    torch.export.save(program, directory / "model.pt2")
    packed = len(program.example_inputs[0]) < len(work.batch) if program.example_inputs else False
    before, compiles, more = compiling(work)
    classes = _output_modules(program.call_spec.out_spec)
    return Loader(
        "an exported program, which torch.compile compiles" if compiles else "an exported program in PyTorch",
        (*imports, *more, *(f"import {name}  # registers the class of the outputs" for name in classes)),
        (threads_line(work), *before, 'network = torch.export.load(HERE / "model.pt2").module()', *compiles),
        called("network", "tuple(given.values())" if packed else "*given.values()"),
        ("model.pt2",),
        ("torch", *{name.partition(".")[0] for name in classes}, *compilers(work)),
        compiles=bool(compiles),
    )


def state_dict(directory: Path, work: Work) -> Loader:
    """Save the weights as the conversion has them; the user's code builds the module.

    Raises:
        NotImplementedError: no import path builds it, or its call takes objects of a class of its own.
    """
    model = work.built.model
    if model is None:
        message = "there is no module whose weights could be saved"
        raise NotImplementedError(message)
    channels_last = "CHANNELS_LAST" in work.planned.steps
    network = unbound(model.model if isinstance(model, ChannelsLast) else model)
    torch.save(network.state_dict(), directory / "weights.pt")
    imports, builds, builder = building(work)
    quantising, loads = loading(network, work)
    before, compiles, more = compiling(work)
    dtype = _arithmetic(work)
    names = [f"given[{name!r}]" for name in work.form.names]
    if channels_last:
        order = ".contiguous(memory_format=torch.channels_last)"
        names = [f"{name}{order}" if each.dim() == 4 else name for name, each in zip(names, work.batch, strict=True)]  # noqa: PLR2004 - images
    return Loader(
        "PyTorch, with torch.compile" if compiles else "PyTorch",
        (*torch_imports(), *imports, *quantising, *more),
        (
            threads_line(work),
            *before,
            f"torch.manual_seed({work.model.seed})  # for what is drawn when it is built and is no weight",
            f"network = {builds}.eval()",
            *((f"network.to(torch.{dtype})",) if dtype else ()),
            *loads,
            *(("network.to(memory_format=torch.channels_last)",) if channels_last else ()),
            f'network.to("{work.planned.device}")',
            *compiles,
        ),
        called("network", _arguments(work, names)),
        ("weights.pt",),
        (
            "torch",
            *({"quanto": ("optimum-quanto",), "torchao": ("torchao",)}.get(work.planned.family, ())),
            *compilers(work),
        ),
        builder=builder,
        compiles=bool(compiles),
    )


def _arithmetic(work: Work) -> str | None:
    """Return the type that the module is cast to before it gets its weights."""
    types = {"FP16": "float16", "BF16": "bfloat16", "TORCHAO_QUANT_I4_WEIGHT_ONLY": "bfloat16"}
    return next((types[step] for step in work.planned.steps if step in types), None)


def _arguments(work: Work, inputs: list[str]) -> list[str]:
    """Return the arguments of the module's own call, as they are written."""
    by_position = [_source(tree, inputs) for tree in work.form.args]
    return by_position + [f"{name}={_source(tree, inputs)}" for name, tree in work.form.kwargs.items()]


def _source(tree: Tree, inputs: list[str]) -> str:
    kind, content = tree[0], tree[1]
    match kind:
        case "input":
            return inputs[content]
        case "value":
            return repr(content)
        case "list":
            return f"[{', '.join(_source(part, inputs) for part in content)}]"
        case "tuple":
            return f"({''.join(f'{_source(part, inputs)}, ' for part in content)})"
        case "dict":
            return f"{{{', '.join(f'{key!r}: {_source(part, inputs)}' for key, part in content)}}}"
        case _:
            message = "the model's call takes an object of a class of its own"
            raise NotImplementedError(message)


def _output_modules(spec: Any) -> tuple[str, ...]:
    """Return the modules that register the classes in a program's output, such as those of transformers.

    The whole modules: a package may import its parts only when they are asked for.
    """
    found: set[str] = set()
    waiting = [spec]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, TreeSpec):
            continue
        module = getattr(each.type, "__module__", "builtins")
        if module.partition(".")[0] not in {"builtins", "collections", "torch"}:
            found.add(module)
        waiting += each.children() if hasattr(each, "children") else each.children_specs  # PyTorch 2.7 has the latter
    return tuple(sorted(found))
