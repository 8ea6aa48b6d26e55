"""Scripts of studies, benchmarks and examples name what is there: they are not run here, but their imports are."""

from __future__ import annotations

import ast
from importlib import import_module
from importlib.util import find_spec

import pytest
from pages import ROOT

SCRIPTS = sorted(path for folder in ("studies", "benchmarks", "examples") for path in ROOT.glob(f"{folder}/**/*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_script_imports_is_there(script):
    missing = []
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "retain":
            module = import_module(node.module)
            missing += [
                f"{node.module}.{alias.name}"
                for alias in node.names
                if not hasattr(module, alias.name) and find_spec(f"{node.module}.{alias.name}") is None
            ]
    assert missing == []
