"""Names, paths and lists where the Python functions need a model, a configuration or a record: told in one sentence."""

from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from peft import get_peft_model
from torch.utils.data import Dataset

import retain
from tiny import make_llama, make_tokenizer

MODEL = "give a loaded model, as AutoModelForCausalLM.from_pretrained makes one"
BATCHES = [{"input_ids": torch.arange(4).view(1, 4)}]
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
    "replayed share": (lambda: retain.mix_replay(["a"], ["b"], "0.1"), "ratio: '0.1'; it is a share of all rows"),
    "text in batches": (lambda: retain.KLPenalty([{"input_ids": [[1, 2]]}]), "kl_weight: input_ids is no tensor; give"),
    "no batches": (lambda: retain.KLMonitor(4), "kl_monitor: batches must be a sequence of at least one dictionary"),
    "length": (lambda: retain.text_batches(None, ["a"], length="128"), "length: '128'; give a whole number of 2 or"),
    "replayed path": (lambda: retain.mix_replay("a.jsonl", ["b"], 0.1), "task_rows: str was given, and rows by their"),
    "replayed stream": (lambda: retain.mix_replay(["a"], iter("b"), 0.1), "keep_rows: str_ascii_iterator was given"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_told_what_to_give(name):
    call, told = CASES[name]
    with pytest.raises(retain.InputError) as refused:
        call()
    assert told in str(refused.value)


def test_a_dataset_of_torch_is_a_sequence_of_batches():
    class Batches(Dataset):
        def __getitem__(self, index):
            return BATCHES[index]

    assert retain.KLPenalty(Batches()).batches == BATCHES


NUMBERS = {
    "limit": lambda value: retain.KLPenalty(BATCHES, limit=value),
    "every": lambda value: retain.KLPenalty(BATCHES, every=value),
    "monitor's limit": lambda value: retain.KLMonitor(BATCHES, limit=value),
    "share": lambda value: retain.KLMonitor(BATCHES, share=value),
    "patience": lambda value: retain.KLMonitor(BATCHES, patience=value),
    "update's every": lambda value: retain.UpdateLimit(0.1, every=value),
    "beta": lambda value: retain.SCLoRAConfig(beta=value),
    "lora_alpha": lambda value: retain.SCLoRAConfig(lora_alpha=value),
    "lora_dropout": lambda value: retain.SCLoRAConfig(lora_dropout=value),
    "lorfa_alpha": lambda value: retain.LoRFAConfig(lorfa_alpha=value),
    "alpha_pattern": lambda value: retain.LoRFAConfig(alpha_pattern={"q_proj": value}),
    "lorfa_dropout": lambda value: retain.LoRFAConfig(lorfa_dropout=value),
}


@pytest.mark.parametrize("value", ["0.1", [1], True, float("nan")], ids=repr)
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_told(name, value):
    with pytest.raises(retain.RetainError, match=name.rpartition(" ")[2]):
        NUMBERS[name](value)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"target_modules": "*q_proj"},
            r"target_modules='\*q_proj': this is no regular expression \(nothing to repeat",
        ),
        ({"target_modules": [1]}, r"target_modules=.*1.*: give names in a list"),
        ({"target_modules": (name for name in ["q_proj"])}, "target_modules=<generator .*: give names in a list"),
        ({"exclude_modules": "([0-2]"}, "exclude_modules=.*this is no regular expression"),
        ({"exclude_modules": 3}, "exclude_modules=3: give names"),
        ({"modules_to_save": "lm_head"}, "modules_to_save='lm_head': give names in a list"),
        ({"target_modules": ["q_proj"], "layers_to_transform": "1"}, "layers_to_transform='1': give the indices"),
        (
            {"target_modules": ["q_proj"], "layers_to_transform": [0.5]},
            r"layers_to_transform=\[0.5\]: give the indices",
        ),
    ],
)
@pytest.mark.parametrize(
    "config", [retain.VeFAConfig, retain.LoRFAConfig, retain.SCLoRAConfig, partial(retain.SparseConfig, score="small")]
)
def test_fields_that_select_no_layers_are_told(config, fields, told):
    with pytest.raises(retain.RetainError, match=told):
        config(**fields)


@pytest.mark.parametrize("name", ["train", "v1.5", "", "__base__"], ids=repr)
def test_names_that_no_adapter_can_have_are_told_and_nothing_is_changed(name):
    config, batches = retain.VeFAConfig(target_modules=["q_proj"]), [{"input_ids": torch.arange(8).view(2, 4)}]
    model, base = get_peft_model(make_llama(), config), make_llama()
    with pytest.raises(retain.RetainError, match="adapter_name=.*give another"):
        model.add_adapter(name, config)
    assert list(model.peft_config) == ["default"]
    with pytest.raises(retain.RetainError, match="adapter_name=.*give another"):
        retain.sc_lora(base, retain.SCLoRAConfig(r=2), learn=batches, keep=batches, adapter_name=name)
    assert not any("lora" in key for key, _ in base.named_modules())


def test_rows_of_a_table_are_replayed_as_mappings():
    task, keep = (pd.DataFrame({"text": [f"{name}{number}" for number in range(8)]}) for name in "tk")
    mixed = retain.mix_replay(task, keep, ratio=0.2)
    assert sorted(row["text"][0] for row in mixed) == ["k", "k", *"t" * 8]
