"""Texts and images as models see them, and the ledger of what was put to them."""

import numpy as np
import pytest
import torch

from retain.data.item_types import LabelledImage, LabelledText, Request
from retain.data.preprocess import ImagePreprocessor, TextPreprocessor
from retain.errors import RetainError
from retain.evaluate.encode import class_names, features
from retain.evaluate.input_hash import InputHash
from retain.evaluate.pair import Pair
from retain.evaluate.predictions import collect_predictions
from retain.evaluate.runner import measure_pair
from retain.evaluate.suites.suite import Settings, Suite, Suites
from retain.events import SILENT
from retain.hf.adapters.attach import attach
from retain.hf.models.features import pooled
from tiny import (
    make_bert,
    make_image_processor,
    make_llama,
    make_text_tokenizer,
    make_tokenizer,
    make_vit,
    write_images,
)


def quiet(_):
    """No bar."""


def test_features_are_the_mean_of_what_is_no_padding():
    model, preprocessor = make_bert(), TextPreprocessor(make_text_tokenizer(), 60)
    texts = ["a b c d e f", "a", "c d"]
    together = features(model, preprocessor, texts, 3, quiet, InputHash())
    for text, row in zip(texts, together, strict=True):
        with torch.no_grad():
            hidden = model(**preprocessor.tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        torch.testing.assert_close(row, hidden.mean(0), atol=1e-5, rtol=1e-5)


def test_features_of_an_adapted_classifier_are_those_of_its_body():
    from transformers import BertForSequenceClassification

    body, preprocessor = make_bert(), TextPreprocessor(make_text_tokenizer(), 60)
    model = BertForSequenceClassification(body.config).eval()
    model.bert.load_state_dict(body.state_dict())
    found = features(attach(model, "lora").eval(), preprocessor, ["a b", "c"], 2, quiet, InputHash())
    torch.testing.assert_close(
        found, features(body, preprocessor, ["a b", "c"], 2, quiet, InputHash()), atol=1e-5, rtol=1e-5
    )


def test_features_of_a_convolutional_model_are_averaged_over_places():
    hidden = torch.arange(24.0).reshape(1, 2, 3, 4)
    torch.testing.assert_close(pooled(hidden, None), torch.tensor([[5.5, 17.5]]))


def test_features_of_pictures(tmp_path):
    folder = write_images(tmp_path / "p", 1)
    items = [LabelledImage(image=str(path), label="x") for path in sorted(folder.rglob("*.png"))]
    model, preprocessor = make_vit(), ImagePreprocessor(make_image_processor())
    found = features(model, preprocessor, items, 2, quiet, InputHash())
    with torch.no_grad():
        alone = model(**preprocessor.batch(items[2:])).last_hidden_state.mean(1)
    torch.testing.assert_close(found[2:], alone, atol=1e-5, rtol=1e-5)


def test_classes_come_in_the_order_of_the_outputs():
    model = make_bert()
    model.config.id2label = {10: "k", 2: "c", 0: "z"}
    assert class_names(model) == ["z", "c", "k"]


def test_a_ledger_tells_inputs_apart():
    def of(**inputs):
        input_hash = InputHash()
        input_hash.add(**inputs)
        return input_hash.hash()

    one = torch.tensor([[1, 2], [3, 4]])
    assert of(a=one) == of(a=one.clone())
    others = [of(a=one.T), of(a=one.flatten()), of(a=one.int()), of(b=one), of(a=one + 1), of(a=one.float()), of()]
    assert len({of(a=one), *others}) == len(others) + 1


def input_hash(suite, preprocessor, model, **settings):
    return collect_predictions(model, preprocessor, [suite], Settings(**settings), SILENT, "").conditions.input_hash


def test_equal_questions_have_one_hash_and_a_changed_template_or_prompt_another():
    tokenizer, other = make_tokenizer(), make_tokenizer()
    other.chat_template = other.chat_template.replace("<eos>", "<eos>a")
    suite = Suite("asked", "refusal", "keep", [Request(prompt="a b", harmful=True), Request(prompt="c", harmful=True)])
    changed = Suite(
        "asked", "refusal", "keep", [Request(prompt="a c", harmful=True), Request(prompt="c", harmful=True)]
    )
    first = input_hash(suite, TextPreprocessor(tokenizer, 60), make_llama())
    assert first == input_hash(suite, TextPreprocessor(tokenizer, 60), make_llama(seed=5))
    told = {
        first,
        input_hash(suite, TextPreprocessor(other, 60), make_llama()),
        input_hash(changed, TextPreprocessor(tokenizer, 60), make_llama()),
    }
    assert len(told) == 3


def test_one_pixel_makes_another_question(tmp_path):
    from PIL import Image
    from transformers import ViTForImageClassification

    model = ViTForImageClassification(make_vit(num_labels=2).config).eval()
    array = np.full((16, 16, 3), 90, dtype=np.uint8)
    hashes = []
    for name in ("one", "same", "other"):
        array[3, 3, 0] += name == "other"
        Image.fromarray(array).save(tmp_path / f"{name}.png")
        suite = Suite("seen", "labels", "task", [LabelledImage(image=str(tmp_path / f"{name}.png"), label="LABEL_0")])
        hashes.append(input_hash(suite, ImagePreprocessor(make_image_processor()), model))
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("change", ["dtype", "attention"])
def test_sides_that_are_asked_otherwise_are_refused(change):
    from transformers import BertForSequenceClassification

    model = BertForSequenceClassification(make_bert().config).eval()
    other = BertForSequenceClassification(make_bert().config).eval()
    if change == "dtype":
        other = other.to(torch.bfloat16)
    else:
        other.set_attn_implementation("eager")
        assert model.config._attn_implementation != "eager"
    suite = Suite(
        "told", "labels", "task", [LabelledText(text="a b", label="LABEL_0"), LabelledText(text="c", label="LABEL_1")]
    )
    with pytest.raises(RetainError, match=f"not measured alike.*{change}"):
        measure_pair(
            Pair(other, model), TextPreprocessor(make_text_tokenizer(), 60), Suites([suite]), Settings(), SILENT
        )
