"""What a training step waits for its batch: made when it is due, by a thread, or by a worker process of the DataLoader.

    python benchmarks/loading.py                   # photographs and small images, on this processor
    python benchmarks/loading.py --device-ms 60    # a step that leaves the processor idle, as one on a GPU does

Each way trains a ViT-small on the same images, in turn, several times. `step` is wall time from the end of a step to
the end of the next, `waiting` the part of it before the batch is there; means over all steps but the first quarter of
each run, in which the ways are ahead by different amounts. Wall time, since what overlaps does not show in CPU time:
the machine should be quiet. With --device-ms the model is small and sleeps instead: an emulation. The gate: all ways
have the same losses.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import markdown, options, prepare
from PIL import Image
from transformers import TrainerCallback, ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from retain.data.item_types import LabelledImage
from retain.data.preprocess import ImagePreprocessor
from retain.hf.adapters.attach import attach
from retain.recipe import Recipe
from retain.train.arguments import training_arguments
from retain.train.loop import TrainingSet
from retain.train.prefetch import PrefetchingTrainer

PIXELS = 112
SIZES = {"photographs 1000 × 750": (1000, 750, "jpg"), "images 28 × 28": (28, 28, "png")}
WAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "when due": (0, {}),
    "a thread": (1, {}),
    "two threads": (2, {}),
    "a process": (0, {"dataloader_num_workers": 1}),
    "two processes": (0, {"dataloader_num_workers": 2}),
}


def write_images(folder: Path, name: str, count: int) -> list[LabelledImage]:
    """Waves of colour under noise, in four classes."""
    width, height, suffix = SIZES[name]
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width]
    found = []
    for number in range(count):
        a = generator.normal(size=(4, 3))
        waves = 60 * np.sin(9 * x[..., None] / width * a[0] + a[1]) + 40 * np.cos(
            12 * y[..., None] / height * a[2] + a[3]
        )
        noisy = 128 + waves + generator.normal(0, 14, (height, width, 3))
        path = folder / f"{width}-{number:03d}.{suffix}"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
        found.append(LabelledImage(image=str(path), label=str(number % 4)))
    return found


class Clock(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """When steps ended, and the losses."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
        """Note the loss."""
        self.losses += [value for name, value in (logs or {}).items() if name == "loss"]


class Waiting(PrefetchingTrainer):
    """Notes how long each step waited for its batch, in seconds."""

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """As transformers' Trainer."""
        began = time.perf_counter()
        batches = super().get_batch_samples(*args, **kwargs)
        self.waited = [*getattr(self, "waited", []), time.perf_counter() - began]
        return batches


def make_model(device_ms: float) -> torch.nn.Module:
    """A ViT-small with VeFA; or a small one each of whose steps sleeps besides."""
    torch.manual_seed(0)
    size = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536}
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = ViTConfig(image_size=PIXELS, patch_size=16, num_labels=4, **(small if device_ms else size))
    model: torch.nn.Module = attach(ViTForImageClassification(config), "vefa")
    if device_ms:
        model.register_forward_pre_hook(lambda *_: time.sleep(device_ms / 1000))
    return model


def run(
    items: list[LabelledImage], way: str, asked: argparse.Namespace
) -> tuple[list[float], list[float], list[float]]:
    """Seconds from step to step, seconds waited, and losses, of one training."""
    threads, loading = WAYS[way]
    processor = ViTImageProcessorPil(size={"height": PIXELS, "width": PIXELS}, do_resize=True, do_normalize=True)
    training_set = TrainingSet.of_classes(items, ImagePreprocessor(processor), [str(label) for label in range(4)])
    settings = {"logging_steps": 1, **loading}
    fields = {"model": "m", "train": "t", "test": "e", "output": "o", "method": "vefa", "learning_rate": 1e-3}
    recipe = Recipe(**fields, max_steps=asked.steps, batch_size=asked.batch, training=settings)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Waiting(
            model=make_model(asked.device_ms),
            args=training_arguments(recipe, Path(folder), pictures=True),
            train_dataset=training_set.rows,
            data_collator=training_set.collator,
            callbacks=[clock],
            threads=threads,
        )
        trainer.train()
    first = asked.steps // 4
    steps = [after - before for before, after in itertools.pairwise(clock.ends[first - 1 :])]
    return steps, trainer.waited[first:], clock.losses


def main() -> None:
    """Measure each way on each kind of images, and print a table."""
    parser = options(__doc__ or "", rounds=2)
    parser.add_argument("--steps", type=int, default=16, help="of each training, in one epoch (%(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--device-ms", type=float, default=0.0, help="let the model sleep in place of computing")
    parser.add_argument(
        "--pictures", nargs="+", choices=SIZES, default=list(SIZES), metavar="KIND", help=", ".join(SIZES)
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY", help=", ".join(WAYS))
    asked = parser.parse_args()
    prepare(asked.threads)
    rows = []
    for name in asked.pictures:
        with tempfile.TemporaryDirectory() as folder:
            items = write_images(Path(folder), name, asked.steps * asked.batch)
            found: dict[str, list[tuple[list[float], ...]]] = {way: [] for way in asked.ways}
            for _ in range(asked.rounds):
                for way in asked.ways:
                    found[way].append(run(items, way, asked))
        losses = {json.dumps(one[2]) for runs in found.values() for one in runs}
        if len(losses) > 1:
            raise SystemExit(f"{name}: the losses differ; no figure counts.")
        for way, runs in found.items():
            steps, waited = (statistics.fmean(value for one in runs for value in one[part]) for part in (0, 1))
            rows.append({"images": name, "way": way, "step": 1000 * steps, "waiting": 1000 * waited})
    columns = {"images": "images", "batches made": "way", "step, ms": "step", "of it waiting, ms": "waiting"}
    print(markdown(rows, columns))


if __name__ == "__main__":
    main()
