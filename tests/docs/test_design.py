"""What the documentation names is there: the rooms of the source, files, modules and their members, log entries."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module

import pytest
from pages import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
SOURCE = ROOT / "src" / "retain"


def test_every_room_is_in_the_table_in_the_order_of_its_imports():
    rows = re.findall(r"^\| `(\w+)/?` \|", (ROOT / "docs" / "design.md").read_text(encoding="utf-8"), re.MULTILINE)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = [contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers"]
    level = {room: height for height, rooms in enumerate(reversed(layers)) for room in rooms.split(" | ")}
    assert set(rows) == level.keys() - {"__main__"}  # which only calls the command line
    assert rows == sorted(rows, key=level.__getitem__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_named_in_code_style_exist(page):
    missing = []
    for name in re.findall(r"`((?:[\w.-]+/)+[\w.-]+(?:\.py|/))`", page.read_text(encoding="utf-8")):
        below_source = (SOURCE / name, SOURCE.parent / name)
        if "NAME" not in name and not any(path.exists() for path in (*below_source, ROOT / name)):
            missing.append(name)
    assert missing == []


def resolves(name: str) -> bool:
    """Tell whether a dotted name leads to a module or to a member of one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_names_resolve(page):
    names = set(re.findall(r"`(?:with )?(retain(?:\.\w+)+)(?=[(:`])", page.read_text(encoding="utf-8")))
    assert sorted(name for name in names if not resolves(name)) == []


def test_names_in_logs_are_written():
    page = (ROOT / "docs" / "guides" / "regularisation.md").read_text(encoding="utf-8")
    source = "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    names = re.findall(r"`(retain_\w+)`", page)
    assert [name for name in names if f"{name}=" not in source and f'"{name}": ' not in source] == []
