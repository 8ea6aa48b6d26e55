"""What a base said is kept for runs in other folders, and taken only where it is what would be asked again."""

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from chat_samples import QWEN3, make_character_tokenizer
from retain.data.examples import Example
from retain.data.preprocess import TextPreprocessor
from retain.evaluate.suites.suite import Settings, Suite
from retain.evaluate.tasks.predictor import LocalPredictor
from retain.evaluate.tasks.table import task_type_of
from retain.events import SILENT
from retain.hf.models.describe import model_hash
from retain.jobs import asked as asked_module
from retain.jobs import prediction_cache as module
from retain.jobs.asked import Asked
from retain.jobs.base_predictions import base_predictions
from retain.jobs.measure import measure_recipe
from retain.jobs.prediction_cache import PredictionCache
from retain.jobs.tune import tune
from retain.recipe import MeasureRecipe
from tiny import make_llama

KEEP = [{"question": f"word{i} then", "choices": ["walrus", f"heron{i}"], "answer": i % 2} for i in range(12)]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def another(make_run, tmp_path, cache):
    """A run in a folder of its own; prepared once for each recipe."""
    folders, prepared = iter(range(99)), {}

    def make(**fields):
        known = str(fields)
        if known not in prepared:
            prepared[known] = make_run(**{"cache": str(cache), **fields})
        return replace(prepared[known], shared=tmp_path / f"run-{next(folders)}")

    return make


def passes(run, change=None):
    """The predictions of a run's base, and how often the base was read for them."""
    base, count = run.base(), []
    if change is not None:
        base = change(base)
    hashed = model_hash(base)
    base.register_forward_pre_hook(lambda *_: count.append(1))
    return base_predictions(run, base, hashed), len(count)


def test_a_run_in_another_folder_asks_the_base_nothing(another, cache, tmp_path):
    keep = tmp_path / "birds.jsonl"
    keep.write_text("".join(json.dumps(row) + "\n" for row in KEEP), encoding="utf-8")
    first, asked = passes(another(keep=[str(keep)], generate=4))
    second, again = passes(another(keep=[str(keep)], generate=4, seed=7, margin=3))
    assert asked > 0
    assert again == 0
    assert second.responses == first.responses  # with the texts of the options, which are in no file:
    [file] = (cache / "predictions").iterdir()
    assert not any(word in file.read_text() for word in ("walrus", "heron", "then"))
    assert (cache / "predictions").stat().st_mode & 0o077 == 0
    assert second.kept_on
    assert not first.kept_on


def test_an_expected_call_of_a_tool_is_filled_in_again():
    tokenizer = make_character_tokenizer(QWEN3)
    turns = [{"role": "user", "content": "time?"}, {"role": "assistant", "tool_calls": [CALL]}]
    suite = Suite("calls", "completion", "task", [Example.parse({"messages": turns})])
    preprocessor, task = TextPreprocessor(tokenizer, 400), task_type_of(suite)
    model = make_llama(vocabulary=len(tokenizer))
    predictor = LocalPredictor(model, preprocessor, Settings(generate=1, max_new_tokens=2), lambda _: None)
    [asked] = task.predict(suite, predictor).responses
    bare = task.without_texts(asked)
    assert "Rome" in asked.expected
    assert "Rome" not in bare.model_dump_json()
    assert task.with_texts(suite, [bare], preprocessor) == (asked,)


CALL = {"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": '{"town": "Rome"}'}}


def test_anything_that_could_change_an_answer_is_asked_anew(another, monkeypatch):
    passes(another())

    def other_end(base):
        base.generation_config.eos_token_id = 5
        return base

    def scaled(base):
        base.lm_head.weight.data.mul_(1.5)
        return base

    def in_16_bits(base):
        return base.bfloat16()

    assert [passes(another(), change)[1] > 0 for change in (other_end, scaled, in_16_bits)] == [True] * 3
    assert passes(another(test_items=9))[1] > 0
    assert passes(another(keep_score="token"))[1] > 0
    run = another()
    ended = copy.deepcopy(run.preprocessor)
    ended.tokenizer.eos_token = ended.tokenizer.unk_token
    assert passes(replace(run, preprocessor=TextPreprocessor(ended.tokenizer, ended.max_length)))[1] > 0
    assert passes(another())[1] == 0
    monkeypatch.setattr(asked_module, "code_hash", lambda: "another version")
    assert passes(another())[1] > 0


