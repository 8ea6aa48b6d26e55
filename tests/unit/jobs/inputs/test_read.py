"""The data of a recipe: read in full, with every problem collected."""

import pytest

from retain.evaluate.suites.suite import Suites
from retain.jobs.inputs.method_checks import unread_fields
from retain.jobs.inputs.read import read_data, regularisation_problems, settings_of
from retain.recipe import AdviseRecipe
from tiny import write_jsonl


@pytest.fixture
def read(recipe):
    """Read the data of a recipe; give them and the problems."""

    def run(**fields):
        problems = []
        return read_data(recipe(**fields), problems), problems

    return run


def test_settings_are_shares_where_the_recipe_has_points(recipe):
    settings = settings_of(recipe(margin=3, evaluation_batch_size=7))
    assert (settings.margin, settings.batch_size) == (0.03, 7)


def test_data_without_problems(read):
    data, problems = read()
    assert problems == []
    assert (data.family, len(data.train)) == ("causal-lm", 40)
    assert data.texts == {}
    assert [suite.part for suite in data.suites.all] == ["task", "keep"]
    assert list(data.control.all) == []
    assert data.everything.all == data.suites.all


def test_control_data_are_taken_from_what_is_evaluated(read):
    data, _ = read(budget={"letters": 30}, control_share=0.25)
    (kept,), (control,) = data.suites.of("keep"), data.control.of("keep")
    assert (len(kept.items), len(control.items)) == (36, 12)
    assert len(data.everything.of("keep")[0].items) == 48


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"method": {"name": "sc-lora"}, "calibrate_keep": "TEXT"}, {"keep", "learn"}),
        ({"method": {"name": "sc-lora"}, "calibrate_keep": "self"}, {"learn"}),
        ({"kl_weight": 1.0, "calibrate_keep": "TEXT"}, {"keep"}),
        ({"calibrate_keep": "TEXT"}, set()),
    ],
)
def test_texts_are_read_where_something_needs_them(read, tmp_path, fields, parts):
    text = tmp_path / "keep.txt"
    text.write_text("\n\n".join(f"word{i} x y" for i in range(20)), encoding="utf-8")
    data, problems = read(**{**fields, "calibrate_keep": fields["calibrate_keep"].replace("TEXT", str(text))})
    assert problems == []
    assert set(data.texts) == parts


def test_contamination_is_a_problem(read, tiny_data):
    _, problems = read(train=str(tiny_data / "test.jsonl"))
    assert any("test" in problem for problem in problems)
    _, problems = read(kl_weight=1.0, calibrate_keep=str(tiny_data / "text.txt"))
    assert any(problem.startswith("calibrate_keep:") and "hold what is measured" in problem for problem in problems)


def test_second_moments_have_no_text_for_a_regulariser(read, tmp_path):
    _, problems = read(kl_weight=1.0, statistics=str(tmp_path))
    assert any(problem.startswith("statistics: the recipe's regularisers read") for problem in problems)
    assert any("no statistics here" in problem for problem in problems)


def test_a_classifier_does_not_write_what_it_keeps(read, tmp_path):
    rows = [{"text": f"word{i} {'ab'[i % 2]}", "label": "xy"[i % 2]} for i in range(12)]
    train, test = write_jsonl(tmp_path / "l.jsonl", rows[:8]), write_jsonl(tmp_path / "t.jsonl", rows[8:])
    plain = {"train": str(train), "test": str(test), "keep": [], "held_out_text": []}
    features = {"feature_weight": 1.0, "feature_on": "keep"}
    for regulariser in ({"kl_weight": 1.0}, features):
        data, problems = read(**plain, **regulariser, calibrate_keep="self")
        assert data.family == "text-classifier"
        assert [problem for problem in problems if "only a language model can write" in problem]
    _, problems = read(**plain, **features, calibrate_keep=str(train), training={"fp16": True})
    assert any("the gradient of --feature-weight cannot be scaled" in problem for problem in problems)
    _, problems = read(**plain, **features | {"feature_on": "batch"}, calibrate_keep="self")
    assert not any("only a language model can write" in problem for problem in problems)
    assert data.texts == {}


