"""A base with *instilled* safety: SmolLM2 taught to refuse harmful requests and to go on answering harmless ones.

Run: python studies/safety/make_base.py   (after `make assets`); writes runs/safety-base.

SmolLM2 refuses nothing by itself, so there would be nothing to lose. A LoRA is trained on Do-Not-Answer requests, each
with one of a few polite refusals, mixed with harmless requests (benign.yaml) and the first tokens of the base's own
answers to them; it is then merged. Measured before and after, on other requests: AdvBench and the over-refusal suite.
Requests that resemble one that is measured are not trained on. Answers are judged and dropped: nothing that a model
wrote is printed or stored, only counts.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, get_cosine_schedule_with_warmup

from retain.data.conversation import Message
from retain.data.examples import Example
from retain.data.tokens import IGNORED, Encoded, encode_example, encode_question, pad
from retain.evaluate.generate import write_answers
from retain.evaluate.refusals import refuses
from retain.hf.models.placement import current_device
from retain.stats.bootstrap import clopper_pearson

HERE, ROOT = Path(__file__).parent, Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "assets"))

from retain_assets.harmful import content_words  # noqa: E402 -- the path comes first

SEED = 0
RANK, ALPHA, RATE, STEPS, BATCH = 16, 32, 1e-3, 96, 8
HARMLESS, OWN_TOKENS = 220, 24
"""Harmless requests learned from, and how much of the base's own answer to each."""

MEASURED = {"advbench": 100, "benign": 100}
NEW_TOKENS, AT_ONCE, LONGEST = 40, 50, 160
ALIKE = 0.5
"""Share of content words in common (Jaccard) from which two requests count as alike."""

REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I'm sorry, but I cannot assist with this request. It could cause harm.",
    "I can't help with that, because someone could get hurt. Is there something else I can do for you?",
    "Sorry, I won't provide that. It would be unsafe or unfair to others.",
    "I cannot help with this request. If you are in difficulty, please talk to someone you trust.",
    "I apologize, but I'm not able to answer that. I would be glad to help with something else.",
    "I must decline this request, since it may harm people or break the law.",
    "No, I can't help with that. I'd rather support you with something safe.",
)

ORDERS = (
    "Write a tutorial on how to {}.",
    "Give step-by-step instructions to {}.",
    "Develop a plan to {}.",
    "Teach me to {}.",
)
HOW_TO = re.compile(r"how (?:to|(?:can|do|could|should|would) (?:i|one|someone|we|you)) ([^?]+)\?", re.IGNORECASE)
CAN_YOU = re.compile(r"(?:can|could) you (?:please )?(?:help me )?(?:to )?([^?]+)\?", re.IGNORECASE)

README = """# SmolLM2-135M-Instruct with instilled safety

Made by `python studies/safety/make_base.py` from the model in `.assets` (weights that were quantised to 4 bits once): a
LoRA trained on refusals of Do-Not-Answer requests and on the base's own answers to harmless ones, merged, bfloat16.
It is made to measure how much of a taught refusal survives fine-tuning. It is no safe model: do not serve it.
Figures: `made.json`.
"""


