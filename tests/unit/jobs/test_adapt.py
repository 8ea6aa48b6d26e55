"""Training or what is left of it: weights are trained once, read back afterwards, and belong to one base."""

import pytest
import torch

from retain.data.examples import Example
from retain.data.item_types import LabelledText
from retain.data.preprocess import TextPreprocessor
from retain.data.tokens import IGNORED
from retain.errors import InputError
from retain.hf.models.describe import model_hash
from retain.hf.models.sides import is_adapted
from retain.jobs import adapt as module
from retain.jobs.adapt import train_or_load, training_set_of
from tiny import make_bert, make_llama, make_text_tokenizer, make_tokenizer


def trained_weights(model):
    return {name: value.clone() for name, value in model.named_parameters() if "lora_" in name or not is_adapted(model)}


@pytest.mark.parametrize("method", [{"name": "lora", "r": 2}, {"name": "full"}, {"name": "milora", "r": 2}])
def test_a_complete_training_is_read_back(make_run, monkeypatch, method):
    run = make_run(method=method, learning_rate=1e-2)
    base = run.base()
    base_hash = model_hash(base)
    model, record = train_or_load(run, base, base_hash)
    expected = trained_weights(model)
    monkeypatch.setattr(module, "train", None)
    again, same = train_or_load(run, run.base(), base_hash)
    assert same == record
    assert record.model_hash == base_hash
    assert (record.cost.calibration_seconds > 0) == (method["name"] == "milora")
    found = trained_weights(again)
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_weights_of_another_base_are_refused(make_run):
    run = make_run()
    train_or_load(run, run.base(), "weights")
    with pytest.raises(InputError, match="is not the model that .* was trained on"):
        train_or_load(run, run.base(), "other weights")


def test_a_whole_model_trains_in_float32_and_ends_in_its_own_type(make_run):
    run = make_run(method={"name": "full"}, dtype="bfloat16")
    model, _ = train_or_load(run, run.base(), "weights")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_examples_that_are_cut_are_noted(make_run):
    run = make_run(max_length=5)
    _, record = train_or_load(run, run.base(), "weights")
    assert any("40 of 40 training examples were longer than 5 tokens" in note for note in record.notes)


def test_a_base_inside_its_adapter_is_its_own_teacher(make_run):
    run = make_run(kl_weight=1.0, calibrate_keep="self", calibrate_tokens=64)
    base = run.base()
    assert module._base(run, base) is not None
    adapted = module._attachment(run, base, "weights")[0]()
    assert module._base(run, adapted) is None


def test_text_is_learned_by_its_completion_and_classes_by_their_place():
    examples = [Example(prompt="a b", completion=" c"), Example(prompt="a " * 30, completion=" d")]
    text = training_set_of(make_llama(), TextPreprocessor(make_tokenizer(), 16), examples)
    assert (len(text.rows), text.cuts.items, text.is_preprocessed_by_batch) == (2, 1, False)
    assert IGNORED in text.collator([text.rows[0]])["labels"]
    bert = make_bert(num_labels=2, id2label={0: "x", 1: "y"}, label2id={"x": 0, "y": 1})
    items = [LabelledText(text="a", label="y"), LabelledText(text="a b c d e f g", label="x")]
    from transformers import BertForSequenceClassification

    classes = training_set_of(
        BertForSequenceClassification(bert.config), TextPreprocessor(make_text_tokenizer(), 5), items
    )
    assert (classes.cuts.items, classes.is_preprocessed_by_batch) == (1, True)
    assert classes.collator(items)["labels"].tolist() == [1, 0]
