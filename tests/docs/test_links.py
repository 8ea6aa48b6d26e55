"""Every link of README, docs, studies and benchmarks leads somewhere, and so does every page that source text names."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from pages import ROOT, anchors, links

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "studies/**/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
    if "runs" not in path.relative_to(ROOT).parts
)
SOURCES = sorted(
    path
    for pattern in ("src/**/*.py", "src/**/*.jinja", "src/**/*.yaml", "examples/*.py", "benchmarks/*.py", "recipes/*")
    for path in ROOT.glob(pattern)
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_a_page(page):
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), f"{link}: neither a file of the repository nor https"
            continue
        target, _, anchor = unquote(link).partition("#")
        file = (page.parent / target).resolve() if target else page
        if not file.is_relative_to(ROOT) or not file.exists():
            broken.append(f"{link}: there is no such file")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            broken.append(f"{link}: has no such heading; there are {sorted(anchors(file))}")
    assert not broken


def test_pages_named_in_source_exist():
    broken = []
    for source in SOURCES:
        pages = re.findall(r"\bdocs/[\w/-]+\.md", source.read_text(encoding="utf-8"))
        broken += [f"{source.relative_to(ROOT)}: {page}" for page in pages if not (ROOT / page).is_file()]
    assert not broken


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")}
    assert {page for page in pages if f": {page}\n" not in navigation} == set()