def test_a_file_that_is_not_what_its_name_says_counts_as_none(another, cache):
    first, _ = passes(another())
    [file] = (cache / "predictions").iterdir()
    whole = file.read_text(encoding="utf-8")

    def edited(change):
        content = json.loads(whole)
        change(content)
        return json.dumps(content)

    damaged = [
        whole[: len(whole) // 2],
        "",
        "[1]",
        edited(lambda content: content.update(key="0" * 64)),
        edited(lambda content: content["predictions"]["responses"]["letters"].pop()),
        edited(lambda content: content["predictions"]["responses"]["letters"][0].update(options=[0.0] * 4)),
    ]
    for text in damaged:
        file.write_text(text, encoding="utf-8")
        found, asked = passes(another())
        assert asked > 0
        assert found == first
        assert file.read_text(encoding="utf-8") == whole
    file.unlink()
    file.mkdir()
    assert passes(another())[1] > 0


def test_a_cache_that_cannot_be_written_to_stops_nothing(another, cache, make_run, tmp_path):
    cache.write_text("a file", encoding="utf-8")
    first, asked = passes(another())
    assert asked > 0
    off, again = passes(another(cache="off"))
    assert again > 0
    assert off == first
    assert cache.read_text(encoding="utf-8") == "a file"


def test_in_one_folder_too_other_ends_of_answers_are_asked_anew(another):
    run = another(generate=2, cache="off")

    def ended(base):
        base.generation_config.eos_token_id = 5
        return base

    assert passes(run)[1] > 0
    assert passes(run, ended)[1] > 0
    assert passes(run)[1] == 0


def test_what_a_tokenizer_of_its_own_code_makes_is_not_kept(another):
    run = another()
    own = type("Own", (type(run.preprocessor.tokenizer),), {"__module__": "transformers_modules.own"})
    asked = Asked(run.base(), "", run.preprocessor, tuple(run.data.suites.all), run.settings)
    assert asked.may_be_kept
    tokenizer = copy.deepcopy(run.preprocessor.tokenizer)
    tokenizer.__class__ = own
    assert not replace(asked, preprocessor=TextPreprocessor(tokenizer, 60)).may_be_kept


def test_what_is_judged_by_a_program_or_withheld_is_not_kept(another, cache, tmp_path):
    requests = tmp_path / "requests.jsonl"
    requests.write_text("".join(json.dumps({"prompt": f"word{i}", "harmful": True}) + "\n" for i in range(3)), "utf-8")
    passes(another(keep=[str(requests)], store_answers=True, max_new_tokens=2))
    assert not (cache / "predictions").exists()
    run = another()
    judged = replace(run.settings, judge="python:any:thing")
    assert not Asked(run.base(), "", run.preprocessor, tuple(run.data.suites.all), judged).may_be_kept


def test_who_comes_second_waits_for_the_first(another, cache):
    """Another process holds the place, and puts the predictions there after a while."""
    first, _ = passes(another())
    [file] = (cache / "predictions").iterdir()
    file.rename(file.with_suffix(".ready"))
    other = subprocess.Popen([sys.executable, "-c", HOLDER, str(file)], stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    found, asked = passes(another())
    assert other.wait() == 0
    assert asked == 0
    assert found.responses == first.responses


HOLDER = """
import pathlib, sys, time
from retain.records.lock import made_once
file = pathlib.Path(sys.argv[1])
with made_once(file):
    print("held", flush=True)
    time.sleep(2)
    file.with_suffix(".ready").rename(file)
"""


def test_what_was_not_used_for_long_makes_room(another, cache, monkeypatch):
    passes(another())
    [oldest] = (cache / "predictions").iterdir()
    monkeypatch.setattr(module, "MOST_BYTES", int(2.5 * oldest.stat().st_size))
    (cache / "predictions" / "notes.txt").write_text("a user's", encoding="utf-8")
    for items in (19, 18):
        passes(another(test_items=items))
    left = {path.name for path in (cache / "predictions").iterdir()}
    assert oldest.name not in left
    assert len(left) == 3
    assert "notes.txt" in left


@pytest.mark.parametrize(
    ("choice", "environment", "folder"),
    [
        (None, {"RETAIN_CACHE": "/one"}, Path("/one/predictions")),
        (None, {"RETAIN_CACHE": "off"}, None),
        ("off", {"RETAIN_CACHE": "/one"}, None),
        ("/two", {"RETAIN_CACHE": "off"}, Path("/two/predictions")),
        (None, {"XDG_CACHE_HOME": "/three"}, Path("/three/retain/predictions")),
        (None, {}, Path.home() / ".cache/retain/predictions"),
        ("~nobody-of-this-name", {}, None),
    ],
)
def test_the_folder_is_the_recipes_or_the_environments_or_the_usual_one(choice, environment, folder, monkeypatch):
    for name in ("RETAIN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
        if name in environment:
            monkeypatch.setenv(name, environment[name])
    assert PredictionCache.chosen(choice).folder == folder


def test_a_record_says_that_the_base_was_not_asked(recipe, tiny_data, tmp_path, cache):
    tuned = tune(recipe(cache=str(cache)), SILENT)
    fields = recipe().model_dump(include={"model", "test", "keep", "held_out_text", "generate", "drift"})
    measuring = {**fields, "tuned": str(tmp_path / "run" / "adapter"), "cache": str(cache)}
    measured = measure_recipe(MeasureRecipe(**measuring, output=str(tmp_path / "measured")), SILENT)
    assert not any("--cache off" in note for note in tuned.provenance.notes)
    assert any("--cache off" in note for note in measured.provenance.notes)
    assert measured.keep == tuned.keep
    assert measured.judgement.aa_check == tuned.judgement.aa_check
