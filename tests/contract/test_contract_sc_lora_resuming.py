"""Training that was interrupted goes on as if it had not been: in a fresh process, through retain and the Trainer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from contract_models import ARCHITECTURES, BY_NAME, adapted, logits, same_bits
from safetensors.torch import load_file
from sc_lora_models import bits, disturb, factors, initialised, plain, steps, trained
from transformers import Trainer, TrainingArguments

from children import light
from retain import load_adapter
from retain.hf.adapters.initialise import note_of
from retain.hf.adapters.residual_lora import ResidualDown

FRESH = """
import sys, torch
from pathlib import Path
from contract_models import ARCHITECTURES, logits
from retain import load_adapter
from sc_lora_models import DTYPES, factors, steps, trained
torch.set_num_threads(1)
for folder in sorted(Path(sys.argv[1]).iterdir()):
    name, kind = folder.name.split(" ")
    architecture, dtype = ARCHITECTURES[name], DTYPES[kind]
    batch = architecture.batch(dtype=dtype)
    model = load_adapter(architecture.make(dtype), folder / "adapter", trainable=True)
    found = {"training": model.training, "names": sorted(trained(model)), "factors": factors(model)}
    found["logits"] = logits(model.eval(), batch)
    model.save_pretrained(folder / "again")
    optimizer = torch.optim.AdamW(trained(model).values(), lr=0.01, weight_decay=0.1)
    optimizer.load_state_dict(torch.load(folder / "optimizer.pt"))
    found["losses"] = steps(model, optimizer, batch, 4)
    found["after"] = factors(model)
    torch.save(found, folder / "found.pt")
"""
CASES = [(name, "fp32") for name in ARCHITECTURES] + [("llama", "bf16"), ("gpt2", "fp64")]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Of each case what this process saw when it saved, and after it had trained on; and the folder of both."""
    folder, seen = tmp_path_factory.mktemp("interrupted"), {}
    for case in CASES:
        architecture, dtype = ARCHITECTURES[case[0]], DTYPES[case[1]]
        batch, place = architecture.batch(dtype=dtype), folder / " ".join(case)
        model = initialised(architecture, dtype, lora_alpha=3)
        optimizer = torch.optim.AdamW(trained(model).values(), lr=0.01, weight_decay=0.1)
        steps(model, optimizer, batch, 4)
        model.save_pretrained(place / "adapter")
        torch.save(optimizer.state_dict(), place / "optimizer.pt")
        found = {"names": sorted(trained(model)), "factors": factors(model), "logits": logits(model, batch)}
        found |= {"losses": steps(model, optimizer, batch, 4), "after": factors(model), "note": note_of(model)}
        seen[case] = found
    fresh = [sys.executable, "-c", FRESH, str(folder)]
    subprocess.run(fresh, check=True, timeout=240, env=light(Path(__file__).parent))
    return folder, seen


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_fresh_process_goes_on_as_if_there_had_been_no_break(interrupted, case):
    before, after = interrupted[1][case], torch.load(interrupted[0] / " ".join(case) / "found.pt")
    assert after["training"]
    assert after["names"] == before["names"]
    assert after["factors"].keys() == before["factors"].keys()
    for key, value in before["factors"].items():
        if key.endswith(" A0"):  # not in the file: A − ΔA
            torch.testing.assert_close(after["factors"][key], value, rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(after["factors"][key], value), key
    # between processes a product may be summed in another order, and AdamW makes much of small gradients
    torch.testing.assert_close(after["logits"], before["logits"], rtol=0, atol=2e-6)
    assert after["losses"] == pytest.approx(before["losses"], abs=1e-5)
    for key, value in before["after"].items():
        torch.testing.assert_close(after["after"][key], value, rtol=0, atol=1e-4)
    assert not same_bits(after["after"], after["factors"])


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_saved_again_it_is_the_same_files(interrupted, case):
    folder = interrupted[0] / " ".join(case)
    first, again = folder / "adapter", folder / "again"
    assert {path.name for path in first.iterdir()} == {path.name for path in again.iterdir()}
    for name in ("adapter_model.safetensors", "retain_initialisation.json"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
    configs = [json.loads((place / "adapter_config.json").read_text()) for place in (first, again)]
    for config in configs:
        config["target_modules"].sort()
    assert configs[0] == configs[1]
    assert json.loads((again / "retain_initialisation.json").read_text())["config"]["lora_alpha"] == 3


def test_the_initial_factor_comes_back_from_a_and_its_distance_to_the_bit():
    """All pairs of numbers of eight bits between 2⁻³ and 2, of both signs: rounding does all that it can do."""
    values = torch.arange(0x3E00, 0x4000, dtype=torch.int16).view(torch.bfloat16)
    initial, delta = torch.meshgrid(torch.cat([values, -values]), values, indexing="ij")
    whole = initial + delta
    found, moved = ResidualDown.parted(torch.cat([delta, whole]))
    assert torch.equal(moved, delta)
    assert torch.equal(found + delta, whole)


def test_loaded_frozen_nothing_trains(llama, tmp_path):
    model = initialised(llama)
    disturb(model)
    model.save_pretrained(tmp_path)
    loaded = load_adapter(llama.make(), tmp_path)
    assert not trained(loaded)
    assert not loaded.training
    assert torch.equal(logits(loaded, llama.batch()), logits(model, llama.batch()))


def test_weight_decay_after_loading_still_draws_to_the_base(llama, tmp_path):
    model = initialised(llama)
    disturb(model)
    model.save_pretrained(tmp_path)
    loaded = load_adapter(llama.make(), tmp_path, trainable=True).eval()
    for parameter in trained(loaded).values():
        parameter.data.zero_()
    assert torch.equal(logits(loaded, llama.batch()), logits(llama.make(), llama.batch()))


class Same(torch.utils.data.Dataset):
    """Rows of the architecture's batch, again and again."""

    def __init__(self, architecture):
        self.batch = architecture.batch(rows=4)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {key: value[index % 4] for key, value in self.batch.items()}


def trainer(architecture, folder, model=None, **settings):
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=6, per_device_train_batch_size=2, learning_rate=0.02, weight_decay=0.1,
        logging_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True, seed=0, save_steps=3,
        **settings,
    )  # fmt: skip
    data = Same(architecture)
    return Trainer(model or initialised(architecture), arguments, train_dataset=data, eval_dataset=data)


@pytest.mark.parametrize("by", ["trainer", "retain"])
def test_the_trainer_resumes_as_if_there_had_been_no_break(llama, tmp_path, by):
    whole = trainer(llama, tmp_path / "whole")
    whole.train()
    checkpoint = tmp_path / "whole" / "checkpoint-3"
    model = None if by == "trainer" else load_adapter(llama.make(), checkpoint, trainable=True)
    resumed = trainer(llama, tmp_path / "resumed", model)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    expected, found = factors(whole.model), factors(resumed.model)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-6)
    assert not same_bits(found, factors(load_adapter(llama.make(), checkpoint)))
    assert same_bits(bits(resumed.model), bits(llama.make()))


