"""Every trainer of TRL trains every kind of adapter under the regularisers, and begins where theory says."""

import math
from importlib.util import find_spec

import pytest
import torch

import retain
import trl_runs
from tiny import make_llama
from trl_runs import batches, cells, trainer

pytestmark = [
    pytest.mark.skipif(find_spec("trl") is None, reason="trl is not installed"),
    pytest.mark.filterwarnings("ignore::retain.train.regularise.kl_monitor.RetentionWarning"),
]
X = torch.arange(6, 26)[None]
TRIED = [pair for pair, cell in cells().items() if cell.state == "tested"]


def regularised(run, name):
    """The trainer with every regulariser that makes sense in it."""
    found = [retain.UpdateLimit(0.5, every=1).attach(run)]
    if name != "reward":  # whose model gives a number
        found += [retain.KLPenalty(batches()).attach(run), retain.KLMonitor(batches(), every=1).attach(run)]
    return found


def frozen(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    return {name: value.detach().clone() for name, value in tensors.items() if name not in trained}


def logged(run):
    return [entry for entry in run.state.log_history if "loss" in entry]


def begins_as_theory_says(name, entry):
    if name in ("dpo", "reward"):
        assert entry["loss"] == pytest.approx(math.log(2), abs=1e-6 if name == "dpo" else 0.2)
    if name in ("dpo", "kto"):
        assert entry["rewards/margins"] == 0
    if name == "kto":
        assert entry["loss"] == pytest.approx(0.5, abs=1e-6)
    if name in ("kto", "grpo", "rloo"):
        assert entry["kl"] == 0


@pytest.mark.parametrize(("name", "method"), TRIED)
def test_a_trainer_begins_as_theory_says_and_trains_the_adapter_alone(name, method, tmp_path):
    run = trainer(name, method, tmp_path, gradient_accumulation_steps=2 if name == "dpo" else 1)
    before, trained = frozen(run.model), [p for p in run.model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in trained]
    callbacks = regularised(run, name)
    run.train()
    first = logged(run)[0]
    begins_as_theory_says(name, first)
    keys = {"retain_update_size"} | (set() if name == "reward" else {"retain_penalty_kl", "retain_kl"})
    assert keys <= first.keys()
    assert callbacks[0].size > 0
    assert any(not torch.equal(one, other) for one, other in zip(start, trained, strict=True))
    after = frozen(run.model)
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize("method", trl_runs.FIRST_TOO)
def test_dpo_of_an_adapter_that_is_there_already_has_a_reference_adapter(method, tmp_path):
    run = trainer("dpo", method, tmp_path, first=True)
    assert list(run.model.peft_config) == ["default", "ref"]
    regularised(run, "dpo")
    run.train()
    begins_as_theory_says("dpo", logged(run)[0])
    assert logged(run)[1]["rewards/margins"] != 0


def test_rewards_of_equal_texts_cost_ln_2(tmp_path):
    run = trainer("reward", "vefa", tmp_path, columns={"chosen": trl_runs.TASK, "rejected": trl_runs.TASK})
    run.train()
    assert logged(run)[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("regulariser", [retain.KLPenalty, retain.KLMonitor])
def test_a_reward_model_has_no_kl_and_that_is_said(regulariser, tmp_path):
    run = trainer("reward", "vefa", tmp_path)
    regulariser(batches()).attach(run)
    with pytest.raises(retain.InputError, match=r"a number \(a reward, or a regression\).*UpdateLimit"):
        run.train()


def test_the_reference_of_a_trained_adapter_is_that_adapter_through_saving_resuming_and_more_training(tmp_path):
    first = trainer("sft", "sc-lora", tmp_path / "sft", steps=4)
    first.train()
    first.save_model(str(tmp_path / "trained"))
    wanted = first.model.eval()(X).logits

    run = trainer("dpo", retain.load_adapter(make_llama(), tmp_path / "trained", trainable=True), tmp_path / "dpo",
                  steps=4, save_strategy="steps", save_steps=2)  # fmt: skip
    assert list(run.model.peft_config) == ["default", "ref"]
    assert not any(p.requires_grad for key, p in run.model.named_parameters() if ".ref." in key)
    before = frozen(run.model)
    regularised(run, "dpo")
    run.train()
    begins_as_theory_says("dpo", logged(run)[0])
    after = frozen(run.model)
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert torch.equal(_with(run.model, "ref"), wanted)
    assert not torch.equal(_with(run.model, "default"), wanted)

    run.save_model(str(tmp_path / "both"))
    again = retain.load_adapter(make_llama(), tmp_path / "both", trainable=True)
    assert torch.equal(_with(again, "default"), _with(run.model, "default"))
    reference = retain.load_adapter(make_llama(), tmp_path / "both" / "ref")
    assert torch.equal(_with(reference, "default"), wanted)

    resumed = trainer("dpo", retain.load_adapter(make_llama(), tmp_path / "trained", trainable=True), tmp_path / "2",
                      steps=4)  # fmt: skip
    regularised(resumed, "dpo")
    resumed.train(resume_from_checkpoint=str(tmp_path / "dpo" / "checkpoint-2"))
    assert torch.equal(_with(resumed.model, "ref"), wanted)
    torch.testing.assert_close(_with(resumed.model, "default"), _with(run.model, "default"), rtol=1e-4, atol=1e-6)

    run.model.delete_adapter("ref")
    assert list(run.model.peft_config) == ["default"]
    more = trainer("sft", run.model, tmp_path / "more")
    more.train()
    assert len(logged(more)) == trl_runs.STEPS


@torch.no_grad()
def _with(model, adapter):
    active = model.active_adapter
    model.eval().set_adapter(adapter)
    logits = model(X).logits
    model.set_adapter(active)
    return logits


@pytest.mark.parametrize("name", ["grpo", "dpo"])
def test_a_monitor_leaves_training_with_a_reference_alone(name, tmp_path):
    """Also its random numbers: GRPO writes texts within its steps."""
    ends = []
    for watched in (False, True):
        run = trainer(name, "sc-lora", tmp_path, bf16=name == "dpo")
        if watched:
            retain.KLMonitor(batches(), every=1).attach(run)
        run.train()
        ends.append([p.detach().clone() for p in run.model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def test_a_penalty_holds_grpo_through_accumulation_and_generation(tmp_path):
    """A weight so large that the penalty's gradient is the step's: accumulation does not change it."""
    ends = []
    for accumulation in (1, 2):
        more = {"gradient_accumulation_steps": accumulation, "per_device_train_batch_size": 4 // accumulation}
        run = trainer("grpo", "sc-lora", tmp_path, steps=3, **more)
        retain.KLPenalty(batches(), weight=1e4).attach(run)
        run.train()
        ends.append(retain.KLMonitor(batches()).measure(run.model))
        assert [entry["retain_kl_weight"] for entry in logged(run)] == [1e4] * 3
    assert max(ends) < 1e-2
