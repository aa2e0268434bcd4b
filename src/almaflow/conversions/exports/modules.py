"""Export models that PyTorch runs: TorchScript, exported programs, and weights of a module that the user's code builds.

What ``torch.compile`` made stays in the memory of its process. Its export compiles again, with the same settings.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import TreeSpec

from almaflow.conversions.converted import taken
from almaflow.conversions.exports.loader import Loader, called, settings_source, threads_line, torch_imports
from almaflow.conversions.native.model_changes import ChannelsLast
from almaflow.models.binding import unbound
from almaflow.secrets import mask

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.conversions.exports.loader import Work
    from almaflow.models.call_form import Tree

CONFIG = {
    "MAX_AUTOTUNE": (
        'torch._inductor.config.max_autotune_gemm_backends = "ATEN,TRITON,CPP"',
        'torch._inductor.config.max_autotune_conv_backends = "ATEN"',
    ),
    "FREEZING": ("torch._inductor.config.freezing = True",),
    "EAGER_FALLBACK": ("torch._dynamo.config.suppress_errors = True",),
    "COMPILE_OPENVINO": ("torch._dynamo.config.prepare_freezing = True",),
}
"""What torch.compile is configured by besides its arguments, by the end of a step's name."""

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
    before, compiling, more = _compiling(work)
    classes = _output_modules(program.call_spec.out_spec)
    return Loader(
        "an exported program, which torch.compile compiles" if compiling else "an exported program in PyTorch",
        (*imports, *more, *(f"import {name}  # registers the class of the outputs" for name in classes)),
        (threads_line(work), *before, 'network = torch.export.load(HERE / "model.pt2").module()', *compiling),
        called("network", "tuple(given.values())" if packed else "*given.values()"),
        ("model.pt2",),
        ("torch", *{name.partition(".")[0] for name in classes}, *_compilers(work)),
        compiles=bool(compiling),
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
    imports, builds, builder = _building(work)
    quantising, loads = _loading(network, work)
    before, compiling, more = _compiling(work)
    dtype = _arithmetic(work)
    names = [f"given[{name!r}]" for name in work.form.names]
    if channels_last:
        order = ".contiguous(memory_format=torch.channels_last)"
        names = [f"{name}{order}" if each.dim() == 4 else name for name, each in zip(names, work.batch, strict=True)]  # noqa: PLR2004 - images
    return Loader(
        "PyTorch, with torch.compile" if compiling else "PyTorch",
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
            *compiling,
        ),
        called("network", _arguments(work, names)),
        ("weights.pt",),
        (
            "torch",
            *({"quanto": ("optimum-quanto",), "torchao": ("torchao",)}.get(work.planned.family, ())),
            *_compilers(work),
        ),
        builder=builder,
        compiles=bool(compiling),
    )


def _building(work: Work) -> tuple[tuple[str, ...], str, str]:
    """Return the imports and the expression that build the module, and the import path of what is called."""
    model = work.model
    if mask(model.kwargs) != model.kwargs:
        message = "the arguments that build its module hold a secret, which load.py would show"
        raise NotImplementedError(message)
    if model.target is None:
        if model.arch is None:
            message = "no import path builds the model"
            raise NotImplementedError(message)
        from almaflow.models.vision import arch_arguments

        kwargs = arch_arguments(model.arch, model.kwargs, default_size=model.inputs is None)
        arguments = settings_source(kwargs)
        name = f"torchvision.models.{model.arch}"
        return ("from torchvision.models import get_model",), f"get_model({model.arch!r}, {arguments})", name
    module, attribute = _split(model.target)
    top = module.partition(".")[0]
    if top in {"load", "check"}:
        message = f"its code is in a module named {top}, as a file of the folder is; give it another name"
        raise NotImplementedError(message)
    first = attribute.partition(".")[0]
    return (f"from {module} import {first}",), f"{attribute}({settings_source(model.kwargs)})", model.target


def _split(target: str) -> tuple[str, str]:
    """Split an import path into its module and what is in it."""
    parts = target.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:depth])
        if module in sys.modules:
            return module, ".".join(parts[depth:])
    importlib.import_module(parts[0])
    return parts[0], ".".join(parts[1:])


def _loading(network: torch.nn.Module, work: Work) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the imports and lines that put the weights in, by the kind of their tensors."""
    read = 'torch.load(HERE / "weights.pt", map_location="cpu", weights_only=True)'
    if work.planned.family == "quanto":
        from optimum.quanto import quantization_map

        quantised, plain = quantization_map(network), _plain_outputs(network)
        lines: tuple[str, ...] = (f"quantised = {quantised!r}", f"requantize(network, {read}, quantised)")
        if plain:
            lines += (f"for name in {plain!r}:", "    network.get_submodule(name).disable_output_quantization()")
        return ("from optimum.quanto import requantize",), lines
    if work.planned.family == "torchao":
        return (
            ("import torchao  # knows the classes of the weights",),
            (f"network.load_state_dict({read}, assign=True)",),
        )
    return (), (f"network.load_state_dict({read})",)


def _plain_outputs(network: torch.nn.Module) -> list[str]:
    """Return the layers whose outputs quanto's calibration left in floating point, which it stores nowhere."""
    found = []
    for name, module in network.named_modules():
        hook = getattr(module, "_quantize_hooks", {}).get("output")
        if hook and hook.id not in module._forward_hooks:  # noqa: SLF001 - PyTorch tells it nowhere else
            found.append(name)
    return found


def _arithmetic(work: Work) -> str | None:
    """Return the type that the module is cast to before it gets its weights."""
    types = {"FP16": "float16", "BF16": "bfloat16", "TORCHAO_QUANT_I4_WEIGHT_ONLY": "bfloat16"}
    return next((types[step] for step in work.planned.steps if step in types), None)


def _compiling(work: Work) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the lines before the model is loaded, those that compile it, and imports; nothing where nothing compiles.

    Raises:
        NotImplementedError: it is compiled with settings that cannot be written down.
    """
    if not work.planned.traits.dynamo:
        return (), (), ()
    config = tuple(
        line for step in work.planned.steps for end, lines in CONFIG.items() if step.endswith(end) for line in lines
    )
    modules = sorted({f"import {'.'.join(line.split('.')[:2])}.config" for line in config})
    compiled = f"network = torch.compile(network, {settings_source(dict(work.built.settings))})"
    return config, (compiled,), tuple(modules)


def _compilers(work: Work) -> tuple[str, ...]:
    """Return the distributions by whose entry points ``torch.compile`` finds its backend."""
    return ("openvino",) if "COMPILE_OPENVINO" in work.planned.steps else ()


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
