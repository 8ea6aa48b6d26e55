"""What the site shows beyond docs/: README, studies, benchmarks and the files that pages link to, where they lie.

A page keeps the links that it has in the repository. They are rewritten here while the site is built: to a page of
the site, or to the file itself (an image, a table), or, for source code, to a page that shows it. mkdocs then checks
every link and anchor.
"""

# ruff: noqa: INP001  # mkdocs loads it by its path

from __future__ import annotations

import os
import re
import sys
from argparse import SUPPRESS
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
OUTSIDE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/*.md", "studies/**/*.md")
"""Pages that lie outside docs/."""

SHOWN = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".txt": "text"}
"""Files that become a page with their text; others are offered as they are."""

LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?(\))")
VERBS = "<!-- every verb with its flags -->"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie outside docs/, and what they and the pages inside link to."""
    pages = [path.relative_to(ROOT).as_posix() for pattern in OUTSIDE for path in sorted(ROOT.glob(pattern))]
    for path in pages:
        files.append(File.generated(config, site_uri(path), abs_src_path=str(ROOT / path)))
    inside = [f"docs/{file.src_uri}" for file in files.documentation_pages() if file.generated_by is None]
    for target in sorted({target for path in [*pages, *inside] for target in targets(path)}):
        uri = site_uri(target)
        if target.startswith("docs/") or target in pages or files.get_file_from_path(uri) is not None:
            continue
        if shown(target):
            files.append(File.generated(config, uri, content=source_page(target)))
        else:
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite a page's links from the repository's paths to the site's."""
    path = repository_path(page.file)
    here = PurePosixPath(page.file.src_uri).parent

    def renewed(match: re.Match[str]) -> str:
        target = resolved(path, match[2])
        if target is None:
            return match[0]
        link = os.path.relpath(site_uri(target), here)
        return f"{match[1]}{link}{match[3] or ''}{match[4]}"

    text = "".join(LINK.sub(renewed, part) if prose else part for part, prose in parts(markdown))
    return text.replace(VERBS, verbs()) if VERBS in text else text


def repository_path(file: File) -> str:
    """The path in the repository of a page of the site."""
    own = Path(file.abs_src_path or ROOT / "docs" / file.src_uri)
    return own.relative_to(ROOT).as_posix() if own.is_relative_to(ROOT) else f"docs/{file.src_uri}"


def site_uri(path: str) -> str:
    """The place in the site's sources of a file of the repository."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if shown(path):
        return f"source/{path}.md"
    return path.replace("/README.md", "/index.md")


def shown(path: str) -> bool:
    """Tell whether a file is shown as a page of source text."""
    return PurePosixPath(path).suffix in SHOWN and not path.startswith("docs/")


def source_page(path: str) -> str:
    """A page with the text of a file, within a fence that is longer than any in it."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return f"# {path}\n\n``````{SHOWN[PurePosixPath(path).suffix]}\n{text}``````\n"


def targets(path: str) -> Iterator[str]:
    """The files of the repository that a page links to."""
    markdown = (ROOT / path).read_text(encoding="utf-8")
    for part, prose in parts(markdown):
        for match in LINK.finditer(part) if prose else ():
            target = resolved(path, match[2])
            if target is not None:
                yield target


def resolved(path: str, link: str) -> str | None:
    """The file of the repository that a page's link leads to; None where there is none (mkdocs then warns)."""
    target = os.path.normpath(PurePosixPath(path).parent / link)
    return target if not target.startswith("..") and (ROOT / target).is_file() else None


def parts(markdown: str) -> Iterator[tuple[str, bool]]:
    """A text in pieces, each with whether it is prose: fenced blocks and code in a line are not."""
    code = re.compile(r"^(`{3,}).*?^\1`*[ ]*$|(?<!`)(`+)(?!`).+?(?<!`)\2(?!`)", re.MULTILINE | re.DOTALL)
    end = 0
    for match in code.finditer(markdown):
        yield markdown[end : match.start()], True
        yield match[0], False
        end = match.end()
    yield markdown[end:], True


def verbs() -> str:
    """Every verb with its description and its flags, from the parser itself."""
    sys.path.insert(0, str(ROOT / "src"))
    from retain.cli.verbs import VERBS as MODULES  # noqa: PLC0415  # the parser of this checkout

    return "\n\n".join(verb(name, module) for name, module in MODULES.items())


def verb(name: str, module: Any) -> str:
    """One verb as Markdown: a table for each group of its flags."""
    parser = module.make_parser()
    text = [f"## retain {name}", parser.description or module.HELP]
    for group in parser._action_groups:  # noqa: SLF001  # argparse has no public list of its groups
        actions = [action for action in group._group_actions if action.help is not SUPPRESS]  # noqa: SLF001  # likewise
        rows = [row(action) for action in actions if "--help" not in action.option_strings]
        if rows:
            text += [f"**{(group.title or 'options').capitalize()}**", "\n".join(["| | |", "|---|---|", *rows])]
    return "\n\n".join(text)


def row(action: Any) -> str:
    """A flag or argument, what may follow it, and its help."""
    flag = action.option_strings[-1] if action.option_strings else action.dest
    following = action.metavar or (",".join(map(str, action.choices)) if action.choices else "")
    text = (action.help or "").replace("%%", "%").replace("|", "\\|")
    default = "" if action.default in {None, SUPPRESS} or "[" in text else f" [{action.default}]"
    return f"| `{flag}` {following if isinstance(following, str) else ''} | {text}{default} |"
