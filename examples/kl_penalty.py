"""A plain transformers Trainer with retain's KLPenalty and KLMonitor: learn, stay near the base on text, and measure.

Run: python examples/kl_penalty.py MODEL TRAIN.jsonl TEST.jsonl KEEP.jsonl REFERENCE.txt OUTPUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments

import retain
from retain.train.regularise.kl_monitor import KLMonitor
from retain.train.regularise.kl_penalty import KLPenalty, text_batches


def main(
    model_path: str, train: str, test: str, keep: str, held_out_text: str, output: str, *, steps: int = 20
) -> None:
    """Teach the completions of `train` with KL to the base held near 0.05 nats on one half of the held-out text."""
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(model_path), LoraConfig(target_modules="all-linear"))

    texts = Path(held_out_text).read_text(encoding="utf-8").split("\n\n")
    held, watched = (text_batches(tokenizer, part, length=64) for part in (texts[::2], texts[1::2]))
    kl_penalty = KLPenalty(held, limit=0.05)  # its weight rises only as far as the limit asks
    kl_monitor = KLMonitor(watched, share=0.1)  # text that the KL penalty does not see

    rows = []
    for line in Path(train).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        prompt = tokenizer.encode(row["prompt"])
        ids = prompt + tokenizer.encode(row["completion"], add_special_tokens=False) + [tokenizer.eos_token_id]
        rows.append({"input_ids": ids, "labels": [-100] * len(prompt) + ids[len(prompt) :]})
    arguments = TrainingArguments(
        str(Path(output) / "checkpoints"),
        max_steps=steps,
        learning_rate=5e-3,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
    )
    trainer = Trainer(model, arguments, train_dataset=rows, data_collator=DataCollatorForSeq2Seq(tokenizer))
    kl_penalty.attach(trainer)
    kl_monitor.attach(trainer)
    trainer.train()
    print(f"KL to the base by step: {', '.join(f'{step}: {kl:.3f}' for step, kl, _ in kl_monitor.points)}")
    print(f"the KL penalty weighs {kl_penalty.weight:.3g}")

    model.save_pretrained(Path(output) / "adapter")
    result = retain.measure(
        model, tokenizer=tokenizer, test=test, keep=keep, held_out_text=held_out_text, output=output, generate=8
    )
    print(f"{result.keep[0].name}: lost {result.keep[0].lost:.1%}, gained {result.keep[0].gained:.1%}")


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    main(*sys.argv[1:])
