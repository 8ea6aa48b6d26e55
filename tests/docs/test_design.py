"""The design page names every room of the source, and every file that a page of the documentation names is there."""

from __future__ import annotations

import re

import pytest
from pages import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
SOURCE = ROOT / "src" / "retain"


def test_every_room_is_in_the_table():
    rows = re.findall(r"^\| `(\w+)/?` \|", (ROOT / "docs" / "design.md").read_text(encoding="utf-8"), re.MULTILINE)
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert set(rows) == {*rooms, "errors"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_named_in_code_style_exist(page):
    missing = []
    for name in re.findall(r"`((?:[\w.-]+/)+[\w.-]+(?:\.py|/))`", page.read_text(encoding="utf-8")):
        below_source = (SOURCE / name, SOURCE.parent / name)
        if not any(path.exists() for path in (*below_source, ROOT / name)):
            missing.append(name)
    assert missing == []
