"""A classifier of texts, tuned in a plain PyTorch loop and measured on rows in memory: no files but the report.

Run: python examples/encoder.py MODEL OUTPUT   (an encoder, as sentence-transformers/all-MiniLM-L6-v2)
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from peft import get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import retain

CLASSES = ("good", "bad")
LIKED, DISLIKED = ("lovely", "splendid", "kind", "bright", "warm"), ("awful", "dull", "rude", "grey", "cold")
LEARNED = ("film", "book", "play", "song", "show", "poem")
OTHER = ("meal", "room", "walk", "town", "boat", "lamp")


def rows(things: tuple[str, ...], opening: str) -> list[dict[str, str]]:
    """Labelled sentences about things."""
    return [
        {"text": f"{opening} {word} {thing}", "label": label}
        for thing in things
        for label, words in zip(CLASSES, (LIKED, DISLIKED), strict=True)
        for word in words
    ]


def train(model: torch.nn.Module, tokenizer: object, lessons: list[dict[str, str]], rate: float, epochs: int) -> None:
    """Whatever of the model is free learns the labels, eight rows a step."""
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=rate)
    shuffled = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(lessons), generator=shuffled).tolist()
        for start in range(0, len(order), 8):
            batch = [lessons[index] for index in order[start : start + 8]]
            inputs = tokenizer([row["text"] for row in batch], padding=True, return_tensors="pt")
            labels = torch.tensor([CLASSES.index(row["label"]) for row in batch])
            model(**inputs, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval()


def main(model_path: str, output: str) -> None:
    """Fit a head on the frozen features: that is the base. Then tune it, and see what that did to both."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    names = dict(enumerate(CLASSES))
    base = AutoModelForSequenceClassification.from_pretrained(
        model_path, id2label=names, label2id={name: index for index, name in names.items()}
    )
    lessons, held_out = rows(LEARNED, "this is a"), rows(LEARNED, "we saw one")
    base.base_model.requires_grad_(requires_grad=False)
    train(base, tokenizer, lessons, rate=1e-2, epochs=10)

    model = get_peft_model(base, retain.VeFAConfig(target_modules="all-linear", task_type="SEQ_CLS"))
    train(model, tokenizer, lessons, rate=1e-2, epochs=5)
    # The adapted model is both sides: with its adapter it is tuned, without it the base.
    result = retain.measure(
        model, tokenizer=tokenizer, test=held_out, keep={"other things": rows(OTHER, "there is a")}, output=output
    )
    learned, kept = result.task[0], result.keep[0]
    print(f"{learned.metric}: {learned.base:.3f} -> {learned.tuned:.3f}")
    print(f"{kept.name}: lost {kept.lost:.1%}, gained {kept.gained:.1%} of {kept.n}; p = {kept.p_value:.2g}")
    print(f"page: {Path(output) / 'report.html'}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
