"""Texts and images from data to record: trained, reloaded by stock PEFT, measured again, gone on with, refused."""

import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from retain.cli.gate import EXIT_CODES
from retain.cli.main import main
from retain.data.forms import read_rows
from retain.data.preprocess import ImagePreprocessor, TextPreprocessor
from retain.errors import InputError
from retain.events import SILENT
from retain.hf.adapters.load import load_adapter
from retain.hf.models.head import BASE_HEAD, saved_labels
from retain.jobs import record
from retain.jobs.inputs.prepare import prepare
from retain.jobs.measure import measure_recipe
from retain.jobs.run_folder import RunFolder
from retain.jobs.tune import tune
from retain.recipe import MeasureRecipe, Recipe
from retain.records.items import read_items
from retain.records.result import read_result
from retain.train import callbacks, loop
from tiny import (
    POOLS,
    WORDS,
    labelled_texts,
    make_bert,
    make_image_processor,
    make_text_tokenizer,
    make_vit,
    write_images,
    write_jsonl,
)

RANKS = {"lora": 2, "lorfa": 2, "sc-lora": 2}
CASES = [("text", method) for method in ("lora", "vefa", "lorfa", "sc-lora", "full")]
CASES += [("images", method) for method in ("lora", "sc-lora", "full")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two bodies without heads, texts and images to learn, to test, to keep and to calibrate on."""
    folder = tmp_path_factory.mktemp("modalities")
    make_bert().save_pretrained(folder / "bert")
    make_text_tokenizer().save_pretrained(folder / "bert")
    make_vit().save_pretrained(folder / "vit")
    make_image_processor().save_pretrained(folder / "vit")
    write_jsonl(folder / "train.jsonl", labelled_texts(40, 1))
    write_jsonl(folder / "test.jsonl", labelled_texts(30, 2))
    write_jsonl(folder / "calibrate.jsonl", labelled_texts(12, 3))
    pairs = [{"query": f"{WORDS[i]} word{i} {WORDS[i + 5]}", "match": f"word{i} {WORDS[i]}"} for i in range(21)]
    write_jsonl(folder / "pairs.jsonl", pairs)
    for seed, name in enumerate(("train", "test", "calibrate")):
        write_images(folder / "images" / name, 10, seed)
    for name in ("train", "test"):  # the same, as a table of relative paths
        paths = sorted((folder / "images" / name).rglob("*.png"))
        lines = "".join(f"{name}/{path.parent.name}/{path.name},{path.parent.name}\n" for path in paths)
        (folder / "images" / f"{name}.csv").write_text("image,label\n" + lines, encoding="utf-8")
    (folder / "train.csv").write_text(
        "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in labelled_texts(40, 1)), encoding="utf-8"
    )
    return folder


@pytest.fixture(scope="module", autouse=True)
def no_report():
    """Reports are tested elsewhere; drawing one takes longer than such a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "write_run_report", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def trained(place, no_report):
    """A finished run: a text classifier with a LoRA."""
    given = recipe(place, "text", place / "trained", method="lora", rank=2)
    return given, run(given)


def recipe(place, modality, output, **fields):
    texts = {
        "train": "train.jsonl",
        "test": "test.jsonl",
        "keep": ("pairs.jsonl",),
        "calibrate_keep": "calibrate.jsonl",
    }
    pictures = {"train": "images/train", "test": "images/test", "calibrate_keep": "images/calibrate"}
    chosen = texts if modality == "text" else pictures
    paths = {
        key: tuple(str(place / one) for one in value) if isinstance(value, tuple) else str(place / value)
        for key, value in chosen.items()
    }
    model = str(place / ("bert" if modality == "text" else "vit"))
    settled = {"model": model, "max_steps": 4, "batch_size": 8, "max_length": 60, "learning_rate": 1e-2, "drift": False}
    settled |= paths
    return Recipe(**{**settled, "output": str(output), **fields})


def run(given):
    return tune(given, SILENT)


def measured(**fields):
    return measure_recipe(MeasureRecipe(drift=False, **fields), SILENT)


def fresh(place, modality, labels):
    """The base with a head for the classes, by transformers alone."""
    torch.manual_seed(77)
    loader = AutoModelForSequenceClassification if modality == "text" else AutoModelForImageClassification
    return loader.from_pretrained(
        place / ("bert" if modality == "text" else "vit"), id2label=dict(enumerate(labels))
    ).eval()


def preprocessor(modality):
    return (
        TextPreprocessor(make_text_tokenizer(), 60) if modality == "text" else ImagePreprocessor(make_image_processor())
    )


def right(model, modality, items):
    """Which items a model is right on, asked one by one."""
    found = []
    with torch.no_grad():
        for item in items:
            best = int(model(**preprocessor(modality).batch([item])).logits.argmax())
            found.append(float(model.config.id2label[best] == item.label))
    return found


def said(folder, side):
    return [
        getattr(item, side).scores["accuracy"] for item in read_items(folder / "items.jsonl") if item.part == "task"
    ]


@pytest.mark.parametrize(("modality", "method"), CASES)
def test_a_run_is_what_others_can_load_and_measure_again(place, trained, tmp_path, modality, method):
    if (modality, method) == ("text", "lora"):
        given, result = trained
    else:
        given = recipe(place, modality, tmp_path / "run", method=method, rank=RANKS.get(method), drift=method == "vefa")
        result = run(given)
    folder = Path(given.output)
    items = read_rows(given.test, []).items
    weights = RunFolder(folder).weights(method)
    labels = saved_labels(weights)
    assert labels == sorted({item.label for item in items})

    base = fresh(place, modality, labels)
    for name, tensor in load_file(weights / BASE_HEAD).items():
        base.get_parameter(name).data.copy_(tensor)
    assert said(folder, "base") == right(base, modality, items)
    assert result.task[0].base > 1.2 / len(labels)  # the head was fitted, so the base does not guess

    if method == "full":
        loader = AutoModelForSequenceClassification if modality == "text" else AutoModelForImageClassification
        tuned = loader.from_pretrained(weights).eval()
    else:
        tuned = PeftModel.from_pretrained(fresh(place, modality, labels), weights).eval()
    assert said(folder, "tuned") == right(tuned, modality, items)

    again = measured(
        model=given.model,
        tuned=str(weights),
        test=given.test,
        keep=given.keep,
        output=str(tmp_path / "m"),
        max_length=60,
    )
    assert [(s.metric, s.base, s.tuned) for s in again.task] == [(s.metric, s.base, s.tuned) for s in result.task]
    assert [(s.metric, s.base, s.tuned) for s in again.keep] == [(s.metric, s.base, s.tuned) for s in result.keep]
    first, second = (list(read_items(place / "items.jsonl")) for place in (folder, tmp_path / "m"))
    for one, other in zip(first, second, strict=True):
        assert one.base.scores == pytest.approx(other.base.scores, abs=1e-5)
        assert one.tuned.scores == pytest.approx(other.tuned.scores, abs=1e-5)
    assert again.provenance.model_hash == result.provenance.model_hash
    assert result.judgement.aa_check.passed


def test_the_reloaded_adapter_has_the_very_logits_of_stock_peft(place, trained):
    weights = Path(trained[0].output) / "adapter"
    labels = saved_labels(weights)
    batch = preprocessor("text").batch(["a b word3", "c"])
    stock = PeftModel.from_pretrained(fresh(place, "text", labels), weights).eval()
    own = load_adapter(fresh(place, "text", labels), weights).eval()
    with torch.no_grad():
        assert torch.equal(stock(**batch).logits, own(**batch).logits)


def test_the_same_command_does_nothing_again_and_a_table_is_as_good_as_a_folder(place, tmp_path, monkeypatch):
    given = recipe(place, "images", tmp_path / "run", method="vefa")
    result = run(given)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    del files[tmp_path / "run" / "run.json"]
    monkeypatch.setattr("retain.jobs.inputs.models.ModelSpec.load", None)  # no model is needed any more
    assert run(given) == result
    assert all(path.stat().st_mtime_ns == changed for path, changed in files.items())
    monkeypatch.undo()
    tables = {"train": str(place / "images/train.csv"), "test": str(place / "images/test.csv")}
    table = run(recipe(place, "images", tmp_path / "table", method="vefa", **tables))
    assert table.task == result.task
    assert load_file(tmp_path / "table/adapter/adapter_model.safetensors").keys()
    one, two = (load_file(tmp_path / name / "adapter/adapter_model.safetensors") for name in ("run", "table"))
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def test_a_csv_of_texts_is_the_same_data_as_json_lines(place, trained):
    table = prepare(recipe(place, "text", place / "none", method="vefa", train=str(place / "train.csv"))).data
    lines = read_rows(trained[0].train, [])
    assert (table.train, table.labels) == (lines.items, list(POOLS))
    assert table.hashes["train"] == trained[1].provenance.data_hashes["train"]


def test_an_interrupted_training_goes_on_where_it_was(place, trained, tmp_path, monkeypatch):
    plain, seen = loop.LabelCollator.__call__, []

    def breaking(self, batch):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return plain(self, batch)

    monkeypatch.setattr(callbacks, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(loop.LabelCollator, "__call__", breaking)
    given = recipe(place, "text", tmp_path / "broken", method="lora", rank=2)
    with pytest.raises(KeyboardInterrupt):
        run(given)
    assert list((tmp_path / "broken" / "checkpoints").glob("checkpoint-*"))
    count = len(seen)
    result = run(given)
    assert len(seen) - count < 5  # four steps and the batch read ahead: it did not begin again
    assert result.cost.steps == 4
    assert result.task == trained[1].task
    whole, broken = (
        load_file(folder / "adapter" / "adapter_model.safetensors")
        for folder in (place / "trained", tmp_path / "broken")
    )
    assert all(torch.equal(value, broken[key]) for key, value in whole.items())


def test_a_damaged_cache_of_answers_is_made_anew(trained, tmp_path):
    given, result = trained
    copy = shutil.copytree(given.output, tmp_path / "copy")
    (copy / "result.json").unlink()
    next(copy.glob("base-*.json")).write_text("{half", encoding="utf-8")
    assert run(given.model_copy(update={"output": str(copy)})).task == result.task


def test_a_start_that_rewrites_the_base_is_measured_against_the_untouched_one(place, trained, tmp_path):
    plain = trained[1]
    found = run(
        recipe(place, "text", tmp_path / "pissa", method={"name": "lora", "init_lora_weights": "pissa"}, rank=2)
    )
    assert found.judgement.aa_check.passed
    assert said(tmp_path / "pissa", "base") == said(place / "trained", "base")
    assert [score.base for score in found.keep] == [score.base for score in plain.keep]
    assert found.provenance.model_hash == plain.provenance.model_hash


def test_a_checkpoint_with_its_own_head_is_the_base_as_it_is(place, tmp_path):
    from transformers import BertForSequenceClassification

    names = {0: "loud", 1: "calm"}  # not in order of their names
    torch.manual_seed(5)
    own = BertForSequenceClassification.from_pretrained(place / "bert", id2label=names).eval()
    own.save_pretrained(tmp_path / "own")
    make_text_tokenizer().save_pretrained(tmp_path / "own")
    given = recipe(place, "text", tmp_path / "run", model=str(tmp_path / "own"), method="lora", rank=2, keep=())
    run(given)
    items = read_rows(given.test, []).items
    assert said(tmp_path / "run", "base") == right(own, "text", items)
    weights = tmp_path / "run" / "adapter"
    tuned = PeftModel.from_pretrained(BertForSequenceClassification.from_pretrained(tmp_path / "own"), weights).eval()
    assert said(tmp_path / "run", "tuned") == right(tuned, "text", items)
    assert saved_labels(weights) == ["loud", "calm"]


def test_features_of_a_tuned_classifier_can_be_measured_without_its_task(trained, tmp_path):
    given, result = trained
    weights = f"{given.output}/adapter"
    alone = measured(model=given.model, tuned=weights, keep=given.keep, output=str(tmp_path / "m"), max_length=60)
    assert [(s.base, s.tuned) for s in alone.keep] == [(s.base, s.tuned) for s in result.keep]


def test_every_problem_of_the_data_is_told_at_once(place, tmp_path):
    bad = tmp_path / "bad"
    write_images(bad / "kept", 2, seed=9, classes=("red", "violet"))
    (bad / "kept" / "red" / "9-000.png").write_bytes(b"no image")
    shutil.copy(place / "images/train/red/0-003.png", bad / "kept" / "red" / "mine.png")
    (bad / "empty").mkdir()
    keep = (str(bad / "kept"), str(bad / "empty"), str(place / "pairs.jsonl"))
    with pytest.raises(InputError) as error:
        prepare(recipe(place, "images", tmp_path / "run", method="lora", keep=keep))
    told = "\n".join(error.value.problems)
    for part in (
        "9-000.png: cannot be read as an image",
        "kept: its classes violet",
        "share 1 of 5 items",
        "empty: the folder holds no files of rows",
        "pairs: a suite of texts of task type retrieval cannot be measured on an image classifier",
    ):
        assert part in told
    assert len(error.value.problems) == 5
    assert not (tmp_path / "run").exists()


def test_what_a_text_model_cannot_be_asked_or_taught_is_told(place, tmp_path):
    keep = (str(place / "images/test"), str(place / "train.jsonl"))
    with pytest.raises(InputError) as error:
        prepare(recipe(place, "text", tmp_path / "run", method="lora", keep=keep))
    told = "\n".join(error.value.problems)
    assert "test (kept): a suite of images of task type labels cannot be measured on a text classifier" in told
    assert "train and retention suite 'train' share 40 of 40 items" in told
    with pytest.raises(InputError, match="measured, not learned"):
        prepare(recipe(place, "text", tmp_path / "run", method="lora", train=str(place / "pairs.jsonl")))


def test_a_whole_model_without_a_head_for_the_classes_is_refused(place, tmp_path):
    with pytest.raises(InputError, match="tuned:.*has no trained head for the classes calm, loud"):
        measured(
            model=str(place / "bert"), tuned=str(place / "bert"), test=str(place / "test.jsonl"), output=str(tmp_path)
        )


def test_classes_that_the_head_beside_an_adapter_does_not_know_are_refused(place, trained, tmp_path):
    other = write_jsonl(tmp_path / "other.jsonl", [{"text": "a b", "label": "calm"}, {"text": "c", "label": "odd"}])
    weights = f"{trained[0].output}/adapter"
    with pytest.raises(InputError, match="other: its classes odd are not among"):
        measured(model=str(place / "bert"), tuned=weights, test=str(other), output=str(tmp_path / "m"))


def test_measure_ends_with_the_gates_code(place, trained, tmp_path, capsys):
    weights = f"{trained[0].output}/adapter"
    flags = ["--model", place / "bert", "--tuned", weights, "--keep", place / "pairs.jsonl"]
    output = tmp_path / "m"
    arguments = ["measure", *map(str, flags), "--max-length", "60", "--drift", "false", "--output", str(output)]
    code = main([*arguments, "--gate", "true"])
    verdict = read_result(output / "result.json").judgement.overall
    assert code == EXIT_CODES[verdict] != 0
    assert main(arguments) == 0
    assert main(["gate", str(output)]) == code
    assert verdict in capsys.readouterr().out
