"""Batches made in the background: the same ones, in the same order, and nothing is left of it afterwards."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
import torch
from transformers import BertForSequenceClassification, TrainerCallback, ViTForImageClassification

from retain.data.forms import read_rows
from retain.data.item_types import LabelledText
from retain.data.preprocess import ImagePreprocessor, TextPreprocessor
from retain.data.tokens import Encoded
from retain.errors import InputError
from retain.events import SILENT
from retain.hf.adapters.attach import attach
from retain.recipe import Recipe
from retain.train import loop
from retain.train import prefetch as ahead
from retain.train.arguments import training_arguments
from retain.train.loop import LabelCollator, TrainingSet, train
from retain.train.prefetch import PrefetchingTrainer, prefetching_threads
from tiny import make_bert, make_image_processor, make_llama, make_text_tokenizer, make_vit, write_images

FIELDS = {"model": "m", "train": "t", "test": "e", "output": "o", "method": "lora", "learning_rate": 1e-3}


def recipe(training=None, **change):
    settings = {"logging_steps": 1, **(training or {})}
    return Recipe(**{**FIELDS, "max_steps": 7, "batch_size": 4, **change}, training=settings)


@pytest.fixture
def pictures(tmp_path):
    return read_rows(str(write_images(tmp_path / "images", 6)), []).items


@pytest.fixture
def quiet():
    return SILENT


class Noting(ImagePreprocessor):
    """Notes which items a batch was made of, and by which thread."""

    def __init__(self, fails=None):
        super().__init__(make_image_processor())
        self.__dict__ |= {"fails": fails, "batches": [], "threads": set(), "news": threading.Condition()}

    def reached(self, number):
        """Whether so many batches are begun within some seconds."""
        with self.news:
            return self.news.wait_for(lambda: len(self.batches) >= number, timeout=30)

    def batch(self, items):
        with self.news:
            self.batches.append([item.image for item in items])
            self.news.notify_all()
        self.threads.add(threading.current_thread().name)
        if self.fails in self.batches[-1]:
            raise InputError(f"{self.fails}: cannot be read as an image.")
        return super().batch(items)


def vit(pictures):
    labels = sorted({item.label for item in pictures})
    model = ViTForImageClassification(make_vit(num_labels=len(labels)).config)
    model.vit.embeddings.dropout.p = 0.5  # draws random numbers in each step
    return attach(model, "lora", {"r": 2, "init_lora_weights": False}), labels


def learn(folder, items, quiet, preprocessor=None, **change):
    torch.manual_seed(0)
    model, labels = vit(items)
    training_set = TrainingSet.of_classes(items, preprocessor or ImagePreprocessor(make_image_processor()), labels)
    cost, curve = train(model, training_set, recipe(**change), folder, quiet)
    return [point.loss for point in curve], torch.cat([p.detach().flatten() for p in model.parameters()]), cost


def threads_of_ours():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("retain-batches")]


IN_STEP = {"dataloader_num_workers": 0}


@pytest.mark.parametrize("accumulation", [1, 3])
def test_losses_and_weights_are_those_of_batches_made_when_due(tmp_path, pictures, quiet, accumulation):
    found = []
    for name, ours in (("in-step", IN_STEP), ("ahead", {})):
        training = {**ours, "gradient_accumulation_steps": accumulation}
        found.append(learn(tmp_path / name, pictures, quiet, training=training)[:2])
    (losses, weights), (other_losses, other_weights) = found
    assert len(set(losses)) == 7
    assert losses == other_losses
    assert torch.equal(weights, other_weights)
    assert not threads_of_ours()


def test_texts_to_classify_are_the_same_too(tmp_path, quiet):
    words = "abcdefgh"
    pairs = enumerate(product(words, words))
    items = [LabelledText(text=f"{a} {b}" + " c" * (i % 3), label="xy"[i % 2]) for i, (a, b) in pairs]
    curves = []
    for name, ours in (("in-step", IN_STEP), ("ahead", {})):
        model = BertForSequenceClassification(make_bert(num_labels=2).config)
        training_set = TrainingSet.of_classes(items, TextPreprocessor(make_text_tokenizer(), 8), ["x", "y"])
        cost, curve = train(model, training_set, recipe(training=ours), tmp_path / name, quiet)
        curves.append(([point.loss for point in curve], cost.tokens))
    assert curves[0] == curves[1]
    assert curves[0][1] > 0


def trained(folder, items, preprocessor, threads, callbacks=(), **change):
    """The trainer after its training, or with what ended it."""
    model, labels = vit(items)
    collator = LabelCollator(preprocessor, {label: index for index, label in enumerate(labels)})
    trainer = PrefetchingTrainer(
        model=model,
        args=training_arguments(recipe(**change), folder, pictures=True),
        train_dataset=list(items),
        data_collator=collator,
        threads=threads,
        callbacks=list(callbacks),
    )
    error = None
    try:
        trainer.train()
    except (InputError, KeyboardInterrupt) as raised:
        error = raised
    assert trainer.data_collator is collator
    assert not threads_of_ours()
    return trainer, error


@pytest.mark.parametrize("accumulation", [1, 2])
def test_rows_come_in_the_same_order_to_another_thread(tmp_path, pictures, accumulation):
    due, early = (Noting() for _ in range(2))
    for threads, preprocessor in enumerate((due, early)):
        training = {"gradient_accumulation_steps": accumulation}
        trained(tmp_path / str(threads), pictures, preprocessor, threads, training=training)
    assert len(due.batches) >= 7
    assert early.batches[: len(due.batches)] == due.batches
    assert due.threads == {threading.current_thread().name}
    assert len(early.threads) == 1
    assert early.threads.isdisjoint(due.threads)


def test_several_threads_make_the_same_batches_as_one(tmp_path, pictures):
    found = []
    for threads in (1, 3):
        torch.manual_seed(0)
        preprocessor = ImagePreprocessor(make_image_processor())
        trainer, _ = trained(tmp_path / str(threads), pictures, preprocessor, threads)
        found.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert len(found[0]) == 7
    assert found[0] == found[1]


def test_while_a_step_runs_the_next_batches_are_made(tmp_path, pictures):
    """A step that waits until the batch after its own is being made would wait for ever, were it made when due."""
    preprocessor, answers = Noting(), []

    class Waits(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if state.global_step < 3:
                answers.append(preprocessor.reached(state.global_step + 2))

    trained(tmp_path, pictures, preprocessor, 1, [Waits()])
    assert answers == [True, True, True]


def test_a_picture_that_cannot_be_read_ends_training_with_its_own_message(tmp_path, pictures):
    preprocessor = Noting()
    trained(tmp_path / "whole", pictures, preprocessor, 1)
    broken = preprocessor.batches[3][0]
    trainer, error = trained(tmp_path / "cut", pictures, Noting(broken), 1)
    assert isinstance(error, InputError)
    assert str(error) == f"{broken}: cannot be read as an image."
    assert trainer.state.global_step == 3  # raised when that batch is due, not before


class Interrupt(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 3:
            raise KeyboardInterrupt


def test_after_an_interruption_nothing_is_left_running(tmp_path, pictures):
    preprocessor = Noting()
    trainer, error = trained(tmp_path, pictures, preprocessor, 2, [Interrupt()])
    assert isinstance(error, KeyboardInterrupt)
    assert trainer.state.global_step == 3
    made = len(preprocessor.batches)
    assert made < 10  # two epochs: what was not begun is not made


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_resumed_training_reads_the_batches_that_were_left(tmp_path, pictures, quiet, monkeypatch, accumulation):
    training = {"gradient_accumulation_steps": accumulation}
    whole = Noting()
    losses, weights, _ = learn(tmp_path / "whole", pictures, quiet, whole, training=training)
    monkeypatch.setattr("retain.train.callbacks.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "StopWhenNotFinite", Interrupt)
        with pytest.raises(KeyboardInterrupt):
            learn(tmp_path / "cut", pictures, quiet, training=training)
    again = Noting()
    resumed_losses, resumed, _ = learn(tmp_path / "cut", pictures, quiet, again, training=training)
    assert resumed_losses == losses
    assert torch.equal(resumed, weights)
    start = whole.batches.index(again.batches[0])
    assert start > 0
    # Beyond the last step either may have begun batches ahead that the other had not.
    assert again.batches[: len(whole.batches) - start] == whole.batches[start:][: len(again.batches)]


def test_how_the_user_loads_batches_wins(tmp_path, pictures, quiet):
    preprocessor = Noting()
    learn(tmp_path, pictures, quiet, preprocessor, training=IN_STEP)
    assert preprocessor.threads == {threading.current_thread().name}
    assert prefetching_threads({"dataloader_num_workers": 2}, pictures=True) == 0
    assert prefetching_threads({"accelerator_config": {"dispatch_batches": True}}, pictures=True) == 0
    assert prefetching_threads({"logging_steps": 1}, pictures=True) > 0


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (64, 4)])
def test_beside_an_accelerator_several_threads_read_pictures(monkeypatch, cores, threads):
    monkeypatch.setattr(ahead, "_cores", lambda: cores)
    for accelerator in (False, True):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda found=accelerator: found)
        assert prefetching_threads({}, pictures=True) == (threads if accelerator else 1)
        assert prefetching_threads({}, pictures=False) == 1


def test_sequences_that_are_encoded_need_no_thread(tmp_path, quiet, monkeypatch):
    monkeypatch.delattr(ahead, "ThreadPoolExecutor")
    rows = [Encoded(tuple(range(2, 8 + i % 3)), 2) for i in range(12)]
    cost, _ = train(make_llama(), TrainingSet.of_text(rows, 0), recipe(max_steps=2), tmp_path, quiet)
    assert cost.steps == 2


def test_torch_has_as_many_threads_as_before(tmp_path, pictures, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        trained(tmp_path, pictures, ImagePreprocessor(make_image_processor()), 1)
        with ThreadPoolExecutor(1) as pool:
            assert (torch.get_num_threads(), pool.submit(torch.get_num_threads).result()) == (3, 3)
    finally:
        torch.set_num_threads(before)
