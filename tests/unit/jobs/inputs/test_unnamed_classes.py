"""Classifiers as a Trainer leaves them: outputs without names, of classes that the data only number."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertModel

import retain
from retain.errors import InputError
from retain.evaluate.encode import class_names
from retain.events import SILENT
from retain.jobs.inputs.models import ModelSpec
from retain.jobs.measure import measure_recipe
from retain.recipe import MeasureRecipe
from tiny import make_bert, make_text_tokenizer

ROWS = [{"text": f"{word} {other}", "label": number % 3} for number, word in enumerate("abcdefgh") for other in "xyz"]


@pytest.fixture
def write(tmp_path):
    """Save a BERT with so many unnamed outputs, or without a head."""

    def save(name, seed, classes=3):
        folder = tmp_path / name
        config = make_bert(seed=seed).config
        config.num_labels = classes or 2
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config) if classes else BertModel(config)
        model.save_pretrained(folder)
        make_text_tokenizer().save_pretrained(folder)
        return folder

    return save


def predicted(model, tokenizer):
    with torch.no_grad():
        return [int(model(**tokenizer(row["text"], return_tensors="pt")).logits.argmax()) for row in ROWS]


def score_of(result, side):
    """The accuracy of one side."""
    return next(getattr(row, side) for row in result.task if row.metric.name == "accuracy")


def test_numbers_of_the_data_are_the_outputs_of_models_in_memory(write):
    base, tuned = (AutoModelForSequenceClassification.from_pretrained(write(f"m{seed}", seed)) for seed in (0, 1))
    tokenizer = make_text_tokenizer()
    found = retain.measure(base.eval(), tuned.eval(), tokenizer=tokenizer, test=ROWS, show_progress=False)
    for model, side in ((base, "base"), (tuned, "tuned")):
        right = sum(answer == row["label"] for answer, row in zip(predicted(model, tokenizer), ROWS, strict=True))
        assert score_of(found, side) == pytest.approx(right / len(ROWS))


def test_they_are_those_of_models_in_folders(write, tmp_path):
    base, tuned = write("base", 0), write("tuned", 1)
    given = {"model": str(base), "tuned": str(tuned), "drift": False, "cache": "off"}
    test = tmp_path / "rows.csv"
    test.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS), encoding="utf-8")
    found = measure_recipe(MeasureRecipe(**given, test=str(test), output=str(tmp_path / "out")), SILENT)
    model = AutoModelForSequenceClassification.from_pretrained(tuned)
    right = sum(
        answer == row["label"] for answer, row in zip(predicted(model, make_text_tokenizer()), ROWS, strict=True)
    )
    assert score_of(found, "tuned") == pytest.approx(right / len(ROWS))


def test_a_finished_head_is_kept_only_where_there_is_one_for_these_numbers(write):
    twelve, none = write("twelve", 0, classes=12), write("none", 0, classes=None)
    spec = ModelSpec(str(twelve), "text-classifier", ["0", "1", "10", "2"], is_finished=True)
    kept = spec.load()
    assert not kept.head_is_new
    assert class_names(kept.model) == [str(number) for number in range(12)]
    assert replace(spec, is_finished=False).load().head_is_new, "a run that trains begins with a head of its own"
    assert replace(spec, labels=["0", "12"]).load().head_is_new
    new = replace(spec, source=str(none), labels=["0", "1"]).load()
    assert new.head_is_new
    assert class_names(new.model) == ["0", "1"]
    one = replace(spec, source=str(none), labels=["1"]).load()
    assert one.head_is_new
    assert class_names(one.model) == ["1"]


def test_names_of_the_data_are_still_asked_for(write):
    model = AutoModelForSequenceClassification.from_pretrained(write("named", 0)).eval()
    rows = [{**row, "label": ["bad", "good"][row["label"] % 2]} for row in ROWS]
    with pytest.raises(InputError, match="its classes bad, good are not among"):
        retain.measure(model, tokenizer=make_text_tokenizer(), test=rows, show_progress=False)
