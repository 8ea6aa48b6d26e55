"""Whole models of all kinds go on from a checkpoint where they stopped, and never from their base."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageClassification,
    BertForSequenceClassification,
    TrainerCallback,
    ViTForImageClassification,
)

from retain.data.forms import read_rows
from retain.data.item_types import LabelledText
from retain.data.preprocess import ImagePreprocessor, TextPreprocessor
from retain.data.tokens import Encoded
from retain.errors import TrainingError
from retain.events import SILENT
from retain.recipe import Recipe
from retain.records.checkpoint_seal import seal
from retain.train import loop
from retain.train.loop import TrainingSet, train
from tiny import make_bert, make_image_processor, make_llama, make_text_tokenizer, make_vit, write_images

FIELDS = {"model": "m", "train": "t", "test": "e", "output": "o", "method": "full", "learning_rate": 1e-2}
RECIPE = Recipe(**FIELDS, max_steps=5, batch_size=4, training={"logging_steps": 1})


def vit(folder):
    torch.manual_seed(0)
    items = read_rows(str(write_images(folder / "images", 4)), []).items
    training_set = TrainingSet.of_classes(items, ImagePreprocessor(make_image_processor()), ["blue", "green", "red"])
    return ViTForImageClassification(make_vit(num_labels=3).config), training_set


def bert(_folder):
    torch.manual_seed(0)
    items = [LabelledText(text=f"word{i} a", label="ab"[i % 2]) for i in range(12)]
    training_set = TrainingSet.of_classes(items, TextPreprocessor(make_text_tokenizer(), 16), ["a", "b"])
    return BertForSequenceClassification(make_bert(num_labels=2).config), training_set


def llama(_folder):
    rows = [Encoded((5 + i, 6, 7, 8), 1) for i in range(12)]
    return make_llama(), TrainingSet.of_text(rows, pad_id=0)


def tied(folder):
    model, training_set = llama(folder)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    return model, training_set


class StopAt(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 4:
            raise KeyboardInterrupt


@pytest.fixture
def cut_off(tmp_path, monkeypatch):
    """Train a model up to an interruption; what gives its folder."""

    def run(make):
        with monkeypatch.context() as patched:
            patched.setattr("retain.train.callbacks.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
            patched.setattr(loop, "StopWhenNotFinite", StopAt)
            with pytest.raises(KeyboardInterrupt):
                train(*make(tmp_path / "data"), RECIPE, tmp_path / "cut", SILENT)
        return tmp_path / "cut"

    return run


@pytest.mark.parametrize("make", [vit, bert, llama, tied])
def test_an_interrupted_run_ends_as_an_unbroken_one(make, tmp_path, cut_off):
    folder = cut_off(make)
    resumed, training_set = make(tmp_path / "data")
    _, curve = train(resumed, training_set, RECIPE, folder, SILENT)
    whole, training_set = make(tmp_path / "data")
    _, expected = train(whole, training_set, RECIPE, tmp_path / "whole", SILENT)
    assert [point.loss for point in curve] == [point.loss for point in expected]
    for (name, left), right in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(left, right), name
    assert "save_pretrained" not in vars(resumed)


def test_a_checkpoint_is_a_model_that_transformers_loads(cut_off):
    last = max((cut_off(vit) / "checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    loaded, told = AutoModelForImageClassification.from_pretrained(last, output_loading_info=True)
    assert not told["missing_keys"]
    own = load_file(last / "model.safetensors")
    assert {name: value.sum() for name, value in loaded.state_dict().items()} == {k: v.sum() for k, v in own.items()}


def test_a_checkpoint_without_some_weights_is_refused(tmp_path, cut_off):
    folder = cut_off(vit)
    for file in (folder / "checkpoints").glob("checkpoint-*/model.safetensors"):
        held = load_file(file)
        save_file({name.replace("layers.0", "layers.9"): value for name, value in held.items()}, file)
        seal(file.parent)  # as if it had been written so
    model, training_set = vit(tmp_path / "data")
    with pytest.raises(TrainingError, match=r"no values for \d+ weights.*layers.0"):
        train(model, training_set, RECIPE, folder, SILENT)
