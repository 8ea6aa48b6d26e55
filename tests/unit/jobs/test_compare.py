"""A comparison: all problems of all runs before any training; what is complete stays."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from retain.errors import InputError
from retain.jobs import compare as module
from retain.jobs.compare import compare
from retain.jobs.comparison_runs import runs_of


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100)


def test_each_run_lies_in_its_own_folder_and_all_share_one(recipe, tmp_path):
    runs = runs_of(recipe(methods=("lora", "vefa"), seeds=2))
    assert {run.shared for run in runs} == {tmp_path / "run"}
    assert len({run.folder.path for run in runs}) == len(runs) == 4
    assert {run.folder.path.parent for run in runs} == {tmp_path / "run" / "runs"}
    assert len({id(run.data) for run in runs}) == len({id(run.preprocessor) for run in runs}) == 1


def test_a_folder_of_another_run_stops_all_before_any_training(recipe, console, monkeypatch):
    given = recipe(methods=("lora", "vefa"))
    runs = runs_of(given)
    runs[1].folder.claim({"training": {"seed": 7}, "measuring": {}})
    runs[1].folder.weights(runs[1].method).mkdir()
    monkeypatch.setattr(module, "complete", None)
    with pytest.raises(InputError, match="holds another run"):
        compare(given, console)


def test_complete_runs_are_not_done_again(recipe, console):
    given = recipe(methods=("lora", "vefa"))
    first = compare(given, console)
    second = compare(given, console)
    assert first == second
    assert [result.method.name for result in first.results] == ["lora", "vefa"]
    assert all(path.is_file() for path in first.paths)
    printed = console.file.getvalue()
    assert printed.count("was complete already") == 2

    assert len(list(Path(given.output).glob("base-*.json"))) == 1, "the base is asked once for all runs"
