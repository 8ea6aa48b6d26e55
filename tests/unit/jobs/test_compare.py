"""A comparison: all problems of all runs before any training; what is complete stays."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from full_samples import full_run
from retain.data.row_limit import Sample
from retain.errors import InputError
from retain.jobs import compare as module
from retain.jobs.compare import compare
from retain.jobs.comparison_runs import planned_conflicts, runs_of
from retain.jobs.identity import run_names
from retain.jobs.inputs.prepare import prepare
from retain.recipe import Recipe
from retain.records.result import write_result


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


def test_what_stops_a_run_is_known_before_anything_is_run(recipe, tmp_path):
    one, several = recipe(), recipe(methods=("lora", "vefa"))
    assert planned_conflicts(one, prepare(one)) == planned_conflicts(several, prepare(several)) == []
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.md").write_text("mine", encoding="utf-8")
    [told] = planned_conflicts(one, prepare(one))
    assert "holds no run of retain" in told
    (tmp_path / "run" / "result.json").write_text("{}", encoding="utf-8")
    [told] = planned_conflicts(several, prepare(several))
    assert "whose report would be replaced" in told
    prepared = prepare(several)
    in_part = prepared._replace(data=replace(prepared.data, sample=Sample((0, 4), 9)))
    assert planned_conflicts(several, in_part) == [told]


@pytest.mark.parametrize(("seed", "expected"), [(0, []), (3, ["holds another run (it differs in seed)"])])
def test_a_folder_of_another_run_is_told_of_before_training(recipe, make_run, seed, expected):
    run = make_run()
    run.folder.claim(run.identity)
    run.folder.weights(run.method).mkdir()
    again = recipe(seed=seed)
    told = planned_conflicts(again, prepare(again))
    assert len(told) == len(expected)
    assert all(part in one for part, one in zip(expected, told, strict=True))


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


@pytest.mark.parametrize("place", ["runs", "runs/vefa-lr0.003-seed0"])
def test_a_file_where_a_folder_of_runs_should_be_is_told_before_any_training(recipe, console, monkeypatch, place):
    given = recipe(methods=("lora", "vefa"))
    path = Path(given.output) / place
    path.parent.mkdir(parents=True)
    path.write_text("", encoding="utf-8")
    monkeypatch.setattr(module, "complete", None)
    with pytest.raises(InputError, match=f"{path} is a file, where a folder should be; move it away"):
        compare(given, console)


def test_what_the_command_reads_and_keeps_of_a_run_is_the_same_however_many_there_are(recipe, tmp_path, monkeypatch):
    """Files that are opened and folders that are listed, for complete runs: so many each, at 4 runs as at 12."""
    counts = {}
    for number in (4, 8, 12):
        given = recipe(methods=("lora",), seeds=number, output=str(tmp_path / str(number)))
        runs = runs_of(given)
        for run in runs:
            run.folder.claim(run.identity)
            write_result(full_run(), run.folder.result)
        monkeypatch.setattr(module, "runs_of", lambda _, runs=runs: runs)
        monkeypatch.setattr(module, "write_comparison", lambda *_: [])
        begun, operations = [True], []
        sys.addaudithook(
            lambda event, _, begun=begun, operations=operations: (
                begun and event in {"open", "os.listdir", "os.scandir", "os.rename"} and operations.append(event)
            )
        )
        found = compare(given, Console(file=io.StringIO(), width=100))
        begun.clear()
        assert len(found.results) == number
        counts[number] = len(operations)
    assert counts[12] - counts[8] == counts[8] - counts[4] < 4 * 40


def test_names_of_a_thousand_runs_are_made_in_one_pass(monkeypatch):
    asked = []
    monkeypatch.setattr(Recipe, "method_key", property(lambda self: asked.append(1) or str(self.method)))
    recipe = Recipe(model="m", train="t", test="e", output="o", methods=("lora", {"name": "lora", "r": 2}), seeds=500)
    assert len(set(run_names(recipe.runs()))) == 1000
    assert len(asked) <= 2 * 1000
