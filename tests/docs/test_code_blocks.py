"""Every code block of README and docs is run, parsed or validated; one that is not says why.

Python blocks of a page run in order in one namespace, in a folder with a tiny model and data under the names that the
pages use. Each command of a shell block is parsed by the real parser and its recipe validated; those named in `RUN` are
run.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib

import pytest
import yaml
from pages import ROOT, blocks, commands

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
BLOCKS = [block for page in PAGES for block in blocks(page)]
PYTHON_PAGES = sorted({block.page for block in BLOCKS if block.language == "python" and not block.not_run})
SHELL = [block for block in BLOCKS if block.language == "sh"]
COMMANDS = list(dict.fromkeys((block.page, command) for block in SHELL for command in commands(block)))

RUN = (
    "retain check --model MODEL --train train.jsonl",
    "retain measure --model BASE --tuned ADAPTER_OR_MODEL --test test.jsonl --keep facts.jsonl",
    "retain gate runs/measured",
    "retain check recipe.yaml --budget capitals:5 --budget kl:0.1",
    "retain scale runs/first --alpha 0.5",
)
"""Beginnings of the commands that are cheap enough to be run."""


@pytest.mark.parametrize("page", PYTHON_PAGES)
def test_python_blocks(page, namespace):
    names = namespace(page)
    for block in BLOCKS:
        if (block.page, block.language) == (page, "python") and not block.not_run:
            code = compile("\n" * block.line + block.text, ROOT / page, "exec")
            exec(code, names)  # noqa: S102  # that is the test
    names["__finish__"]()


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}: {command[:60]}" for page, command in COMMANDS])
def test_shell_command(page, command, request):
    words = shlex.split(command)
    if words[0] == "retain":
        retain = request.getfixturevalue("retain")
        retain.parse(words[1:])
        if command.startswith(RUN):
            retain.run(words[1:])
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1:])
    elif words[:2] == ["pip", "install"]:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        assert set(re.findall(r"[\w-]+", "".join(re.findall(r"\[(.*)\]", words[-1])))) <= extras.keys()
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
    else:
        pytest.fail(f"{command}: no such command is known here")


def test_commands_that_are_run_are_there():
    assert [beginning for beginning in RUN if not any(command.startswith(beginning) for _, command in COMMANDS)] == []


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml" and not b.not_run], ids=str)
def test_yaml_block(block, workspace, retain):
    values = yaml.safe_load(block.text)
    if "suite" in values:
        retain.load_suite(values["name"], block.text)
    else:
        (workspace / "block.yaml").write_text(block.text, encoding="utf-8")
        retain.parse(["check", "block.yaml"])


def test_every_block_is_of_a_known_kind():
    known = {"python", "sh", "yaml", "json", "text"}  # text is what a program prints
    assert [str(block) for block in BLOCKS if block.language not in known and not block.not_run] == []


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"], ids=str)
def test_json_is_json(block):
    assert json.loads(block.text)


def test_what_is_not_run_says_why():
    assert [str(block) for block in BLOCKS if block.not_run and len(block.not_run.split()) < 3] == []