def test_the_trainer_loads_the_best_model_at_the_end(llama, tmp_path):
    settings = {"eval_strategy": "steps", "eval_steps": 3, "load_best_model_at_end": True}
    settings |= {"metric_for_best_model": "eval_loss", "greater_is_better": True}  # so that it is not the last one
    training = trainer(llama, tmp_path, **settings)
    training.train()
    assert training.state.best_model_checkpoint == str(tmp_path / "checkpoint-3")
    best = load_adapter(llama.make(), tmp_path / "checkpoint-3")
    assert torch.equal(logits(training.model.eval(), llama.batch()), logits(best, llama.batch()))
    training.save_model(str(tmp_path / "final"))
    saved = [
        load_file(place / "adapter_model.safetensors") for place in (tmp_path / "final", tmp_path / "checkpoint-3")
    ]
    assert same_bits(*saved)


@pytest.mark.parametrize("beside", ["ordinary", "SC-LoRA"])
def test_it_is_loaded_beside_another_adapter(llama, tmp_path, beside):
    model = initialised(llama)
    disturb(model)
    model.save_pretrained(tmp_path)
    other = (plain if beside == "ordinary" else initialised)(llama, adapter="first")
    other.load_adapter(tmp_path, "loaded", is_trainable=True)
    other.set_adapter("loaded")
    torch.testing.assert_close(logits(other, llama.batch()), logits(model, llama.batch()), rtol=0, atol=1e-6)
    other(**llama.batch()).loss.backward()
    assert all(parameter.grad is not None for parameter in trained(other).values())


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_it_loads_into_an_adapter_of_its_kind_that_is_there(llama, tmp_path, kind):
    model, other = initialised(llama), initialised(llama, initialisation="milora")
    disturb(model)
    model.to(kind).save_pretrained(tmp_path)
    other.load_adapter(tmp_path, "default", is_trainable=True)
    state, weights = other.state_dict(), load_file(tmp_path / "adapter_model.safetensors")
    for key, weight in weights.items():
        name = key.replace(".weight", ".default.weight")
        assert torch.equal(state[name], weight.float()), name
    loaded = load_adapter(llama.make(), tmp_path, trainable=True).eval()
    assert same_bits(factors(loaded), factors(other))
    assert torch.equal(logits(other.eval(), llama.batch()), logits(loaded, llama.batch()))


def test_an_adapter_of_another_method_has_no_note(llama, tmp_path):
    model = adapted(BY_NAME["vefa"], llama)
    model.save_pretrained(tmp_path)
    assert note_of(load_adapter(llama.make(), tmp_path, trainable=True)) is None
    assert note_of(initialised(llama))["config"]["initialisation"] == "sc-lora"
