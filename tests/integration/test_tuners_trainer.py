"""The tuners under transformers' Trainer: checkpointing, evaluation, the best model, and going on after a stop."""

import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from retain import LoRFAConfig, VeFAConfig

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
ROWS = [
    {"input_ids": (row := torch.randint(2, 60, (8,), generator=torch.Generator().manual_seed(i))), "labels": row}
    for i in range(8)
]


def trainer(config, folder, steps, **arguments):
    torch.manual_seed(0)
    model = get_peft_model(LlamaForCausalLM(LlamaConfig(**SIZES)), config)
    settings = {"per_device_train_batch_size": 4, "learning_rate": 1e-2, "weight_decay": 0.1, "report_to": []}
    settings |= {"save_steps": 2, "logging_steps": 1, "disable_tqdm": True, "use_cpu": True, **arguments}
    return Trainer(
        model, TrainingArguments(str(folder), max_steps=steps, **settings), train_dataset=ROWS, eval_dataset=ROWS
    )


@pytest.mark.parametrize("kind", [VeFAConfig, LoRFAConfig])
def test_a_resumed_run_ends_where_an_unbroken_one_does(kind, tmp_path):
    whole = trainer(kind(target_modules="all-linear"), tmp_path / "whole", 4, gradient_checkpointing=True)
    before = whole.evaluate()["eval_loss"]
    whole.train()
    assert whole.evaluate()["eval_loss"] < before
    resumed = trainer(kind(target_modules="all-linear"), tmp_path / "resumed", 4)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    ends = [load_file(tmp_path / name / "checkpoint-4" / "adapter_model.safetensors") for name in ("whole", "resumed")]
    for key, value in ends[0].items():
        torch.testing.assert_close(ends[1][key], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [VeFAConfig, LoRFAConfig])
def test_the_best_model_is_loaded_at_the_end(kind, tmp_path):
    run = trainer(
        kind(target_modules="all-linear"), tmp_path, 4, eval_strategy="steps", eval_steps=2, load_best_model_at_end=True
    )
    run.train()
    best = load_file(f"{run.state.best_model_checkpoint}/adapter_model.safetensors")
    state = run.model.state_dict()
    assert all(torch.equal(value, state[key.replace(".weight", ".default.weight")]) for key, value in best.items())
