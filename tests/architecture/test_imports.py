"""Imports run downwards (import-linter) and none hides from that; nothing in src runs code that comes with data."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

SOURCE = Path(__file__).parents[2] / "src"

CODE_IN_DATA = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def test_the_contracts_hold(monkeypatch):
    """The walls between the rooms: the contracts of import-linter in pyproject.toml."""
    monkeypatch.chdir(SOURCE.parent)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


WRONG = {
    "records/upward.py": "from retain.stats.holm import holm",
    "stats/sideways.py": "def late():\n    import retain.linalg.matrices",
    "report/draws.py": "from rich.table import Table",
    "compare/heavy.py": "import torch",
    "train/knows_peft.py": "from peft import PeftModel",
    "hf/reads.py": "import pickle",
}


@pytest.mark.parametrize(
    "files", [WRONG, {"novelty.py": "from retain.errors import InputError"}], ids=["walls", "room"]
)
def test_a_wrong_import_breaks_a_contract(tmp_path, files):
    """A copy of the library with some files more, in a process of its own, where that copy is the one imported."""
    copy = tmp_path / "src"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name, line in files.items():
        (copy / "retain" / name).write_text(line + "\n", encoding="utf-8")
    shutil.copyfile(SOURCE.parent / "pyproject.toml", tmp_path / "pyproject.toml")
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 1, found.stdout + found.stderr
    missing = [name for name in files if Path(name).stem not in found.stdout + found.stderr]
    assert not missing, found.stdout + found.stderr


def import_faults(source: str, module: str) -> list[str]:
    """Imports that the contracts do not see: by a name in a string, and of the root's table of contents."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _last_name(node.func) in {"import_module", "__import__"}:
            strings = [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            faults += [f"{module} imports {name} by a string" for name in strings if _hidden(name, module)]
        elif isinstance(node, ast.ImportFrom) and (node.level or node.module == "retain"):
            names = [alias.name for alias in node.names]
            if node.level or any(not (SOURCE / "retain" / name).exists() for name in names):
                faults.append(
                    f"{module} imports {', '.join(names)} from retain itself; name the module that defines it"
                )
        elif isinstance(node, ast.Import) and any(alias.name == "retain" for alias in node.names):
            faults.append(f"{module} imports retain itself; name the module that defines what is wanted")
    return faults


def _hidden(name: str, module: str) -> bool:
    top = name.split(".", maxsplit=1)[0]
    return top in CODE_IN_DATA | {"peft"} or (top == "retain" and module != "retain")


READER = ("retain.records.reading", "yaml.SafeLoader")
"""The one reader of YAML, whose loader is a stricter safe one."""


def safety_faults(source: str, module: str) -> list[str]:
    """Uses of torch.load, of any yaml loader but safe_load, and literal trust_remote_code=True or allow_pickle=True."""
    tree = ast.parse(source)
    names = dict(_bound_names(tree))
    faults = []
    for node in ast.walk(tree):
        used = _full_name(node, names)
        if used in {"torch.load", "torch.serialization.load"}:
            faults.append(f"{module}:{node.lineno} uses {used}: unpickles")
        reads = used and used.startswith("yaml.") and "load" in used.lower() and used != "yaml.safe_load"
        if reads and not (module == READER[0] and f"{used}.".startswith(f"{READER[1]}.")):
            faults.append(f"{module}:{node.lineno} uses {used}: only yaml.safe_load, or retain.records.reading")
        faults += [
            f"{module}: {name} = True" for name in _set_true(node) if name in {"trust_remote_code", "allow_pickle"}
        ]
    return faults


def _bound_names(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.split(".")[0], alias.name if alias.asname else alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _full_name(node: ast.AST, names: dict[str, str]) -> str | None:
    """The dotted name that an expression stands for, import aliases resolved."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        start = _full_name(node.value, names)
        return f"{start}.{node.attr}" if start else None
    return None


def _last_name(node: ast.AST) -> str | None:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None


def _set_true(node: ast.AST) -> Iterator[str | None]:
    """Names given the literal True here: argument, default, dictionary entry, assignment."""
    pairs: list[tuple[str | None, ast.AST | None]] = []
    if isinstance(node, ast.keyword):
        pairs = [(node.arg, node.value)]
    elif isinstance(node, ast.Dict):
        pairs = [(k.value, v) for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)]
    elif isinstance(node, ast.Assign):
        pairs = [(_last_name(target), node.value) for target in node.targets]
        pairs += [(t.slice.value, node.value) for t in node.targets if _constant_key(t)]
    elif isinstance(node, ast.AnnAssign):
        pairs = [(_last_name(node.target), node.value)]
    elif isinstance(node, ast.arguments):
        positional = [*node.posonlyargs, *node.args]
        pairs = [(a.arg, d) for a, d in zip(positional[::-1], node.defaults[::-1], strict=False)]
        pairs += [(a.arg, d) for a, d in zip(node.kwonlyargs, node.kw_defaults, strict=True)]
    yield from (name for name, value in pairs if isinstance(value, ast.Constant) and value.value is True)


def _constant_key(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)


def source_files() -> Iterator[tuple[Path, str]]:
    """Every file of the library with its dotted module name."""
    for path in sorted((SOURCE / "retain").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_import_hides_from_the_contracts():
    faults = [fault for path, module in source_files() for fault in import_faults(path.read_text("utf-8"), module)]
    assert not faults, "\n".join(faults)


def test_nothing_runs_code_that_comes_with_data():
    faults = [fault for path, module in source_files() for fault in safety_faults(path.read_text("utf-8"), module)]
    assert not faults, "\n".join(faults)


def test_there_are_files_to_check():
    assert {"retain", "retain.errors", "retain.records.result"} <= {module for _, module in source_files()}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("retain.data.sources", "import importlib\nimportlib.import_module('retain.cli.main')"),
        ("retain.evaluate.pair", "def late():\n    __import__('peft')"),
        ("retain.hf.adapters.load", "from importlib import import_module\nimport_module('pickle')"),
        ("retain.evaluate.runner", "from retain import VeFAConfig"),
        ("retain.evaluate.runner", "import retain"),
        ("retain.evaluate.runner", "from .. import train"),
    ],
)
def test_a_hidden_import_is_found(module, source):
    assert import_faults(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("retain.records.result", "from retain.errors import InputError"),
        ("retain.hf.tuners.feature_layer", "import peft\nfrom retain import linalg"),
        ("retain", "from importlib import import_module\nimport_module('retain.methods.table')"),
    ],
)
def test_an_open_import_passes(module, source):
    assert not import_faults(source, module)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('x')",
        "import torch as t\nt.load('x', weights_only=True)",
        "from torch import load\nload('x')",
        "def f():\n    import torch\n    read = torch.load\n    return read",
        "import yaml\nyaml.load(text, Loader=yaml.SafeLoader)",
        "from yaml import full_load as read\nread(text)",
        "import yaml\nyaml.unsafe_load(text)",
        "model(path, trust_remote_code=True)",
        "model(path, **{'trust_remote_code': True})",
        "options['trust_remote_code'] = True",
        "trust_remote_code: bool = True",
        "def load(path, trust_remote_code=True): ...",
        "def load(path, *, trust_remote_code=True): ...",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
    ],
)
def test_an_unsafe_use_is_found(source):
    assert safety_faults(source, "retain.hf.adapters.load")


@pytest.mark.parametrize(
    "source",
    [
        "import yaml\nyaml.safe_load(text)",
        "import json\njson.load(file)",
        "from safetensors.torch import load_file\nload_file(path)",
        "model(path, trust_remote_code=recipe.trust_remote_code)",
        "def load(path, trust_remote_code=False, safe=True): ...",
        "class Dictionary:\n    def load(self): ...\nDictionary().load()",
    ],
)
def test_a_safe_use_passes(source):
    assert not safety_faults(source, "retain.hf.adapters.load")


def test_files_of_tests_have_names_of_their_own():
    """pytest imports a test file by its name alone."""
    names = [path.name for path in Path(__file__).parents[1].rglob("*.py") if path.name != "conftest.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []
