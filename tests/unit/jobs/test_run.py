"""A run: made once, known by its identity, and the one that loads its models."""

from pathlib import Path

import pytest
import torch

from retain.events import SILENT
from retain.hf.models.sides import is_adapted
from retain.jobs import run as module
from retain.jobs.comparison_runs import runs_of
from retain.jobs.inputs.prepare import prepare
from retain.jobs.run import Run
from tiny import make_bert, make_text_tokenizer, write_jsonl


@pytest.fixture
def classes(tmp_path):
    """Fields of a recipe for a classifier of two classes on a body without a head."""
    make_bert().save_pretrained(tmp_path / "bert")
    make_text_tokenizer().save_pretrained(tmp_path / "bert")
    rows = [{"text": f"{word} word{i}", "label": "ab"[i % 2]} for i, word in enumerate("abcdefghijklmnop")]
    write_jsonl(tmp_path / "labels.jsonl", rows[:10])
    write_jsonl(tmp_path / "labels-test.jsonl", rows[10:])
    return {
        "model": str(tmp_path / "bert"),
        "max_length": 32,
        "train": str(tmp_path / "labels.jsonl"),
        "test": str(tmp_path / "labels-test.jsonl"),
        "keep": [],
        "held_out_text": [],
    }


def test_its_own_folder_is_shared_unless_another_is_given(make_run, tmp_path):
    assert make_run().shared == tmp_path / "run"
    run = make_run(shared=tmp_path)
    assert (run.shared, run.folder.path) == (tmp_path, tmp_path / "run")


def test_its_identity_covers_what_is_trained_and_what_is_measured(recipe):
    def identity(**fields):
        made = recipe(**fields)
        return Run.of(made, prepare(made), SILENT).identity

    plain = identity()
    assert identity() == plain
    assert identity(seed=1)["training"] != plain["training"]
    assert identity(max_new_tokens=3)["training"] == plain["training"]
    assert identity(max_new_tokens=3)["measuring"] != plain["measuring"]
    assert identity(held_out_text=[])["measuring"] != plain["measuring"]


def test_the_preprocessor_is_that_of_the_check(recipe):
    made = recipe()
    prepared = prepare(made)
    run = Run.of(made, prepared, SILENT)
    assert run.preprocessor is prepared.preprocessor
    assert run.preprocessor.max_length == made.max_length == run.settings.max_length


def test_trained_weights_are_read_by_the_name_of_their_folder(make_run, tmp_path):
    run = make_run()
    base = run.base()
    base.save_pretrained(tmp_path / "model")
    assert not is_adapted(run.trained(None, tmp_path / "model"))


def test_a_new_head_is_fitted_once_and_kept(make_run, classes, monkeypatch):
    fitted = []
    real = module.fit_head
    monkeypatch.setattr(module, "fit_head", lambda *given: (fitted.append(1), real(*given)))
    run = make_run(**classes)
    heads = [run.base().classifier.weight for _ in range(2)]
    assert len(fitted) == 1
    assert torch.equal(*heads)
    assert run.head_folder.parent == Path(run.recipe.output)
    assert run.head_folder.is_dir()


def test_a_random_head_is_left_random(make_run, classes, monkeypatch):
    monkeypatch.setattr(module, "fit_head", None)
    run = make_run(**classes, head="random")
    assert torch.equal(run.base().classifier.weight, run.base().classifier.weight)
    assert not run.head_folder.exists()


def test_another_training_set_has_another_head(make_run, classes, tmp_path):
    run = make_run(**classes)
    write_jsonl(tmp_path / "more.jsonl", [{"text": f"q word{i}", "label": "ab"[i % 2]} for i in range(8)])
    other = make_run(**{**classes, "train": str(tmp_path / "more.jsonl")})
    assert run.head_folder != other.head_folder


def test_a_run_has_the_learning_rate_of_its_kind_of_model_and_so_does_its_name(classes, recipe, tmp_path):
    made = recipe(**classes, methods=("lora", "vefa"))
    single = recipe(**classes, method="lora")
    run = Run.of(single, prepare(single), SILENT)
    assert (run.recipe.rate, run.identity["training"]["learning_rate"]) == (1.1e-3, 1.1e-3)
    names = [one.folder.path.name for one in runs_of(made)]
    assert names == ["lora-lr0.0011-seed0", "vefa-lr0.003-seed0"]
