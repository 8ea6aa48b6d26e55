"""EWC in runs: its Fisher information is measured once and shared, and a run that finds it has the same bits."""

import pytest
import torch

from retain.errors import InputError
from retain.hf.models.describe import model_hash
from retain.jobs import kept_fisher as module
from retain.jobs.adapt import train_or_load
from retain.jobs.identity import identity_of
from retain.jobs.inputs.prepare import prepare

EWC = {"calibrate_tokens": 96, "training": {"logging_steps": 1}, "learning_rate": 1e-2, "max_steps": 3}


def trained(run):
    base = run.base()
    model, record = train_or_load(run, base, model_hash(base))
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}, record


def test_what_one_run_measured_the_others_read_bit_for_bit(make_run, tmp_path, monkeypatch):
    first, record = trained(make_run(tmp_path / "shared", output=str(tmp_path / "a"), ewc=50.0, **EWC))
    assert record.curve[0].ewc_nats_per_token == 0  # nothing has changed before the first step
    assert record.curve[-1].ewc_nats_per_token > 0
    (file,) = (tmp_path / "shared" / "statistics").glob("fisher-*.safetensors")
    monkeypatch.setattr(module, "fisher_diagonal", None)
    again, _ = trained(make_run(tmp_path / "shared", output=str(tmp_path / "b"), ewc=50.0, **EWC))
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    other, _ = trained(make_run(tmp_path / "shared", output=str(tmp_path / "c"), ewc=0.1, seed=3, **EWC))
    assert not all(torch.equal(value, other[name]) for name, value in first.items())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match=file.name):
        trained(make_run(tmp_path / "shared", output=str(tmp_path / "d"), ewc=50.0, **EWC))


@pytest.mark.parametrize("method", [{"name": "full"}, {"name": "lora", "r": 2, "init_lora_weights": "pissa"}])
def test_where_the_base_is_not_inside_it_is_loaded_a_second_time(make_run, method):
    _, record = trained(make_run(method=method, ewc=5.0, **EWC))
    assert record.curve[0].ewc_nats_per_token < 1e-8
    assert record.curve[-1].ewc_nats_per_token > record.curve[0].ewc_nats_per_token


def test_a_weight_of_zero_is_none_to_the_bit(make_run, recipe, tmp_path):
    none, zero = recipe(learning_rate=1e-2), recipe(learning_rate=1e-2, ewc=0)
    assert identity_of(none, {}, "files") == identity_of(zero, {}, "files") != identity_of(recipe(ewc=1.0), {}, "files")
    free, _ = trained(make_run(learning_rate=1e-2, output=str(tmp_path / "a")))
    held, record = trained(make_run(learning_rate=1e-2, output=str(tmp_path / "b"), ewc=0))
    assert all(torch.equal(value, held[name]) for name, value in free.items())
    assert all(point.ewc_nats_per_token is None for point in record.curve)


def test_check_says_what_it_takes_and_what_it_cannot_hold(recipe):
    told = [note for note in prepare(recipe(ewc=1.0)).notes if note.startswith("ewc")]
    sizes = 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32)  # by hand: two blocks of q, o; k, v; gate, up, down
    assert f"{sizes:,} weights" in told[0]
    assert "kB of memory and disk" in told[0]
    assert not any(note.startswith("ewc") for note in prepare(recipe()).notes)
    full = [note for note in prepare(recipe(ewc=1.0, method="full")).notes if note.startswith("ewc")]
    assert "loaded a second time" in full[1]
    embedding = {"name": "lora", "r": 2, "target_modules": ["q_proj", "embed_tokens"]}
    assert "embed_tokens" in prepare(recipe(ewc=1.0, method=embedding)).notes[-1]
    with pytest.raises(InputError, match="ewc: .* no weights"):
        prepare(recipe(ewc=1.0, method={"name": "prompt_tuning", "num_virtual_tokens": 2}))
