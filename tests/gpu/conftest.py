"""Tests that need a GPU, each through what users call; RETAIN_GPU_TESTS_DEVICE=cpu runs the same on the processor."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest
import torch

from retain.events import SILENT
from retain.jobs.tune import tune
from retain.recipe import Recipe
from tiny import (
    WORDS,
    labelled_texts,
    make_bert,
    make_image_processor,
    make_text_tokenizer,
    make_vit,
    write_images,
    write_jsonl,
)

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # whose checks of the fused forms are shared

DEVICE = os.environ.get("RETAIN_GPU_TESTS_DEVICE", "cuda")
WHY = (
    f"needs a GPU, and torch {torch.__version__} finds none; RETAIN_GPU_TESTS_DEVICE=cpu runs the same on the processor"
)


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if DEVICE == "cuda" and not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason=WHY))


@pytest.fixture(scope="session")
def device() -> str:
    return DEVICE


@pytest.fixture(autouse=True)
def full_float32(monkeypatch):
    """Convolutions of float32 in float32, as products are: torch's own setting leaves those of cuDNN in TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="session")
def language(tiny_folder, tiny_data, tmp_path_factory) -> dict:
    """A recipe for three steps of the tiny Llama: choices, written answers, text to keep and text held out."""
    folder = tmp_path_factory.mktemp("more")
    asked = [{"question": f"{WORDS[i]} word{i} is", "answers": [WORDS[i + 1]]} for i in range(12)]
    write_jsonl(folder / "written.jsonl", asked)
    lines = [f"word{i % 9} word{i % 7} word{i % 5} x y {WORDS[i % 26]}" for i in range(40)]
    (folder / "keep.txt").write_text("\n\n".join(lines), encoding="utf-8")
    return {
        "model": str(tiny_folder),
        "train": str(tiny_data / "train.jsonl"),
        "test": str(tiny_data / "test.jsonl"),
        "keep": [str(tiny_data / "letters.jsonl"), str(folder / "written.jsonl")],
        "held_out_text": [str(tiny_data / "text.txt")],
        "calibrate_keep": str(folder / "keep.txt"),
        "calibrate_tokens": 200,
        "max_steps": 3,
        "learning_rate": 1e-2,
        "generate": 4,
        "max_new_tokens": 4,
        "max_length": 60,
        "drift": False,
    }


@pytest.fixture(scope="session")
def long_text(tmp_path_factory) -> Path:
    """Held-out text of 60 blocks, enough for a certificate."""
    draw = random.Random(0)  # noqa: S311 -- words of a text, no secret
    path = tmp_path_factory.mktemp("text") / "other.txt"
    path.write_text("\n\n".join("".join(f"{draw.choice(WORDS)} " for _ in range(190)) for _ in range(60)), "utf-8")
    return path


@pytest.fixture(scope="session")
def texts(tmp_path_factory) -> dict:
    """A recipe for three steps of a tiny BERT that tells two classes apart, with pairs to keep."""
    folder = tmp_path_factory.mktemp("texts")
    make_bert().save_pretrained(folder / "bert")
    make_text_tokenizer().save_pretrained(folder / "bert")
    for seed, (name, count) in enumerate({"train": 40, "test": 30, "calibrate": 12}.items()):
        write_jsonl(folder / f"{name}.jsonl", labelled_texts(count, seed))
    pairs = [{"query": f"{WORDS[i]} word{i} {WORDS[i + 5]}", "match": f"word{i} {WORDS[i]}"} for i in range(21)]
    write_jsonl(folder / "pairs.jsonl", pairs)
    return {
        "model": str(folder / "bert"),
        "train": str(folder / "train.jsonl"),
        "test": str(folder / "test.jsonl"),
        "keep": [str(folder / "pairs.jsonl")],
        "calibrate_keep": str(folder / "calibrate.jsonl"),
        "max_steps": 3,
        "batch_size": 8,
        "max_length": 60,
        "learning_rate": 1e-2,
        "drift": False,
    }


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> dict:
    """A recipe for three steps of a tiny ViT that tells three colours apart."""
    folder = tmp_path_factory.mktemp("pictures")
    make_vit().save_pretrained(folder / "vit")
    make_image_processor().save_pretrained(folder / "vit")
    for seed, name in enumerate(("train", "test", "calibrate")):
        write_images(folder / name, 10, seed)
    return {
        "model": str(folder / "vit"),
        "train": str(folder / "train"),
        "test": str(folder / "test"),
        "calibrate_keep": str(folder / "calibrate"),
        "max_steps": 3,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "drift": False,
    }


@pytest.fixture
def tuned(tmp_path):
    """Tune by a recipe's fields, of which any can be another; the record, and the folder."""

    def run(fields: dict, name: str = "run", **more):
        folder, settings = tmp_path / name, {"logging_steps": 1} | more.pop("training", {})
        return tune(Recipe(**{**fields, "output": str(folder), "training": settings, **more}), SILENT), folder

    return run
