"""Going on from an earlier run: its recipe without secrets, and the predictions of its first base."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from retain.data.item_types import Choice, Match
from retain.errors import InputError
from retain.evaluate.predictions import Predictions
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.evaluate.tasks.task_type import Response
from retain.events import Events
from retain.jobs.continue_run import ensure_merged, note_origin, note_recipe, origin_predictions
from retain.recipe import Recipe
from retain.records.manifest import MANIFEST
from retain.records.result import Conditions

BASIC = {"model": "m", "train": "t", "test": "e"}
FACTS = ("engine", "dtype", "attention", "device", "preprocessor_hash", "input_hash")


def suite(name, *questions):
    items = [Choice(question=question, choices=("a", "b"), answer=0) for question in questions]
    return Suite(name, "choice", "keep", items)


def search(*suites, **settings):
    """The part of a budget search that is read here."""
    chosen = replace(Settings(), **settings)
    return SimpleNamespace(control=Suites(list(suites)), limits={one.name: 5.0 for one in suites}, settings=chosen)


def predictions(*suites):
    responses = {one.name: tuple(Response(answer=item.question) for item in one.items) for one in suites}
    conditions = Conditions(**dict.fromkeys(FACTS, "x"))
    return Predictions(responses=responses, truncated=dict.fromkeys(responses, 0), conditions=conditions)


LETTERS, WORDS = suite("letters", "p", "q"), suite("words", "r")


@pytest.fixture
def earlier(tmp_path):
    """The folder of a run whose base answered two suites; its judge's command holds a key."""
    note_origin(tmp_path, search(LETTERS, WORDS, judge="judge --key SECRET"), predictions(LETTERS, WORDS))
    return tmp_path


def test_what_the_first_base_answered_is_read_again(earlier):
    same, notes = origin_predictions(str(earlier), search(LETTERS, judge="judge --key SECRET"))
    assert [response.answer for response in same["letters"]] == ["p", "q"]
    assert notes == []
    assert "SECRET" not in (earlier / "control-base.json").read_text(encoding="utf-8")


def test_other_control_data_count_from_the_earlier_model_and_are_told(earlier):
    other = suite("letters", "p", "s")
    same, notes = origin_predictions(str(earlier), search(other, WORDS, judge="judge --key SECRET"))
    assert list(same) == ["words"]
    assert len(notes) == 1
    assert notes[0].startswith("letters: its control data are not those of the earlier run")


def test_the_bases_index_is_that_of_this_runs_base_so_its_limit_counts_from_there(tmp_path):
    """The first base searched its own index; the tuned model here searches that of the earlier run's model."""
    pairs = [Match(query=text, match=f"{text} {text}") for text in "pqr"]
    index = Suite("index", "retrieval", "keep", pairs, options={"index": "base"})
    own = Suite("own", "retrieval", "keep", pairs, options={"index": "own"})
    responses = {one.name: tuple(Response(values={"top_1": 1.0}) for _ in pairs) for one in (index, own)}
    note_origin(tmp_path, search(index, own), predictions().model_copy(update={"responses": responses}))
    same, notes = origin_predictions(str(tmp_path), search(index, own))
    assert list(same) == ["own"]
    assert len(notes) == 1
    assert notes[0].startswith("index: its index is that of the base, which here is the earlier run's model, so its")


def test_suites_without_a_limit_are_left_alone(earlier):
    job = search(LETTERS, WORDS, judge="judge --key SECRET")
    job.limits.pop("words")
    assert list(origin_predictions(str(earlier), job)[0]) == ["letters"]


@pytest.mark.parametrize("setting", [{"keep_score": "token"}, {"max_length": 64}, {"judge": "judge --key OTHER"}])
def test_answers_under_other_settings_cannot_be_used(earlier, setting):
    settings = {"judge": "judge --key SECRET", **setting}
    with pytest.raises(InputError, match=f"with another {next(iter(setting))}"):
        origin_predictions(str(earlier), search(LETTERS, **settings))


def test_settings_that_no_answer_depends_on_may_differ(earlier):
    settings = {"judge": "judge --key SECRET", "batch_size": 3, "margin": 0.5, "seed": 9, "generate": 0}
    assert origin_predictions(str(earlier), search(LETTERS, **settings))[0]


@pytest.mark.parametrize("text", ["{", "{}", '{"answers": 3, "put": {}, "suites": {}}'])
def test_damaged_answers_are_told(tmp_path, text):
    (tmp_path / "control-base.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is damaged"):
        origin_predictions(str(tmp_path), search(LETTERS))


@pytest.mark.parametrize("folder", [None, "nowhere"])
def test_without_an_earlier_budget_there_is_nothing_to_count_from(folder):
    assert origin_predictions(folder, search(LETTERS)) == ({}, [])


def test_a_recipe_is_noted_without_the_judge_and_written_once(tmp_path):
    recipe = Recipe(**BASIC, output=str(tmp_path), judge="judge --key SECRET", rank=3)
    note_recipe(recipe, tmp_path)
    path = tmp_path / "recipe.json"
    assert "SECRET" not in path.read_text(encoding="utf-8")
    assert Recipe(**json.loads(path.read_text(encoding="utf-8"))) == recipe.model_copy(update={"judge": None})
    stamp = path.stat().st_mtime_ns
    note_recipe(recipe, tmp_path)
    assert path.stat().st_mtime_ns == stamp


def test_only_a_run_that_delivered_something_can_be_gone_on_from(tmp_path):
    note_recipe(Recipe(**BASIC, output=str(tmp_path)), tmp_path)
    on = {"from_run": str(tmp_path), "output": "o"}
    ensure_merged(Recipe(**BASIC, output="o"), Events())
    ensure_merged(Recipe(**{**BASIC, **on}), Events())  # another model was chosen
    with pytest.raises(InputError, match="delivered no adapter"):
        ensure_merged(Recipe(**{**BASIC, **on, "model": str(tmp_path / "merged")}), Events())


def test_a_full_model_is_copied(tmp_path):
    note_recipe(Recipe(**BASIC, output=str(tmp_path), method="full"), tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    recipe = Recipe(**{**BASIC, "from_run": str(tmp_path), "output": "o", "model": str(tmp_path / "merged")})
    ensure_merged(recipe, Events())
    assert (tmp_path / "merged" / "config.json").is_file()
    assert [path.name for path in tmp_path.glob(".*")] == [MANIFEST]
