"""What is shipped and pinned, and that the rooms keep to their imports."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import almaflow

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "almaflow"
CONSTRAINTS = ("current", "alma-era")

WORKER_LIBRARIES = {
    "torch", "torchvision", "torchao", "onnx", "onnxscript", "onnxruntime", "openvino", "optimum", "timm",
    "transformers", "executorch", "torch_tensorrt", "tvm",
}  # fmt: skip
"""Libraries that only a worker may load while a module of ours is imported."""

UNPUBLISHED = {"graphs"}
"""On no index, so that no extra can name it: it is installed from its repository."""

WRITTEN = {"load"}
"""A module that an export writes beside the one that imports it."""

OPTIONAL = {"torch_tensorrt": "torch-tensorrt", "tvm": "apache-tvm"}
"""The libraries of the extras that an index calls by another name; they need not be installed."""


def project() -> dict[str, Any]:
    data: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return data


def child_side() -> tuple[str, ...]:
    """Modules of the measured process and of what runs within an application, as the contracts of imports have them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    heavy = {contract["id"]: contract["source_modules"] for contract in contracts if "id" in contract}
    return (*heavy["child"], *heavy["application"])


def is_childs(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in child_side())


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "constraints" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    found = (line.partition("==") for line in lines if not line.startswith("#"))
    return {package: version for package, _, version in found}


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Each library that a module of ours imports, and whether it does so while it is itself imported."""

    def walk(node: ast.AST, *, at_import: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for typed in node.body:
                yield from walk(typed, at_import=False)
            for other in node.orelse:
                yield from walk(other, at_import=at_import)
            return
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [str(given.value) for given in node.args[:1] if isinstance(given, ast.Constant)]
        yield from ((name.partition(".")[0], at_import) for name in names)
        within = at_import and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, at_import=within)

    yield from walk(ast.parse(file.read_text(encoding="utf-8")), at_import=True)


def modules() -> list[tuple[str, Path]]:
    """Each module's dotted name and file."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        found.append((".".join(parts).removesuffix(".__init__"), file))
    return found


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_are_exact_versions_of_the_index(name: str) -> None:
    text = (ROOT / "constraints" / f"{name}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][a-z0-9.]*", line)] == []
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0])
    assert "//" not in text


@pytest.mark.parametrize(
    ("name", "pinned"),
    [
        ("current", "torch==2.14.1 torchvision==0.29.2 torchao==0.18.0 onnxruntime==1.31.1 openvino==2026.4.1"),
        ("current", "optimum-quanto==0.2.7 onnx==1.23.2 onnxscript==0.7.2 mlflow==3.17.2 alma-torch==0.3.7"),
        ("alma-era", "torch==2.7.1 torchvision==0.22.1 torchao==0.11.0 onnxruntime==1.22.1 openvino==2025.2.0"),
        ("alma-era", "optimum-quanto==0.2.7 mlflow==3.17.2 alma-torch==0.3.7"),
    ],
)
def test_the_sets_are_those_that_were_measured(name: str, pinned: str) -> None:
    have = pins(name)
    assert [pin for pin in pinned.split() if have.get(pin.partition("==")[0]) != pin.partition("==")[2]] == []
    assert have["hydra-core"].startswith("1.3.")


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_every_dependency_is_pinned_within_its_range(name: str) -> None:
    have = pins(name)
    wanted = [Requirement(line) for line in [*project()["dependencies"], *project()["optional-dependencies"]["dev"]]]
    assert len(wanted) > 20
    unmet = [str(one) for one in wanted if have.get(canonicalize_name(one.name), "none") not in one.specifier]
    assert unmet == []


def test_every_library_that_is_imported_is_declared() -> None:
    declared = {canonicalize_name(Requirement(line).name) for line in project()["dependencies"]}
    for extra in project()["optional-dependencies"].values():
        declared |= {canonicalize_name(Requirement(line).name) for line in extra}
    installed = packages_distributions()
    ours = (
        {name for _, file in modules() for name, _ in imports(file)}
        - sys.stdlib_module_names
        - UNPUBLISHED
        - WRITTEN
        - {"almaflow"}
    )
    homes = {name: {*installed.get(name, ()), OPTIONAL.get(name, name)} for name in ours}
    assert {name for name, home in homes.items() if not {canonicalize_name(one) for one in home} & declared} == set()


def test_only_the_measured_process_loads_what_is_heavy() -> None:
    heavy = {module for module, file in modules() if WORKER_LIBRARIES & {name for name, now in imports(file) if now}}
    assert len(heavy) > 20
    assert {module for module in heavy if not is_childs(module)} == set()


def test_the_parent_imports_nothing_heavy() -> None:
    """Every module that is not the measured process's, and whatever these import in turn."""
    copied = "almaflow.tracking.pyfunc_model"  # and never imported: MLflow runs it in a model's directory
    light = [name for name, _ in modules() if not is_childs(name) and name not in {"almaflow.__main__", copied}]
    forbidden = sorted(WORKER_LIBRARIES | {"mlflow", "alma", "matplotlib", "plotly"})
    code = f"""
import importlib, sys
for name in {light}:
    importlib.import_module(name)
print([name for name in {forbidden} if name in sys.modules])
"""
    assert python(code) == "[]\n"


def test_alma_is_named_in_conversions_only() -> None:
    """Also where a name is imported at run time, which the contracts do not see."""
    named = {module for module, file in modules() if "alma" in {name for name, _ in imports(file)}}
    assert {module for module in named if not module.startswith("almaflow.conversions.")} == set()


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = ["torch", "mlflow", "alma", "hydra", "omegaconf", "pydantic", "rich", "numpy"]
    assert python(f"import almaflow, sys; print([name for name in {heavy} if name in sys.modules])") == "[]\n"


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"almaflow.*nothing_of_this_name"):
        _ = almaflow.nothing_of_this_name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, so that both are shown to be whole."""
    place = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place), str(ROOT)]
    subprocess.run(build, check=True, stdout=subprocess.PIPE)
    return next(place.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_every_config_and_the_types(wheel: Path) -> None:
    configs = [file for file in (ROOT / "conf").rglob("*") if file.is_file()]
    assert len(configs) > 20
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert "almaflow/py.typed" in names
        assert any(name.endswith("/licenses/LICENSE") for name in names)
        for file in configs:
            assert archive.read(f"almaflow/conf/{file.relative_to(ROOT / 'conf').as_posix()}") == file.read_bytes()


@pytest.mark.slow
def test_the_wheel_works_from_anywhere(wheel: Path, tmp_path: Path) -> None:
    """Installed beside this environment's libraries, which a ``.pth`` file adds, and run from an empty directory."""
    elsewhere = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(elsewhere)], check=True)
    packages = next(elsewhere.glob("lib/python*/site-packages"))
    around = [entry for entry in sys.path if Path(entry).name == "site-packages"]
    (packages / "around.pth").write_text("\n".join(around), encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=empty, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout

    there = elsewhere / "bin"
    options = ["--quiet", "--no-index", "--no-deps", "--force-reinstall"]
    run(sys.executable, "-m", "pip", "--python", str(there / "python"), "install", *options, str(wheel))
    where = run(str(there / "python"), "-c", "import almaflow; print(almaflow.__version__, almaflow.__file__)")
    assert where.startswith(f"{project()['version']} {packages}")
    assert len(json.loads(run(str(there / "almaflow"), "conversions", "--json"))) >= 94
    models = {entry["name"] for entry in json.loads(run(str(there / "almaflow"), "models", "--json"))}
    assert models == {file.stem for file in (ROOT / "conf" / "model").glob("*.yaml")}
    assert list(empty.iterdir()) == []
