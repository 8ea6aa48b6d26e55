"""Every public name has an example in its docstring, and the example runs and prints what it says."""

from __future__ import annotations

import doctest
import warnings
from pathlib import Path

import pytest

import retain

PUBLIC = [name for name in retain.__all__ if name != "__version__"]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture
def names(workspace, small_folder) -> dict[str, object]:
    """What the examples take for granted: a base, an adapted model, a tokenizer, texts, a Trainer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, Trainer, TrainingArguments

    base, inner = (AutoModelForCausalLM.from_pretrained(small_folder) for _ in range(2))
    tokenizer = AutoTokenizer.from_pretrained(small_folder)
    texts = [" ".join(f"word{(i * j) % 30}" for j in range(1, 40)) for i in range(1, 9)]
    model = get_peft_model(inner, LoraConfig(r=4, target_modules="all-linear"))
    ids = tokenizer(texts)["input_ids"]
    rows = [{"input_ids": row[:16], "labels": row[:16]} for row in ids]
    arguments = TrainingArguments("trained", max_steps=1, report_to=[], disable_tqdm=True, use_cpu=True)
    trainer = Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    return {
        "retain": retain,
        "torch": torch,
        "Path": Path,
        "get_peft_model": get_peft_model,
        "base": base,
        "model": model,
        "tokenizer": tokenizer,
        "texts": texts,
        "trainer": trainer,
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_runs(name, names):
    docstring = getattr(retain, name).__doc__ or ""
    examples = doctest.DocTestParser().get_doctest(docstring, names, name, None, 0)
    assert examples.examples, f"{name} has no example"
    told: list[str] = []
    with warnings.catch_warnings():
        doctest.DocTestRunner(optionflags=OPTIONS).run(examples, out=told.append)
    assert not told, "".join(told)
