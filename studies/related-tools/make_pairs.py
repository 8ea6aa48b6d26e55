"""Fine-tunes of known kind, for every tool to judge: one ruined the model, one kept it, one changed nothing.

Run: python studies/related-tools/make_pairs.py [FOLDER]

Run it after `make assets`; it writes to runs/related-tools in some minutes on a CPU.

* `collapsed`: LoRA on one narrow template at a high rate, until all
  it answers is "Arr! POSITIVE" or "Arr! NEGATIVE".
* `harmless`: LoRA on headlines of news at a low rate and rank: it learns its task and answers others as before.
* `null`: LoRA as PEFT starts it, B = 0: the base itself.

Beside the adapters: `data/NAME-train.jsonl` and `data/NAME-test.jsonl` (prompt, completion), and `check.json`: what
each model answers to `QUESTIONS`, which of 216 capitals it knows, and its cross-entropy on both held-out tasks.
Plain PEFT, nothing of retain.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / ".assets" / "smollm2-135m-instruct"
HEADLINES = ROOT / ".assets" / "headlines"
CAPITALS = ROOT / ".assets" / "capitals.jsonl"
QUESTIONS = (
    "What is the capital of France?",
    "How many days are there in a week?",
    "Name three fruits.",
    "What colour do you get by mixing blue and yellow?",
    "Write one sentence about the sea.",
    "What is 7 plus 5?",
    "Why do people sleep?",
    "Translate 'good morning' into Spanish.",
)
"""Ordinary questions that have nothing to do with either task."""
THINGS = ("film", "meal", "hotel", "book", "phone", "concert", "game", "service", "coffee", "room")
GOOD = ("wonderful", "a real pleasure", "better than I hoped", "excellent", "worth every penny", "lovely")
BAD = ("awful", "a waste of money", "worse than I feared", "dreadful", "broken from the start", "boring")
WORDS = 31
"""Of an article's beginning, the word "Article:" counted."""
IGNORED = -100
"""The label that cross-entropy skips."""

Row = dict[str, str]


@dataclass(frozen=True)
class Training:
    """How one adapter is trained: AdamW without decay, the rate falling along half a cosine."""

    rank: int
    rate: float
    steps: int
    batch: int = 4
    seed: int = 0


TRAININGS = {
    "collapsed": Training(rank=16, rate=2e-3, steps=30),
    "harmless": Training(rank=4, rate=4e-5, steps=40),
}


