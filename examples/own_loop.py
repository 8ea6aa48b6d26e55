"""VeFA in a plain PyTorch loop, and the report at its end: for people who train in their own way.

Run: python examples/own_loop.py MODEL TRAIN.jsonl TEST.jsonl KEEP.jsonl REFERENCE.txt OUTPUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import retain


def main(
    model_path: str, train: str, test: str, keep: str, held_out_text: str, output: str, *, steps: int = 20
) -> None:
    """Teach the completions of `train`, one example a step, then measure what that did."""
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    base = AutoModelForCausalLM.from_pretrained(model_path)
    model = get_peft_model(base, retain.VeFAConfig(target_modules="all-linear"))
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)

    rows = [json.loads(line) for line in Path(train).read_text(encoding="utf-8").splitlines()]
    model.train()
    for step in range(steps):
        row = rows[step % len(rows)]
        prompt = tokenizer.encode(row["prompt"])
        ids = prompt + tokenizer.encode(row["completion"], add_special_tokens=False) + [tokenizer.eos_token_id]
        labels = torch.tensor([[-100] * len(prompt) + ids[len(prompt) :]])
        loss = model(input_ids=torch.tensor([ids]), labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    # The adapted model is both sides: with its adapter it is tuned, without it the base.
    result = retain.measure(
        model, tokenizer=tokenizer, test=test, keep=keep, held_out_text=held_out_text, output=output, generate=8
    )
    model.save_pretrained(Path(output) / "adapter")
    learned, kept = result.task[0], result.keep[0]
    print(f"{learned.metric.title}: {learned.base:.3f} -> {learned.tuned:.3f}")
    print(f"{kept.name}: lost {kept.lost:.1%}, gained {kept.gained:.1%} of {kept.n}; p = {kept.p_value:.2g}")
    print(f"page: {Path(output) / 'report.html'}")


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(*sys.argv[1:])
