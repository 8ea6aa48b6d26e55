"""Names, paths and lists where the Python functions need a model, a configuration or a record: told in one sentence."""

from pathlib import Path

import pandas as pd
import pytest

import retain
from tiny import make_llama, make_tokenizer

MODEL = "give a loaded model, as AutoModelForCausalLM.from_pretrained makes one"
SPARSE = {"density": 0.1, "score": "small"}

CASES = {
    "accelerate": (lambda: retain.accelerate(None), f"model: NoneType was given; {MODEL}"),
    "decelerate": (lambda: retain.decelerate("gpt2"), f"model: 'gpt2' was given; {MODEL}"),
    "fisher": (lambda: retain.fisher_diagonal("gpt2", []), f"model: 'gpt2' was given; {MODEL}"),
    "load": (lambda: retain.load_adapter(Path("base"), "adapter"), f"base: 'base' was given; {MODEL}"),
    "sc_lora": (lambda: retain.sc_lora("gpt2", retain.SCLoRAConfig(r=2)), f"base: 'gpt2' was given; {MODEL}"),
    "sc_lora's config": (lambda: retain.sc_lora(make_llama(), []), "config: list was given; give an SCLoRAConfig"),
    "sparse": (lambda: retain.sparse_update("gpt2", retain.SparseConfig(**SPARSE)), "base: 'gpt2' was given"),
    "sparse's config": (lambda: retain.sparse_update(make_llama(), []), "config: list was given; give a SparseConfig"),
    "self-generated": (lambda: retain.self_generated("gpt2", make_tokenizer()), "model: 'gpt2' was given"),
    "its tokenizer": (lambda: retain.self_generated(make_llama(), "gpt2"), "tokenizer: 'gpt2' was given"),
    "its tokens": (lambda: retain.self_generated(make_llama(), make_tokenizer(), 0), "tokens: 0; give at least one"),
    "EWC": (lambda: retain.EWC([]), "fisher: list was given; give what fisher_diagonal"),
    "record": (lambda: retain.read_result(None), "path: NoneType was given; give the path of a result.json"),
    "figures": (lambda: retain.tracked_figures("runs/first"), "result: str was given; give a record"),
    "budget": (lambda: retain.Budget("capitals:2"), "budget: 'capitals:2'; give limits by name"),
    "replayed path": (lambda: retain.mix_replay("a.jsonl", ["b"], 0.1), "task_rows: str was given, and rows by their"),
    "replayed stream": (lambda: retain.mix_replay(["a"], iter("b"), 0.1), "keep_rows: str_ascii_iterator was given"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_told_what_to_give(name):
    call, told = CASES[name]
    with pytest.raises(retain.InputError) as refused:
        call()
    assert told in str(refused.value)


def test_rows_of_a_table_are_replayed_as_mappings():
    task, keep = (pd.DataFrame({"text": [f"{name}{number}" for number in range(8)]}) for name in "tk")
    mixed = retain.mix_replay(task, keep, ratio=0.2)
    assert sorted(row["text"][0] for row in mixed) == ["k", "k", *"t" * 8]