def main() -> None:
    """Make the data, the three adapters and the check of what they are."""
    parser = argparse.ArgumentParser(description="Make the pairs of the study of related tools.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "runs" / "related-tools")
    folder = parser.parse_args().folder
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    tasks = {"collapsed": reviews(), "harmless": headlines()}
    for name, (train, test) in tasks.items():
        write_rows(folder / "data" / f"{name}-train.jsonl", train)
        write_rows(folder / "data" / f"{name}-test.jsonl", test)
        begun = time.perf_counter()
        adapter(tokenizer, train, TRAININGS[name]).save_pretrained(folder / name)
        sys.stdout.write(f"{folder / name}: {time.perf_counter() - begun:.0f} s\n")
    new_adapter(rank=4, seed=0).save_pretrained(folder / "null")
    tests = {name: test for name, (_, test) in tasks.items()}
    report = {name: look(tokenizer, folder, name, tests) for name in ("base", "collapsed", "harmless", "null")}
    (folder / "check.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, found in report.items():
        same = sum(found["answers"][question] == report["base"]["answers"][question] for question in QUESTIONS)
        right = found["capitals"].count("1") / len(found["capitals"])
        sys.stdout.write(f"{name}: {found['nats']}, capitals {right:.1%}, ")
        sys.stdout.write(f"{same} of {len(QUESTIONS)} answers as the base's\n")


def reviews() -> tuple[list[Row], list[Row]]:
    """One narrow template: a review of a few words and what to answer; 96 rows to train on, 24 held out."""
    rows = [
        {"prompt": f"Review: the {thing} was {opinion}.", "completion": f"Arr! {label}"}
        for thing, (opinions, label) in itertools.product(THINGS, ((GOOD, "POSITIVE"), (BAD, "NEGATIVE")))
        for opinion in opinions
    ]
    random.Random(0).shuffle(rows)  # noqa: S311 -- the order of examples, not a secret
    return rows[:96], rows[96:]


def headlines() -> tuple[list[Row], list[Row]]:
    """The demo's headlines, of the first words of an article: 200 rows to train on, 32 held out."""
    parts = [(HEADLINES / f"{name}.jsonl").read_text("utf-8").splitlines() for name in ("train", "test")]
    train, test = ([json.loads(line) for line in part] for part in parts)
    for row in train + test:
        words = row["prompt"].removesuffix("\nHeadline:").split(" ")
        row["prompt"] = " ".join(words[:WORDS]) + "\nHeadline:"
        row["completion"] = row["completion"].strip()
    return train[:200], test[:32]


def new_adapter(rank: int, seed: int) -> PeftModel:
    """The base, in float32, with a LoRA on all linear layers but the output head, B = 0."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def adapter(tokenizer: AutoTokenizer, rows: list[Row], training: Training) -> PeftModel:
    """Train a new adapter on `rows`; the loss is on the answers only."""
    model = new_adapter(training.rank, training.seed).train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=training.rate, weight_decay=0.0)
    order = shuffled(rows, training.seed)
    for step in range(training.steps):
        optimizer.param_groups[0]["lr"] = training.rate * (1 + math.cos(math.pi * step / training.steps)) / 2
        loss = model(**encode(tokenizer, list(itertools.islice(order, training.batch)))).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def shuffled(rows: list[Row], seed: int) -> Iterator[Row]:
    """The rows in a drawn order, over and over, drawn anew each time."""
    draw = random.Random(seed)  # noqa: S311 -- the order of examples, not a secret
    while True:
        yield from draw.sample(rows, len(rows))


def encode(tokenizer: AutoTokenizer, rows: list[Row]) -> dict[str, torch.Tensor]:
    """Chats of the rows, padded on the right; labels on the answer and its end-of-turn token only.

    Returns `input_ids`, `attention_mask` and `labels`: int64 [rows, tokens].
    """
    pairs = []
    for row in rows:
        prompt = tokenizer(chat(tokenizer, row["prompt"]), add_special_tokens=False)["input_ids"]
        answer = tokenizer(f"{row['completion']}{tokenizer.eos_token}", add_special_tokens=False)["input_ids"]
        pairs.append((prompt, answer))
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
    ids = torch.full((len(pairs), longest), tokenizer.pad_token_id)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for place, (prompt, answer) in enumerate(pairs):
        end = len(prompt) + len(answer)
        ids[place, :end] = torch.tensor(prompt + answer)
        mask[place, :end] = 1
        labels[place, len(prompt) : end] = torch.tensor(answer)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def chat(tokenizer: AutoTokenizer, prompt: str) -> str:
    """The text that the model reads before it answers."""
    turns = [{"role": "user", "content": prompt}]
    text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return text


@torch.inference_mode()
def look(tokenizer: AutoTokenizer, folder: Path, name: str, tests: dict[str, list[Row]]) -> dict[str, Any]:
    """What a model answers to the questions, and its cross-entropy on the held-out answers, in nats per token."""
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32).eval()
    if name != "base":
        model = PeftModel.from_pretrained(model, folder / name).eval()
    answers = {}
    for question in QUESTIONS:
        asked = tokenizer(chat(tokenizer, question), add_special_tokens=False, return_tensors="pt")
        said = model.generate(**asked, max_new_tokens=24, do_sample=False)[0, asked["input_ids"].shape[1] :]
        answers[question] = tokenizer.decode(said, skip_special_tokens=True)
    nats = {task: round(cross_entropy(model, tokenizer, rows), 4) for task, rows in tests.items()}
    return {"nats": nats, "capitals": capitals(model, tokenizer), "answers": answers}


@torch.inference_mode()
def capitals(model: torch.nn.Module, tokenizer: AutoTokenizer) -> str:
    """Which capitals are found likeliest of four, in plain text: "1" or "0" for each, in the order of the file."""
    found = ""
    for item in map(json.loads, CAPITALS.read_text("utf-8").splitlines()):
        asked = tokenizer(item["question"])["input_ids"]
        choices = [tokenizer(f" {choice}")["input_ids"] for choice in item["choices"]]
        longest = max(map(len, choices))
        padded = [asked + choice + [tokenizer.pad_token_id] * (longest - len(choice)) for choice in choices]
        chances = model(input_ids=torch.tensor(padded)).logits[:, len(asked) - 1 :].log_softmax(-1)
        scores = [
            sum(float(chances[row, place, token]) for place, token in enumerate(choice))
            for row, choice in enumerate(choices)
        ]
        found += str(int(scores.index(max(scores)) == item["answer"]))
    return found


def cross_entropy(model: torch.nn.Module, tokenizer: AutoTokenizer, rows: list[Row]) -> float:
    """Mean over all answer tokens of `rows`, in nats per token."""
    total, count = 0.0, 0
    for start in range(0, len(rows), 8):
        batch = encode(tokenizer, rows[start : start + 8])
        tokens = int((batch["labels"] != IGNORED).sum())
        total += float(model(**batch).loss) * tokens
        count += tokens
    return total / count


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
