"""SC-LoRA in a plain PyTorch loop: begin where the new data are and what the base knows is not, then look what it lost.

Run: python examples/sc_lora.py MODEL TRAIN.jsonl TEST.jsonl KEEP.jsonl REFERENCE.txt OUTPUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import retain


def main(
    model_path: str, train: str, test: str, keep: str, held_out_text: str, output: str, *, steps: int = 20
) -> None:
    """Calibrate on the training data and on text that the base writes itself; train, save, load again, measure."""
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    base = AutoModelForCausalLM.from_pretrained(model_path)
    rows = [json.loads(line) for line in Path(train).read_text(encoding="utf-8").splitlines()]
    ids = [tokenizer.encode(row["prompt"] + row["completion"], return_tensors="pt") for row in rows]
    learn = [{"input_ids": one, "attention_mask": torch.ones_like(one)} for one in ids]
    model = retain.sc_lora(
        base,
        retain.SCLoRAConfig(r=4, beta=0.8),
        learn=learn,
        keep=retain.self_generated(base, tokenizer, tokens=1000, max_length=128),
    )
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=5e-3, weight_decay=0.01)
    model.train()
    for step in range(steps):
        one = ids[step % len(ids)]
        model(input_ids=one, labels=one).loss.backward()
        optimizer.step()  # its decay pulls towards the base
        optimizer.zero_grad()

    adapter = Path(output) / "adapter"
    model.save_pretrained(adapter)  # an ordinary LoRA of rank 8
    small = retain.export(model, Path(output) / "small", rank=4, to="lora")
    print(f"cut to rank {small.rank}, the update is {small.error:.1%} off")
    again = retain.load_adapter(AutoModelForCausalLM.from_pretrained(model_path), adapter)
    result = retain.measure(
        again, tokenizer=tokenizer, test=test, keep=keep, held_out_text=held_out_text, output=output, generate=8
    )
    print(f"{result.keep[0].name}: lost {result.keep[0].lost:.1%}, gained {result.keep[0].gained:.1%}")


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(*sys.argv[1:])
