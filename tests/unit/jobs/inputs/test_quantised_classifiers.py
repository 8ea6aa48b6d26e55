"""Encoders, vision models and decoders that classify, on quantised bodies: their heads stay in full precision."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertModel

from retain.events import SILENT
from retain.hf.models.quantization import quantised_layers
from retain.hf.models.quantization_config import quantization_config
from retain.jobs.inputs.loading import Loading
from retain.jobs.inputs.models import ModelSpec
from retain.jobs.measure import measure_recipe
from retain.jobs.tune import tune
from retain.recipe import MeasureRecipe, Recipe
from tiny import WORDS, make_bert, make_llama, make_text_tokenizer, make_vit, write_jsonl

pytest.importorskip("bitsandbytes", reason="the extra 'quant' is not installed")
pytest.importorskip("torchao", reason="the extra 'quant' is not installed")

LABELS = ("calm", "loud")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Bodies without heads, and classifiers of these classes: plain, and quantised by transformers, the head too."""
    folder = tmp_path_factory.mktemp("bases")
    make_bert().save_pretrained(folder / "bert")
    make_vit().save_pretrained(folder / "vit")
    make_llama().save_pretrained(folder / "llama")
    BertModel.from_pretrained(folder / "bert", add_pooling_layer=False).save_pretrained(folder / "no-pooler")
    torch.manual_seed(0)
    own = AutoModelForSequenceClassification.from_pretrained(folder / "bert", id2label=dict(enumerate(LABELS)))
    own.save_pretrained(folder / "own-head")
    config = quantization_config("4bit")
    quantised = AutoModelForSequenceClassification.from_pretrained(folder / "own-head", quantization_config=config)
    quantised.save_pretrained(folder / "quantised-head")
    for name in ("bert", "own-head", "llama"):
        make_text_tokenizer().save_pretrained(folder / name)
    return folder


def spec(folder, quantization, family="text-classifier"):
    return ModelSpec(str(folder), family, LABELS, loading=Loading(quantization))


def head_of(model):
    return getattr(model, "classifier", None) or model.score


BODIES = {
    "an encoder in 4 bits": ("bert", "4bit", 13),
    "an encoder in 8 bits": ("bert", "8bit", 13),
    "an encoder by torchao": ("bert", "torchao-int8", 13),
    "a decoder": ("llama", "4bit", 14),
    "no pooler in the checkpoint": ("no-pooler", "8bit", 12),
    "a head of its own": ("own-head", "4bit", 13),
    "modules that the user leaves out": ("bert", {"load_in_4bit": True, "llm_int8_skip_modules": ["query"]}, 11),
    "a head that is quantised": ("quantised-head", None, 13),
}


@pytest.mark.parametrize(("name", "quantization", "layers"), BODIES.values(), ids=BODIES)
def test_the_body_is_quantised_and_the_head_is_not(place, name, quantization, layers):
    model, is_new = spec(place / name, quantization).load()
    head = head_of(model)
    assert type(head) is torch.nn.Linear
    assert head.weight.dtype == torch.float32
    assert is_new == ("head" not in name)
    assert len(quantised_layers(model)) == layers
    assert model(input_ids=torch.arange(4, 12).view(2, 4)).logits.isfinite().all()
    if name == "own-head":
        plain, _ = spec(place / name, None).load()
        assert torch.equal(head.weight, head_of(plain).weight)


def test_a_vision_model(place):
    model, _ = spec(place / "vit", "4bit", "image-classifier").load()
    assert type(model.classifier) is torch.nn.Linear
    assert len(quantised_layers(model)) == 12
    assert model(pixel_values=torch.zeros(1, 3, 16, 16)).logits.isfinite().all()


def test_it_is_trained_and_measured_again(place, tmp_path, monkeypatch):
    monkeypatch.setattr("retain.jobs.record.write_run_report", lambda *_: [])
    rows = [
        {"text": f"{WORDS[i % 29]} {WORDS[i * 7 % 56]} {WORDS[i * i % 53]}", "label": LABELS[i % 2]} for i in range(60)
    ]
    for name, some in {"train": rows[:40], "test": rows[40:]}.items():
        write_jsonl(tmp_path / f"{name}.jsonl", some)
    values = {
        "model": str(place / "bert"),
        "test": str(tmp_path / "test.jsonl"),
        "quantization": "4bit",
        "drift": False,
    }
    recipe = Recipe(**values, train=str(tmp_path / "train.jsonl"), method="lora", rank=2, max_steps=4,
                    learning_rate=0.01, output=str(tmp_path / "run"))  # fmt: skip
    result = tune(recipe, SILENT)
    assert not result.judgement.aa_check.changed
    again = measure_recipe(
        MeasureRecipe(**values, tuned=f"{recipe.output}/adapter", output=str(tmp_path / "m")), SILENT
    )
    assert [(one.base, one.tuned) for one in again.task] == [(one.base, one.tuned) for one in result.task]
