"""Nothing runs most scripts of studies, benchmarks, examples and assets: `make types` must check them all."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
OTHERWISE = {"src", "tests"}
"""Folders whose Python files are checked or run in another way."""


def checked() -> set[str]:
    """The folders that `make types` names."""
    named = re.search(r"^SCRIPTS := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return set(named[1].replace("\\\n", " ").split())


def folders_with_scripts() -> set[str]:
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").split()}
    tops = [top for top in ROOT.iterdir() if top.is_dir() and not top.name.startswith(".")]
    scripts = [file for top in tops if top.name not in OTHERWISE | ignored for file in top.rglob("*.py")]
    loose = [file for file in scripts if not (file.parent / "__init__.py").exists()]
    return {file.parent.relative_to(ROOT).as_posix() for file in loose}


def test_every_folder_of_scripts_is_checked_by_make_types():
    assert folders_with_scripts() == checked()
