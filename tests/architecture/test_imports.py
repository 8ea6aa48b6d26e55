"""Imports run downwards only, and nothing in src runs code that comes with data. Read from the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

LEVELS = (
    {"errors", "events"},
    {"records"},
    {"recipe", "stats", "linalg", "kernels"},
    {"verdict"},
    {"hf"},
    {"activations"},
    {"methods"},
    {"data"},
    {"train", "evaluate", "export"},
    {"budget"},
    {"compare"},
    {"report"},
    {"jobs"},
    {"cli", "__main__"},
)
"""Folders and modules under retain, lowest first. What is on one level does not import one another."""

LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
REPORT_READS = {"errors", "records", "compare", "report"}
CODE_IN_DATA = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def package_of(module: str) -> str:
    """The folder or module directly under retain; "" for retain itself."""
    return module.split(".")[1] if "." in module else ""


def imported(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    """Dotted names of all that is imported, wherever in the file; `from a import b` gives a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                parents = module.split(".")
                parents = parents[: len(parents) - node.level + is_package]
                start = ".".join([*parents, start]).rstrip(".")
            yield from (f"{start}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _last_name(node.func) in {"import_module", "__import__"}:
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str))


def import_faults(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What a file imports and must not."""
    names = imported(ast.parse(source), module, is_package=is_package)
    reasons = ((name, _outside(package_of(module), name) or _inside(package_of(module), name)) for name in names)
    return [f"{module} imports {name}: {reason}" for name, reason in reasons if reason]


def _outside(here: str, name: str) -> str | None:
    top = name.split(".", maxsplit=1)[0]
    if top == "peft" and here != "hf":
        return "only hf/ knows PEFT"
    return "data that run code when read" if top in CODE_IN_DATA else None


def _inside(here: str, name: str) -> str | None:
    """The root's table of contents loads lazily, so it may name every level but cli; all others look downwards."""
    there = package_of(name)
    if name.split(".", maxsplit=1)[0] != "retain" or there == here:
        return None
    if not here:
        return "only cli does" if there == "cli" else None
    if here not in LEVEL:
        return f"{here!r} has no level yet; put it into LEVELS"
    if there not in LEVEL:
        return "from retain itself; import from the module that defines it"
    if LEVEL[there] >= LEVEL[here]:
        return "not downwards"
    return "report reads records only" if here == "report" and there not in REPORT_READS else None


def safety_faults(source: str, module: str) -> list[str]:
    """Uses of torch.load, of any yaml loader but safe_load, and literal trust_remote_code=True or allow_pickle=True."""
    tree = ast.parse(source)
    names = dict(_bound_names(tree))
    faults = []
    for node in ast.walk(tree):
        used = _full_name(node, names)
        if used in {"torch.load", "torch.serialization.load"}:
            faults.append(f"{module}:{node.lineno} uses {used}: unpickles")
        if used and used.startswith("yaml.") and "load" in used.lower() and used != "yaml.safe_load":
            faults.append(f"{module}:{node.lineno} uses {used}: only yaml.safe_load")
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


def test_imports_run_downwards():
    faults = [
        fault
        for path, module in source_files()
        for fault in import_faults(path.read_text("utf-8"), module, is_package=path.name == "__init__.py")
    ]
    assert not faults, "\n".join(faults)


def test_nothing_runs_code_that_comes_with_data():
    faults = [fault for path, module in source_files() for fault in safety_faults(path.read_text("utf-8"), module)]
    assert not faults, "\n".join(faults)


def test_there_are_files_to_check():
    assert {"retain", "retain.errors", "retain.records.result"} <= {module for _, module in source_files()}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("retain.errors", "from retain.records.result import Drift"),
        ("retain.records.result", "import retain.linalg"),
        ("retain.hf.tuners.feature_layer", "from retain.methods.vefa import config"),
        ("retain.methods.vefa.layer", "from retain.train.loop import train"),
        ("retain.train.loop", "from retain.evaluate.runner import measure_pair"),
        ("retain.evaluate.runner", "from retain import training"),
        ("retain.evaluate.runner", "from .. import training"),
        ("retain.evaluate.scores.rows", "from ...export.merge import merge"),
        ("retain.data.sources", "def late():\n    from retain.jobs.tune import tune"),
        ("retain.data.sources", "if TYPE_CHECKING:\n    from retain.train import loop"),
        ("retain.data.sources", "import importlib\nimportlib.import_module('retain.cli.main')"),
        ("retain.report.page.run_page", "from retain.stats.mcnemar import counts"),
        ("retain.report.page.run_page", "import retain.linalg"),
        ("retain.jobs.tune", "from retain.cli.screen import show"),
        ("retain", "from retain.cli.main import main"),
        ("retain.evaluate.runner", "from retain import VeFAConfig"),
        ("retain.evaluate.runner", "import retain"),
        ("retain.novelty.thing", "from retain.errors import InputError"),
        ("retain.train.loop", "import peft"),
        ("retain", "from peft import PeftModel"),
        ("retain.methods.vefa.layer", "from peft.tuners.tuners_utils import BaseTunerLayer"),
        ("retain.evaluate.pair", "def late():\n    __import__('peft')"),
        ("retain.hf.adapters.load", "import pickle"),
        ("retain.hf.adapters.load", "from cloudpickle import loads"),
    ],
)
def test_a_wrong_import_is_found(module, source):
    assert import_faults(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("retain.records.result", "from retain.errors import InputError"),
        ("retain.hf.tuners.feature_layer", "import peft\nfrom retain import linalg"),
        (
            "retain.methods.vefa.layer",
            "from retain.hf.tuners.feature_layer import FeatureLayer\nfrom ..lorfa import equations",
        ),
        ("retain.evaluate.scores.rows", "from .paired import counts\nfrom ...errors import InputError"),
        (
            "retain.report.page.run_page",
            "from retain.records.result import Drift\nfrom retain.report import words\nimport jinja2",
        ),
        ("retain.cli.main", "import retain.jobs.tune\nimport retain.errors as e"),
        ("retain", "def __getattr__(name):\n    from retain.methods.vefa import config"),
    ],
)
def test_a_right_import_passes(module, source):
    assert not import_faults(source, module)


def test_relative_imports_of_a_package_start_at_the_package():
    assert not import_faults("from .loop import train", "retain.train", is_package=True)
    assert import_faults("from ..evaluation import runner", "retain.train", is_package=True)


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