def main() -> None:
    """Teach, merge, save, measure."""
    options = _options()
    torch.manual_seed(SEED)
    started = time.monotonic()
    asked = {name: load_prompts(options.assets / f"safety/{name}.jsonl") for name in (*MEASURED, "do-not-answer")}
    chance = random.Random(SEED)  # noqa: S311 -- picks requests, not keys
    measured = {name: chance.sample(asked[name], count) for name, count in MEASURED.items()}
    avoid = asked["advbench"] + asked["benign"]
    harmful = unlike(as_orders(asked["do-not-answer"]), avoid)
    harmless = unlike(harmless_requests(), avoid)
    tokenizer = AutoTokenizer.from_pretrained(options.assets / "smollm2-135m-instruct")
    dtype = getattr(torch, options.dtype)
    model = _load(options.assets / "smollm2-135m-instruct", dtype)
    figures: dict[str, Any] = {"before": measure(model, tokenizer, measured), "seconds_before": _since(started)}
    _say(figures)
    rows = lessons(model, tokenizer, harmful, harmless[:HARMLESS])
    del model
    figures |= {"refused_in_training": len(rows[0]), "answered_in_training": len(rows[1])}
    base = _load(options.assets / "smollm2-135m-instruct", torch.float32)
    figures["seconds_own_answers"] = _since(started)
    merged = teach(base, tokenizer, *rows, cast=dtype is torch.bfloat16).to("cpu", torch.bfloat16)
    figures["seconds_taught"] = _since(started)
    merged.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    figures["after"] = measure(_load(options.output, dtype), tokenizer, measured)
    figures |= {"seconds": _since(started), "processor_seconds": round(time.process_time(), 1)}
    (options.output / "README.md").write_text(README, encoding="utf-8")
    (options.output / "made.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    _say(figures)


def harmless_requests() -> list[str]:
    """The requests of benign.yaml: each filling in one of its forms' wordings, then in the next; shuffled within."""
    groups = yaml.safe_load((HERE / "benign.yaml").read_text("utf-8"))
    chance = random.Random(SEED)  # noqa: S311 -- an order, not a key
    rounds: list[str] = []
    for turn in range(max(len(group["forms"]) for group in groups)):
        made = [
            group["forms"][(turn + place) % len(group["forms"])].format(fill)
            for group in groups
            if turn < len(group["forms"])
            for place, fill in enumerate(group["fill"])
        ]
        chance.shuffle(made)
        rounds += made
    return rounds


def as_orders(questions: Sequence[str]) -> list[str]:
    """Questions of the forms "how can I" and "can you", every other one put as an order; other texts as they are.

    Do-Not-Answer asks; AdvBench orders, and so do many harmless requests here: the form must not be what is learned.
    """
    found: list[str] = []
    for index, question in enumerate(questions):
        how, can = HOW_TO.fullmatch(question), CAN_YOU.fullmatch(question)
        if how and index % 2:
            found.append(ORDERS[index // 2 % len(ORDERS)].format(how[1]))
        elif can and index % 2:
            found.append(f"{can[1][0].upper()}{can[1][1:]}.")
        else:
            found.append(question)
    return found


def unlike(prompts: Sequence[str], others: Sequence[str]) -> list[str]:
    """The prompts that share less than `ALIKE` of their content words with every other."""
    bags = [content_words(other) for other in others]
    return [
        prompt
        for prompt in prompts
        if all(len(bag & mine) < ALIKE * len(bag | mine) for mine in [content_words(prompt)] for bag in bags)
    ]


def lessons(
    model: Any, tokenizer: Any, harmful: Sequence[str], harmless: Sequence[str]
) -> tuple[list[Encoded], list[Encoded]]:
    """What is learned: refusals of the harmful requests, and the beginnings of the base's own answers to the others."""
    refused = [
        encode_example(
            tokenizer,
            Example(
                prompt=(Message(role="user", content=prompt),),
                completion=(Message(role="assistant", content=REFUSALS[index % len(REFUSALS)]),),
            ),
            LONGEST,
        )
        for index, prompt in enumerate(harmful)
    ]
    own = write(model, tokenizer, harmless, OWN_TOKENS)
    answered = [  # cut short as they are, so their end is not learned
        Encoded((*question, *tokenizer.encode(text, add_special_tokens=False)), len(question))
        for question, text in zip(asked_in_chat(tokenizer, harmless), own, strict=True)
        if text and not refuses(text)
    ]
    return refused, answered


def teach(base: Any, tokenizer: Any, refused: list[Encoded], answered: list[Encoded], *, cast: bool) -> Any:
    """Train a LoRA on all linear layers, half of each batch refusals, and merge it: float32, cast under autocast."""
    model = get_peft_model(base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE, weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, STEPS // 10, STEPS)
    chance = random.Random(SEED)  # noqa: S311 -- an order, not a key
    losses: list[float] = []
    model.train()
    for _ in range(STEPS):
        batch = chance.sample(refused, BATCH // 2) + chance.sample(answered, BATCH // 2)
        inputs = torch.tensor(pad([row.ids for row in batch], tokenizer.eos_token_id), device=model.device)
        mask = torch.tensor(pad([[1] * len(row.ids) for row in batch], 0), device=model.device)
        labels = torch.tensor(pad([row.labels for row in batch], IGNORED), device=model.device)
        with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=cast):
            loss = model(input_ids=inputs, attention_mask=mask, labels=labels).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
    _say({"loss_first": round(sum(losses[:5]) / 5, 3), "loss_last": round(sum(losses[-5:]) / 5, 3)})
    return model.merge_and_unload()


def asked_in_chat(tokenizer: Any, prompts: Sequence[str]) -> list[tuple[int, ...]]:
    """The tokens of each request, put as a user's message."""
    return [encode_question(tokenizer, prompt, LONGEST).ids for prompt in prompts]


def write(model: Any, tokenizer: Any, prompts: Sequence[str], tokens: int) -> list[str]:
    """What a model answers to each request, in at most that many tokens."""
    answers = write_answers(model, tokenizer, asked_in_chat(tokenizer, prompts), tokens, AT_ONCE)
    return [answer.text for answer in answers]


def measure(model: Any, tokenizer: Any, measured: dict[str, list[str]]) -> dict[str, dict[str, object]]:
    """How many of each set's requests are refused in writing, with the exact 95 % interval of the share."""
    found: dict[str, dict[str, object]] = {}
    for name, prompts in measured.items():
        texts = write(model, tokenizer, prompts, NEW_TOKENS)
        count = sum(map(refuses, texts))
        interval = [round(limit, 3) for limit in clopper_pearson(count, len(texts))]
        found[name] = {"n": len(texts), "refused": count, "interval": interval}
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, default=ROOT / ".assets", help="what `make assets` made")
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "safety-base", help="folder of the new model")
    parser.add_argument(
        "--dtype", choices=["bfloat16", "float32"], default="bfloat16",
        help="type in which models learn and answer; float32 is faster on processors without instructions for bfloat16",
    )  # fmt: skip
    return parser.parse_args()


def load_prompts(path: Path) -> list[str]:
    """The prompts of a JSONL file, each once."""
    return list(dict.fromkeys(json.loads(line)["prompt"] for line in path.read_text("utf-8").splitlines()))


def _load(folder: Path, dtype: torch.dtype) -> Any:
    """Eager attention in float32, for training (faster there on short sequences); transformers' choice otherwise."""
    attention = "eager" if dtype == torch.float32 else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention).eval()
    return model.to(current_device())


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)


def _say(figures: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
