"""The matrix of a sequence of tasks, printed."""

import json
from types import SimpleNamespace

import pytest

from retain.cli import sequence
from retain.cli.flags import read_arguments
from retain.jobs import sequence as job


@pytest.fixture
def report(monkeypatch, tmp_path):
    """What the job gives for two tasks; `seen` holds what it was given."""
    seen = SimpleNamespace(runs=None, tasks=None, file=None)

    def read_sequence(runs, tasks):
        seen.runs, seen.tasks = runs, tasks
        return SimpleNamespace(
            tasks=tasks, stages=["one", "two"], matrix=[[0.5, 0.25], [0.4, 0.75]], average=(0.575, (0.5, 0.6)),
            backward=(-0.1, (-0.2, 0.0)), forgetting=(0.1, (0.0, 0.2)), forgetting_with_base=None, forward=None,
        )  # fmt: skip

    def write_sequence(found, file):
        file.write_text(json.dumps(found.matrix), encoding="utf-8")

    monkeypatch.setattr(job, "read_sequence", read_sequence)
    monkeypatch.setattr(job, "write_sequence", write_sequence)
    return seen


def test_the_matrix_and_the_figures_that_there_are(report, tmp_path, capsys):
    file = tmp_path / "figures.json"
    words = ["runs/a", "runs/b", "--tasks", "a, b,", "--output", str(file)]
    sequence.run(read_arguments(sequence.make_parser(), words))
    assert (report.runs, report.tasks) == (["runs/a", "runs/b"], ["a", "b"])
    told = capsys.readouterr().out
    assert "75.0" in told
    assert "BWT, below 0 for loss: -10.0 points [-20.0, 0.0]" in told
    assert "FWT" not in told
    assert json.loads(file.read_text(encoding="utf-8")) == [[0.5, 0.25], [0.4, 0.75]]


def test_the_tasks_must_be_named():
    with pytest.raises(SystemExit):
        read_arguments(sequence.make_parser(), ["runs/a"])
