"""A KL penalty, a limit and a watch in the trainers that people use, and in a loop of their own."""

import json
from importlib.util import find_spec
from pathlib import Path

import datasets
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Trainer, TrainerCallback, TrainingArguments

from retain import VeFAConfig
from retain.train.regularise.kl_monitor import KLMonitor
from retain.train.regularise.kl_penalty import KLPenalty, text_batches
from retain.train.regularise.replay import mix_replay
from retain.train.regularise.update_limit import UpdateLimit
from tiny import WORDS, make_llama, make_tokenizer

ADAPTERS = {"lora": LoraConfig, "vefa": VeFAConfig}
RATE = {"lora": 2e-3, "vefa": 2e-2}
TEXTS = [" ".join(WORDS[(i * j) % 26] for j in range(1, 25)) for i in range(1, 9)]
TASK = [f"word{i % 30} {WORDS[i % 26]} word1 z z word1" for i in range(16)]
needs_trl = pytest.mark.skipif(find_spec("trl") is None, reason="trl is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::retain.train.regularise.kl_monitor.RetentionWarning")


def lively(seed=0):
    """A tiny Llama with predictions as definite as a trained model's, so that they can move far."""
    model = make_llama(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(1 if "norm" in name else 20 if "lm_head" in name else 5)
    return model


def keep():
    return text_batches(make_tokenizer(), TEXTS, length=24, batch_size=4)


def settings(folder, rate, steps, **more):
    given = {"output_dir": str(folder), "max_steps": steps, "learning_rate": rate, "per_device_train_batch_size": 4}
    given |= {"report_to": [], "logging_steps": 1, "disable_tqdm": True, "use_cpu": True, "save_strategy": "no"}
    return given | {"lr_scheduler_type": "constant", "weight_decay": 0.0, "bf16": False, **more}


def plain(kind, folder, callbacks, steps=30, **more):
    tokenizer = make_tokenizer()
    rows = [{"input_ids": (ids := torch.tensor(tokenizer.encode(text))), "labels": ids} for text in TASK]
    torch.manual_seed(0)
    model = get_peft_model(lively(), ADAPTERS[kind](target_modules="all-linear"))
    args = TrainingArguments(**settings(folder, RATE[kind], steps, **more))
    return Trainer(model, args, train_dataset=rows, callbacks=callbacks)


def sft(kind, folder, callbacks, steps=30):
    from trl import SFTConfig, SFTTrainer

    torch.manual_seed(0)
    return SFTTrainer(
        lively(),
        SFTConfig(**settings(folder, RATE[kind], steps), max_length=32),
        train_dataset=mix_replay(
            datasets.Dataset.from_dict({"text": TASK}), datasets.Dataset.from_dict({"text": TEXTS}), 0.2
        ),
        processing_class=make_tokenizer(),
        peft_config=ADAPTERS[kind](target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=callbacks,
    )


def dpo(kind, folder, callbacks, steps=15, **more):
    from trl import DPOConfig, DPOTrainer

    torch.manual_seed(0)
    rows = {"prompt": TASK, "chosen": [" z word1 z"] * 16, "rejected": [" a b c"] * 16}
    return DPOTrainer(
        lively(),
        args=DPOConfig(**settings(folder, RATE[kind], steps, **more), max_length=32),
        train_dataset=datasets.Dataset.from_dict(rows),
        processing_class=make_tokenizer(),
        peft_config=ADAPTERS[kind](target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=callbacks,
    )


def distance(model):
    return KLMonitor(keep()).measure(model)


class Reporter(TrainerCallback):
    """Stands for wandb or tensorboard: keeps what it is shown."""

    def __init__(self):
        self.seen = []

    def on_log(self, args, state, control, logs=None, **_):
        self.seen.append(dict(logs))


TRAINERS = [
    (plain, "vefa"),
    pytest.param(sft, "lora", marks=needs_trl),
    pytest.param(dpo, "vefa", marks=needs_trl),
]
"""Every trainer, and both kinds of adapter: a callback meets the trainer and the parameters apart."""


@pytest.mark.parametrize(("make", "kind"), TRAINERS)
def test_an_anchor_holds_where_nothing_lets_go(make, kind, tmp_path):
    free = make(kind, tmp_path, [])
    free.train()
    held = make(kind, tmp_path, [KLPenalty(keep(), weight=30.0)])
    held.train()
    assert distance(free.model) > 0.05
    assert distance(held.model) < 0.2 * distance(free.model)
    entries = [entry for entry in held.state.log_history if "retain_penalty_kl" in entry]
    assert len(entries) == held.state.global_step
    assert all(entry["retain_kl_weight"] == 30.0 for entry in entries)


@pytest.mark.parametrize(("make", "kind"), TRAINERS)
def test_the_watch_sees_what_is_there_at_the_end(make, kind, tmp_path):
    kl_monitor, reporter = KLMonitor(keep(), share=0.5), Reporter()
    run = make(kind, tmp_path, [reporter])
    kl_monitor.attach(run)
    run.train()
    step, last, _ = kl_monitor.points[-1]
    assert step == run.state.global_step
    assert last == pytest.approx(distance(run.model), rel=1e-4)
    assert 2 < len(kl_monitor.points) < step
    logged = [entry["retain_kl"] for entry in run.state.log_history if "retain_kl" in entry]
    assert logged == [kl for _, kl, _ in kl_monitor.points]
    assert [logs["retain_kl"] for logs in reporter.seen if "retain_kl" in logs] == logged  # the last one, too


def test_a_limit_is_met_and_training_still_learns(tmp_path):
    free = plain("vefa", tmp_path, [], 120)
    free.train()
    limit = distance(free.model) / 5
    kl_penalty = KLPenalty(keep(), limit=limit)
    held = plain("vefa", tmp_path, [kl_penalty], 120)
    held.train()
    assert distance(held.model) < 1.5 * limit
    assert kl_penalty.smoothed_kl == pytest.approx(limit, rel=0.5)
    losses = [entry["loss"] for entry in held.state.log_history if "loss" in entry]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("restore", [False, True])
def test_resuming_continues_the_weight_and_the_training(restore, tmp_path):
    def run(folder, kl_penalty):
        more = {"save_strategy": "steps", "save_steps": 4, "restore_callback_states_from_checkpoint": restore}
        return plain("lora", folder, [kl_penalty], 8, **more)

    whole = KLPenalty(keep(), limit=0.01, seed=3)
    run(tmp_path / "whole", whole).train()
    saved = json.loads((tmp_path / "whole" / "checkpoint-4" / "trainer_state.json").read_text("utf-8"))
    assert saved["stateful_callbacks"][whole.key]["position"] == 4
    assert saved["stateful_callbacks"][whole.key]["dual"]["weight"] != 1.0
    resumed = KLPenalty(keep(), limit=0.01, seed=3)
    run(tmp_path / "resumed", resumed).train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert resumed.position == whole.position == 8
    assert resumed.weight == pytest.approx(whole.weight, rel=1e-3)
    assert resumed.smoothed_kl == pytest.approx(whole.smoothed_kl, rel=1e-3)


def test_the_watch_resumes_with_its_best_point(tmp_path):
    def run(kl_monitor, steps):
        return plain("lora", tmp_path, [kl_monitor], steps, save_strategy="steps", save_steps=5)

    first = KLMonitor(keep(), every=1, limit=0.02)
    run(first, 20).train()
    assert first.points[-1][1] > 0.02
    assert first.restored == first.best[0]
    again = KLMonitor(keep(), every=1, limit=0.02)
    second = run(again, 25)
    second.train(resume_from_checkpoint=str(Path(tmp_path) / "checkpoint-20"))
    assert again.points[:20] == first.points
    assert again.restored == first.restored
    assert distance(second.model) == pytest.approx(again.best[1], rel=1e-3)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_an_update_stays_within_its_limit(kind, tmp_path):
    free = plain(kind, tmp_path, [], 12)
    free.train()
    limit = UpdateLimit(UpdateLimit(1.0).measure(free.model) / 3, every=5)
    held = plain(kind, tmp_path, [limit], 12)
    held.train()
    assert limit.measure(held.model) <= 1.01 * limit.limit
    assert any("retain_update_size" in entry for entry in held.state.log_history)


@needs_trl
def test_a_watching_of_dpo_leaves_its_training_alone(tmp_path):
    alone = dpo("vefa", tmp_path, [], 4)
    alone.train()
    watched = dpo("vefa", tmp_path, [KLMonitor(keep(), every=1)], 4)
    watched.train()
    for one, other in zip(alone.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_gradient_accumulation_and_clipping_see_one_anchor_a_step(tmp_path):
    """A weight so large that the task's gradient is nothing: the clipped step is the KL penalty's alone."""
    ends = []
    for accumulation in (1, 2):
        more = {"gradient_accumulation_steps": accumulation, "per_device_train_batch_size": 4 // accumulation}
        run = plain("lora", tmp_path, [KLPenalty(keep(), weight=50.0)], 6, **more)
        run.train()
        ends.append([p.detach().clone() for p in run.model.parameters() if p.requires_grad])
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


def test_bfloat16_autocast(tmp_path):
    run = plain("lora", tmp_path, [KLPenalty(keep(), weight=30.0)], 20, bf16=True)
    run.train()
    assert 0 < distance(run.model) < 0.05


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_loop_of_ones_own(kind):
    tokenizer = make_tokenizer()
    ends = {}
    for weight in (0.0, 30.0):
        torch.manual_seed(0)
        model = get_peft_model(lively(), ADAPTERS[kind](target_modules="all-linear")).train()
        optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=RATE[kind])
        kl_penalty = KLPenalty(keep(), weight=weight or 1.0)
        for step in range(20):
            ids = tokenizer.encode(TASK[step % 16], return_tensors="pt")
            loss = model(input_ids=ids, labels=ids).loss
            if weight:
                loss = loss + kl_penalty.weight * kl_penalty.loss(model)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        ends[weight] = distance(model)
    assert ends[30.0] < 0.2 * ends[0.0]