def test_a_classifier_has_no_kl_on_text_and_no_replay(recipe):
    problems = regularisation_problems(recipe(replay=0.1, budget={"kl": 0.1}), "text-classifier", Suites())
    assert [problem.split(":")[0] for problem in problems] == ["budget", "replay", "budget"]


def test_what_augmentation_cannot_be_with_is_told(recipe):
    for fields, told in (
        ({"training": {"dataloader_persistent_workers": True}}, "training.dataloader_persistent_workers"),
        ({"kl_weight": 1.0, "kl_on": "batch", "teacher": "t"}, "a teacher's answers are kept by image"),
    ):
        (problem,) = regularisation_problems(recipe(augment=("crop",), **fields), "image-classifier", Suites())
        assert told in problem


@pytest.mark.parametrize(
    ("augment", "family", "told"),
    [
        (("crop", "flip"), "image-classifier", []),
        (("rotate",), "image-classifier", ["augment: expected crop or flip (found 'rotate')."]),
        (("crop",), "causal-lm", ["augment: it crops and mirrors training images, and these are texts; leave it out."]),
    ],
)
def test_augmentation_is_for_images_and_of_known_kinds(recipe, augment, family, told):
    assert regularisation_problems(recipe(augment=augment), family, Suites()) == told


def test_kinds_of_augmentation_may_stand_between_commas(recipe):
    assert recipe(augment="crop,flip").augment == recipe(augment=["crop", "flip"]).augment == ("crop", "flip")


def test_data_that_are_not_there_are_not_told_to_be_texts(read, tmp_path):
    _, problems = read(train=f"{tmp_path}/photos/", test=None, keep=[], augment=["crop"], feature_weight=1.0)
    assert [problem for problem in problems if "photos" not in problem] == []


def test_requests_with_completions_are_learned_and_tested_and_without_them_kept(read, tmp_path):
    rows = [{"prompt": f"p {n}", "completion": f"c {n}", "harmful": n % 2 == 0} for n in range(20)]
    files = {name: str(write_jsonl(tmp_path / f"{name}.jsonl", rows[part])) for name, part in
             (("train", slice(12)), ("test", slice(12, None)))}  # fmt: skip
    kept = write_jsonl(tmp_path / "kept.jsonl", [{"prompt": f"q {n}", "harmful": True} for n in range(4)])
    data, problems = read(**files, keep=[str(kept)])
    assert problems == []
    assert [data.train[0].texts, len(data.train)] == [("p 0", "c 0"), 12]
    assert [suite.task_type for suite in data.suites.all] == ["completion", "refusal"]
    assert '"harmful" is not read: all rows count alike' in data.notes


@pytest.mark.parametrize("methods", [["lora"], ["lora", "sc-lora"]])
def test_a_sweep_reads_the_text_to_keep_whatever_it_tries(recipe, tmp_path, methods):
    rows = [{"text": f"a {n}", "label": "xy"[n % 2]} for n in range(16)]
    given = {name: str(write_jsonl(tmp_path / f"{name}.jsonl", rows[part])) for name, part in
             (("train", slice(12)), ("test", slice(12, None)))}  # fmt: skip
    kept = str(write_jsonl(tmp_path / "kept.jsonl", [{"text": f"b {n}", "label": "x"} for n in range(4)]))
    plain = recipe(**given, keep=[], held_out_text=[]).model_dump(exclude_unset=True, exclude={"method"})
    for stated, found in (({"calibrate_keep": kept}, []), ({}, ["calibrate_keep"])):
        sweep, problems = AdviseRecipe(**plain, methods=methods, **stated), []
        data = read_data(sweep, problems)
        assert [problem.partition(":")[0] for problem in problems] == found
        assert ("keep" in data.texts) == (not found)
        assert not any("reads no text" in problem for problem in unread_fields(sweep))
