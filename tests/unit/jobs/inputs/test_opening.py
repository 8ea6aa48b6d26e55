"""A tuned model and its base by paths: which head the base gets, and which base an adapter has."""

import re

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertForSequenceClassification

from retain.errors import InputError
from retain.events import SILENT
from retain.hf.models.head import save_head
from retain.hf.models.sides import is_adapted
from retain.jobs.inputs.opening import Opening, read_tuned_data
from retain.recipe import MeasureRecipe
from tiny import make_bert, make_llama, make_text_tokenizer, make_tokenizer, write_jsonl

LABELS = ["loud", "calm"]


@pytest.fixture
def opened(tmp_path):
    """Open base and tuned model of some folders."""

    def run(model, tuned, **fields):
        problems = []
        values = {"model": str(model), "tuned": str(tuned), "output": str(tmp_path / "out"), "max_length": 32}
        recipe = MeasureRecipe(**values, **fields)
        data = read_tuned_data(recipe, problems)
        assert problems == []
        return Opening(recipe, data, SILENT)

    return run


@pytest.fixture
def rows(tmp_path):
    """Labelled texts in a file."""
    found = [{"text": f"{'abcd'[i % 4]} word{i}", "label": LABELS[i % 2]} for i in range(12)]
    return str(write_jsonl(tmp_path / "labels.jsonl", found))


@pytest.fixture
def bert(tmp_path):
    """A base without a head."""
    make_bert().save_pretrained(tmp_path / "bert")
    make_text_tokenizer().save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def classifier(labels):
    torch.manual_seed(3)
    names = dict(enumerate(labels))
    fields = {"num_labels": len(labels), "id2label": names, "label2id": {name: k for k, name in names.items()}}
    return BertForSequenceClassification(make_bert(**fields).config)


def llama(folder):
    make_llama().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def lora(folder, model=None, **fields):
    get_peft_model(model or make_llama(), LoraConfig(r=2, target_modules=["q_proj"], **fields)).save_pretrained(folder)
    return folder


def test_an_adapter_carries_its_base_and_a_whole_model_stands_beside_it(tmp_path, tiny_data, opened):
    base, keep = llama(tmp_path / "base"), str(tiny_data / "letters.jsonl")
    opening = opened(base, lora(tmp_path / "adapter"), keep=[keep])
    pair = opening.pair()
    assert is_adapted(pair.tuned_model)
    assert pair.separate_base is None
    opening = opened(base, llama(tmp_path / "whole"), keep=[keep])
    pair = opening.pair()
    assert pair.separate_base is opening.base
    assert not is_adapted(pair.tuned_model)


def test_an_adapter_that_changed_its_base_gets_another(tmp_path, tiny_data, opened):
    base = llama(tmp_path / "base")
    adapter = lora(tmp_path / "adapter", init_lora_weights="pissa")
    opening = opened(base, adapter, keep=[str(tiny_data / "letters.jsonl")])
    pair = opening.pair()
    assert pair.separate_base is not None
    assert pair.separate_base is not opening.base


def test_a_base_without_a_head_is_given_one_or_guesses(tmp_path, bert, rows, opened):
    tuned = tmp_path / "tuned"
    classifier(LABELS).save_pretrained(tuned)
    guessing = opened(bert, tuned, test=rows)
    assert "so it guesses" in guessing.notes[0]
    assert [guessing.base.config.id2label[k] for k in range(2)] == LABELS, "in the order of the tuned model"
    fitted = opened(bert, tuned, test=rows, train=rows)
    assert fitted.notes == []
    assert not torch.equal(fitted.base.classifier.weight, guessing.base.classifier.weight)


def test_the_head_beside_an_adapter_is_that_of_the_base(tmp_path, bert, rows, opened):
    model = classifier(LABELS)
    config = LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS")
    get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
    save_head(classifier(LABELS), LABELS, tmp_path / "adapter")
    opening = opened(bert, tmp_path / "adapter", test=rows)
    assert torch.equal(opening.base.classifier.weight, classifier(LABELS).classifier.weight)
    assert opening.notes == []


def test_a_trained_head_needs_the_order_of_its_classes(tmp_path, bert, rows, opened):
    config = LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS")
    get_peft_model(classifier(LABELS), config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(InputError, match="nothing beside it tells which output is which class"):
        opened(bert, tmp_path / "adapter", test=rows)
    assert opened(bert, tmp_path / "adapter", test=rows, labels=["loud", "calm"]).notes


def test_a_whole_model_without_a_head_for_the_classes_is_refused(tmp_path, bert, rows, opened):
    make_bert(seed=1).save_pretrained(tmp_path / "tuned")
    with pytest.raises(InputError, match="has no trained head for the classes"):
        opened(bert, tmp_path / "tuned", test=rows).pair()


@pytest.mark.parametrize(
    ("tuned", "problem"), [("none", "there is no folder"), ("empty", "neither an adapter .* nor a model")]
)
def test_places_that_cannot_be_are_problems(tmp_path, tiny_data, tuned, problem):
    (tmp_path / "empty").mkdir()
    recipe = MeasureRecipe(
        model="m", tuned=str(tmp_path / tuned), output=str(tmp_path / "o"), keep=[str(tiny_data / "letters.jsonl")]
    )
    problems = []
    read_tuned_data(recipe, problems)
    assert len(problems) == 1
    assert re.search(problem, problems[0])
