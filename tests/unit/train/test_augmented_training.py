"""Training on augmented images: each epoch otherwise, and a run that goes on sees what it would have seen."""

import pytest
import torch
from transformers import TrainerCallback, ViTForImageClassification

from retain.data.forms import read_rows
from retain.data.preprocess import ImagePreprocessor
from retain.events import SILENT
from retain.hf.adapters.attach import attach
from retain.recipe import Recipe
from retain.train import loop
from retain.train.loop import TrainingSet, train
from tiny import make_image_processor, make_vit, write_images

FIELDS = {"model": "m", "train": "t", "test": "e", "output": "o", "method": "lora", "learning_rate": 1e-3}
KINDS = ("crop", "flip")


class Noting(ImagePreprocessor):
    """Notes what it reads, as the images are seen."""

    def __init__(self):
        super().__init__(make_image_processor())
        self.__dict__["seen"] = []

    def batch(self, items):
        self.seen.append([(item.item.image, item.seed) for item in items])
        return super().batch(items)


@pytest.fixture
def pictures(tmp_path):
    return read_rows(str(write_images(tmp_path / "images", 6)), []).items


def learn(folder, pictures, preprocessor=None, augment=KINDS, **training):
    labels = sorted({item.label for item in pictures})
    torch.manual_seed(0)
    model = attach(ViTForImageClassification(make_vit(num_labels=len(labels)).config), "lora", {"r": 2})
    reader = preprocessor or ImagePreprocessor(make_image_processor())
    learned = TrainingSet.of_classes(pictures, reader, labels, augment, 5)
    recipe = Recipe(**FIELDS, epochs=3, batch_size=4, training={"logging_steps": 1, **training})
    _, curve = train(model, learned, recipe, folder, SILENT)
    return [point.loss for point in curve], torch.cat([p.detach().flatten() for p in model.parameters()])


def test_each_epoch_sees_every_image_once_and_otherwise(tmp_path, pictures):
    reader = Noting()
    learn(tmp_path / "run", pictures, reader)
    seen = [view for batch in reader.seen for view in batch]
    assert len(seen) == 3 * len(pictures)
    for epoch in range(3):
        own = seen[epoch * len(pictures) : (epoch + 1) * len(pictures)]
        assert {image for image, _ in own} == {item.image for item in pictures}
        assert {seed[:2] for _, seed in own} == {(5, epoch)}


def test_augmented_images_are_learned_otherwise_than_plain_ones(tmp_path, pictures):
    plain, _ = learn(tmp_path / "plain", pictures, augment=())
    augmented, weights = learn(tmp_path / "augmented", pictures)
    again, same = learn(tmp_path / "again", pictures, dataloader_num_workers=0)
    assert plain != augmented
    assert augmented == again
    assert torch.equal(weights, same)


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("step", [2, 4])
def test_a_training_that_goes_on_sees_what_it_would_have_seen(tmp_path, pictures, monkeypatch, step, accumulation):
    class Interrupt(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == step:
                raise KeyboardInterrupt

    training = {"gradient_accumulation_steps": accumulation}
    losses, weights = learn(tmp_path / "whole", pictures, **training)
    monkeypatch.setattr("retain.train.callbacks.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "StopWhenNotFinite", Interrupt)
        with pytest.raises(KeyboardInterrupt):
            learn(tmp_path / "cut", pictures, **training)
    resumed_losses, resumed = learn(tmp_path / "cut", pictures, **training)
    assert resumed_losses == losses
    assert torch.equal(resumed, weights)
