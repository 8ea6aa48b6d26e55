"""A metric is one source file and one row of the table; no other file of the package names one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from report_samples import sample_run
from retain.budget.certify import certify
from retain.budget.control_losses import suite_losses
from retain.data.examples import Example
from retain.data.preprocess import TextPreprocessor
from retain.evaluate.pair import Pair
from retain.evaluate.runner import measure_pair
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.events import SILENT
from retain.records.metric import Metric
from retain.records.metrics_table import METRICS, Row
from retain.records.result import read_result, write_result
from retain.report.page.markdown import run_markdown
from retain.verdict.column import column_of_items
from tiny import make_llama, make_tokenizer

SOURCE = Path(__file__).parents[2] / "src" / "retain"
TABLE = SOURCE / "records" / "metrics_table.py"
OF_OTHER_PROGRAMS = SOURCE / "records" / "outside_metrics.py"

FILE = '''
"""Overlap of words."""


def overlap(answer, expected):
    """Share of the expected words that stand in the answer."""
    words = set(expected.split())
    return len(words & set(answer.split())) / len(words)
'''
ROW = Row(
    Metric(name="word_overlap", title="words in common", unit="share", low=0.0, high=1.0), "overlap_metric:overlap"
)

SIDES = ("base", "tuned")


@pytest.fixture
def added(tmp_path, monkeypatch):
    (tmp_path / "overlap_metric.py").write_text(FILE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METRICS, ROW.metric.name, ROW)


def measured():
    items = [Example(prompt=f"word{k} a", completion=f" word{k + 1} b") for k in range(30)]
    suites = Suites([Suite("said", "completion", "task", items), Suite("kept", "completion", "keep", items)])
    settings = Settings(generate=30, max_new_tokens=3, batch_size=15, drift=False)
    return measure_pair(
        Pair(make_llama(1), make_llama(0)), TextPreprocessor(make_tokenizer(), 60), suites, settings, SILENT
    )


@pytest.mark.usefixtures("added")
def test_a_row_is_scored_judged_recorded_and_shown_in_its_unit(tmp_path):
    found = measured()
    (task,) = [score for score in found.task if score.metric == ROW.metric]
    (kept,) = [score for score in found.keep if score.metric == ROW.metric]
    assert task.n == kept.n == 30
    assert all("word_overlap" in item.tuned.scores for item in found.items)
    (evidence,) = [one for one in found.evidence.task if one.metric == ROW.metric]
    assert (evidence.interval, evidence.chance) == (task.interval, 0.0)

    result = sample_run(**found.fields())
    write_result(result, tmp_path / "result.json")
    again = read_result(tmp_path / "result.json")
    assert ROW.metric in {score.metric for score in again.task}
    rows = [line for line in run_markdown(again, found.items).splitlines() if "words in common (points)" in line]
    assert len(rows) == 2
    assert f"{100 * task.base:.1f}" in rows[0]


@pytest.mark.usefixtures("added")
def test_a_budget_may_rest_on_it():
    kept = [item for item in measured().items if item.part == "keep"]
    ended = {"cut_off": False}  # as if this untrained model ended its answers by itself
    items = [
        one.model_copy(update={side: getattr(one, side).model_copy(update=ended) for side in SIDES}) for one in kept
    ]
    column = column_of_items("kept", ROW.metric, items)
    assert certify(suite_losses(column, limit=2.0), 0.95).metric == ROW.metric


def named_metrics(path: Path) -> list[str]:
    """The string literals of a file that are the name of a metric of the table, docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in texts)
    return [f"{path.name}:{node.lineno} {node.value!r}" for node in strings if node.value in METRICS]


FIELDS = {
    "compare/pick.py": "fields of the drift record",
    "evaluate/columns.py": "a sum over windows of held-out text",
    "evaluate/drift/summary.py": "a sum over windows of held-out text",
    "evaluate/refusal_judges.py": "a key of what a judge writes",
    "evaluate/refusals.py": "a key of labelled answers",
    "evaluate/scores/calibration_error.py": "a field of a reliability bin",
    "exporting/servers/judge.py": "a level of a finding",
    "exporting/servers/rules.py": "a level of a finding",
    "exporting/servers/words.py": "a level of a finding",
    "jobs/launch/support.py": "a state of a cell of the table of backends",
    "jobs/sweep/bench.py": "a field of a sweep's point",
    "report/page/summary_files.py": "fields of the drift record",
    "report/tables/methods_as_a_whole.py": "a field of the drift record",
    "train/loop.py": "a field of a point of the training curve",
}
"""Files in which a field of another record has the name of a metric."""


def test_no_other_file_names_a_metric():
    paths = [path for path in sorted(SOURCE.rglob("*.py")) if path not in {TABLE, OF_OTHER_PROGRAMS}]
    found = {path.relative_to(SOURCE).as_posix(): named_metrics(path) for path in paths}
    assert {name for name, places in found.items() if places} <= set(FIELDS), found
    assert sum(map(len, found.values())) <= 22


def test_a_name_in_the_source_would_be_found(tmp_path):
    (tmp_path / "guess.py").write_text('"""Of accuracy."""\nunit = {"chrf": 1}\n', encoding="utf-8")
    assert named_metrics(tmp_path / "guess.py") == ["guess.py:2 'chrf'"]
