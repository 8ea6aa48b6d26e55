"""Runs on a GPU that were interrupted, scaled, guarded, exported: what they end in."""

import warnings

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

import retain
from retain.train import loop
from tiny import WORDS, make_llama, make_tokenizer

METHODS = {
    "lora, dropout": {"method": {"name": "lora", "r": 2, "lora_dropout": 0.2}},
    "sc-lora": {"method": "sc-lora", "rank": 2},
    "vefa": {"method": "vefa"},
    "lorfa": {"method": "lorfa", "rank": 2},
    "rotation": {"method": {"name": "rotation", "block_size": 8}},
    "sparse": {"method": {"name": "sparse", "density": 0.05, "batches": 2}},
    "kl penalty": {"method": "vefa", "kl_weight": 1.0},
}
X = torch.arange(6, 26)[None]


class StopAt(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", METHODS)
def test_an_interrupted_run_ends_in_the_same_bits(language, tuned, monkeypatch, name):
    fields = {**language, **METHODS[name], "max_steps": 4, "keep": language["keep"][:1], "generate": 0}
    whole, folder = tuned(fields, "whole")
    monkeypatch.setattr("retain.train.callbacks.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "StopWhenNotFinite", StopAt)
        with pytest.raises(KeyboardInterrupt):
            tuned(fields, "cut")
    cut, other = tuned(fields, "cut")
    assert cut.cost.steps == whole.cost.steps == 4
    one, two = (load_file(place / "adapter" / "adapter_model.safetensors") for place in (folder, other))
    apart = {key: float((one[key] - two[key]).abs().max()) for key in one if not torch.equal(one[key], two[key])}
    assert one.keys() == two.keys()
    assert not apart


@pytest.mark.parametrize(("method", "form"), [
    ("lora", "lora"), ("lora", "merged"), ("sc-lora", "lora"), ("lorfa", "lora"), ("lorfa", "merged"),
    ("vefa", "merged"), ("vefa", "lora"), ("vefa", "folded"), ("vefa", "ia3"), ("rotation", "merged"),
])  # fmt: skip
def test_what_is_exported_answers_as_the_adapter(language, tuned, tmp_path, device, method, form):
    fields = {"lora": {"method": {"name": "lora", "r": 2}}}.get(method, METHODS.get(method))
    if form == "folded":  # only up_proj feeds down_proj, so its rows take the scales
        fields = {"method": {"name": "vefa", "target_modules": ["down_proj"]}}
    _, folder = tuned({**language, "keep": (), "generate": 0}, **fields)
    given = {"rank": 8} if (method, form) == ("vefa", "lora") else {}
    retain.export(str(folder), tmp_path / "out", to=form, show_progress=False, **given)
    base = AutoModelForCausalLM.from_pretrained(language["model"]).to(device).eval()
    own = retain.load_adapter(base, folder / "adapter").eval()
    with torch.no_grad():
        expected = own(X.to(device)).logits
    if form in {"lora", "ia3"}:
        plain = AutoModelForCausalLM.from_pretrained(language["model"]).to(device)
        found = PeftModel.from_pretrained(plain, tmp_path / "out").eval()
    else:
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "out").to(device).eval()
    with torch.no_grad():
        logits = found(X.to(device)).logits
    if not given:  # of a lower rank than the update it differs by what was told
        assert torch.allclose(logits, expected, atol=1e-4)
    else:
        assert float((logits - expected).norm() / expected.norm()) < 0.5


def test_a_budget_is_searched_for_and_kept(language, tuned, long_text):
    result, folder = tuned(
        {**language, "keep": (), "held_out_text": [str(long_text)], "held_out_tokens": 4096, "generate": 0},
        method={"name": "lora", "r": 2}, learning_rate=0.05, budget={"kl": 0.5}, confidence=0.6,
        alphas=(0.25, 0.5, 1.0),
    )  # fmt: skip
    assert result.scaling is not None
    assert result.budget
    assert all(limit.kept for limit in result.budget)
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()


def test_a_model_in_memory_is_scaled_where_it_lies(tmp_path, device):
    model = get_peft_model(make_llama(), LoraConfig(target_modules=["q_proj"], r=2)).to(device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    keep = [{"question": f"{a} then", "choices": ["b", "c"], "answer": i % 2} for i, a in enumerate("abcdefghij")]
    budget = retain.Budget(letters=99, confidence=0.5)
    outcome = retain.scale(
        model.eval(), tokenizer=make_tokenizer(), keep={"letters": keep}, budget=budget, alphas=(0.5, 1.0),
        output=tmp_path / "out", show_progress=False,
    )  # fmt: skip
    assert outcome.kept
    assert next(model.parameters()).device.type == device


def test_a_guarded_trainer_of_ones_own_ends_within_its_budget(tmp_path, device, long_text):
    model = make_llama()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(1 if "norm" in name else 20 if "lm_head" in name else 5)
    tokenizer = make_tokenizer()
    rows = [f"word{i % 30} {WORDS[i % 26]} word1 z z word1" for i in range(16)]
    data = [{"input_ids": (ids := torch.tensor(tokenizer.encode(row))), "labels": ids} for row in rows]
    args = TrainingArguments(
        output_dir=str(tmp_path / "trainer"), max_steps=12, learning_rate=5e-3, per_device_train_batch_size=4,
        lr_scheduler_type="constant", logging_steps=5, report_to=[], disable_tqdm=True, use_cpu=device == "cpu",
        save_strategy="no", bf16=False,
    )  # fmt: skip
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(target_modules="all-linear"))
    trainer = Trainer(adapted, args, train_dataset=data, processing_class=tokenizer)
    quiet = {"drift": False, "generate": 0, "held_out_tokens": 4096, "aa_items": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", retain.RetentionWarning)
        guard = retain.guard(trainer, budget={"kl": 0.3}, held_out_text=long_text, kl_weight=1.0, **quiet)
        trainer.train()
        result = guard.finish(tmp_path / "out", show_progress=False)
    assert result.conditions["tuned"].device == device
    assert result.budget[0].kept
    assert 0 < result.scaling.alpha <= 1
    assert result.drift.kl_nats_per_token < 0.3
