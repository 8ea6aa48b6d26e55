"""A base that is not whole in one place: partly on disk, or sharded over two processes."""

import pytest
import sharding_worker
import torch
from contract_models import adapted, disturb, logits, make_config
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from children import in_two
from retain.kernels import reference_only

ON_DISK = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "cpu"}
ON_DISK |= {"model.rotary_emb": "cpu", "lm_head": "cpu"}


@pytest.fixture
def offloaded(llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # PEFT rewrites the files on disk under the working directory: it drops the leading "/"
    llama.make().save_pretrained(tmp_path / "base")

    def load():
        return AutoModelForCausalLM.from_pretrained(
            tmp_path / "base", device_map=ON_DISK, offload_folder=tmp_path / "offload"
        )

    return load


@pytest.mark.parametrize("low", [False, True])
def test_loading_onto_a_base_that_is_partly_on_disk(method, llama, offloaded, tmp_path, low):
    model = adapted(method, llama)
    disturb(model)
    with reference_only():  # weights that come from the disk are not read by the fused forms
        expected = logits(model, llama.batch())
    torch.testing.assert_close(logits(model, llama.batch()), expected, rtol=0, atol=2e-6)
    model.save_pretrained(tmp_path / "adapter")
    places = {f"base_model.model.{name}": place for name, place in ON_DISK.items()}
    loaded = PeftModel.from_pretrained(
        offloaded(), tmp_path / "adapter", device_map=places, offload_folder=tmp_path / "offload", low_cpu_mem_usage=low
    )
    assert loaded.base_model.model.model.layers[1].self_attn.q_proj.weight.is_meta
    assert torch.equal(logits(loaded.eval(), llama.batch()), expected)


def test_a_fresh_adapter_on_a_base_that_is_partly_on_disk(method, llama, offloaded):
    model = get_peft_model(offloaded(), make_config(method)).eval()
    assert torch.equal(logits(model, llama.batch()), logits(llama.make(), llama.batch()))
    assert not any(p.is_meta for n, p in model.named_parameters() if p.requires_grad)
    disturb(model)
    whole = adapted(method, llama)
    disturb(whole)
    with reference_only():
        assert torch.equal(logits(model, llama.batch()), logits(whole, llama.batch()))


def test_merging_and_unmerging_on_a_base_that_is_partly_on_disk(method, llama, offloaded):
    model = get_peft_model(offloaded(), make_config(method)).eval()
    disturb(model)
    expected = logits(model, llama.batch())
    model.merge_adapter()
    torch.testing.assert_close(logits(model, llama.batch()), expected, rtol=0, atol=2e-6)
    model.unmerge_adapter()
    assert torch.equal(logits(model, llama.batch()), expected)
    torch.testing.assert_close(logits(model.merge_and_unload(), llama.batch()), expected, rtol=0, atol=2e-6)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two processes, which shard and train every method, leave behind, and what they say if they fail."""
    folder = tmp_path_factory.mktemp("sharded")
    ended = in_two(sharding_worker.work, tmp_path_factory.mktemp("processes"), folder)
    return {path.name for path in folder.iterdir()}, ended.said


def test_sharded_training_is_that_of_the_whole_model(method, two_processes):
    finished, errors = two_processes
    assert {f"{method.name}-0", f"{method.name}-1"} <= finished, errors
