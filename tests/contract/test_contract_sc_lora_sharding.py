"""SC-LoRA where computing is done in another way: checkpointed, compiled, under autocast, from disk, sharded."""

import pytest
import sc_lora_sharding_worker
import torch
from contract_models import logits
from peft import PeftModel
from safetensors.torch import load_file
from sc_lora_models import disturb, factors, initialised, keep_batch, learn_batch, trained
from transformers import AutoModelForCausalLM

from children import in_two
from retain import SCLoRAConfig, load_adapter, sc_lora

ON_DISK = {"model.embed_tokens": "cpu", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "cpu"}
ON_DISK |= {"model.rotary_emb": "cpu", "lm_head": "cpu"}
SOME = ["q_proj", "down_proj"]


def test_gradient_checkpointing_gives_the_same_gradients(architecture):
    gradients = []
    for checkpointing in (False, True):
        model = initialised(architecture)
        disturb(model)
        if checkpointing:
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()(**architecture.batch()).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in trained(model).items()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_compiles_without_a_graph_break_and_trains_the_same(llama):
    model, batch = initialised(llama.shallow(), target_modules=SOME), llama.batch()
    disturb(model)
    found = []
    torch._dynamo.reset()
    for run in (model, torch.compile(model, fullgraph=True, backend="eager")):
        output = run(**batch)
        output.loss.backward()
        found.append([output.logits.detach(), *(parameter.grad.clone() for parameter in trained(model).values())])
        model.zero_grad()
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_compiles_under_autocast(llama):
    model, batch = initialised(llama.shallow(), target_modules=SOME), llama.batch()
    disturb(model)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(logits(compiled, batch), logits(model, batch), rtol=0, atol=1e-2)


def test_under_autocast_the_untrained_adapter_is_still_the_base_bit_for_bit(architecture):
    base, batch = architecture.make(), architecture.batch()
    model = initialised(architecture)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(logits(model, batch), logits(base, batch))
        loss = model(**batch).loss
    loss.backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in trained(model).values())
    assert any(parameter.grad.any() for parameter in trained(model).values())


@pytest.fixture
def offloaded(llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # PEFT rewrites the files on disk under the working directory: it drops the leading "/"
    llama.make().save_pretrained(tmp_path / "base")

    def load():
        return AutoModelForCausalLM.from_pretrained(
            tmp_path / "base", device_map=ON_DISK, offload_folder=tmp_path / "offload"
        )

    return load


def test_a_fresh_adapter_on_a_base_that_is_partly_on_disk(llama, offloaded):
    batches = {"learn": [learn_batch(llama)], "keep": [keep_batch(llama)]}
    model = sc_lora(offloaded(), SCLoRAConfig(r=2), **batches).eval()
    assert torch.equal(logits(model, llama.batch()), logits(llama.make(), llama.batch()))
    assert not any(parameter.is_meta for parameter in trained(model).values())
    assert model.base_model.model.model.layers[1].self_attn.q_proj.weight.is_meta
    whole = sc_lora(llama.make(), SCLoRAConfig(r=2), **batches).eval()
    disturb(model)
    disturb(whole)
    assert torch.equal(logits(model, llama.batch()), logits(whole, llama.batch()))


@pytest.mark.parametrize("initialisation", ["lora-null", "milora"])
def test_other_initialisations_on_a_base_that_is_partly_on_disk(llama, offloaded, initialisation):
    batches = {"learn": [learn_batch(llama)], "keep": [keep_batch(llama)]}
    model, whole = (
        sc_lora(offloaded(), SCLoRAConfig(r=2, initialisation=initialisation), **batches),
        initialised(llama, initialisation=initialisation),
    )
    for adapter in (model, whole):
        disturb(adapter)
    torch.testing.assert_close(logits(model.eval(), llama.batch()), logits(whole, llama.batch()), rtol=0, atol=1e-6)


def test_merging_and_unmerging_on_a_base_that_is_partly_on_disk(llama, offloaded):
    model = sc_lora(offloaded(), SCLoRAConfig(r=2, initialisation="milora")).eval()
    disturb(model)
    expected = logits(model, llama.batch())
    model.merge_adapter()
    torch.testing.assert_close(logits(model, llama.batch()), expected, rtol=0, atol=2e-6)
    model.unmerge_adapter()
    assert torch.equal(logits(model, llama.batch()), expected)
    torch.testing.assert_close(logits(model.merge_and_unload(), llama.batch()), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("low", [False, True])
def test_loading_onto_a_base_that_is_partly_on_disk(llama, offloaded, tmp_path, low):
    model = initialised(llama)
    disturb(model)
    model.save_pretrained(tmp_path / "adapter")
    places = {f"base_model.model.{name}": place for name, place in ON_DISK.items()}
    loaded = PeftModel.from_pretrained(
        offloaded(), tmp_path / "adapter", device_map=places, offload_folder=tmp_path / "offload", low_cpu_mem_usage=low
    )
    expected = logits(model, llama.batch())
    torch.testing.assert_close(logits(loaded.eval(), llama.batch()), expected, rtol=0, atol=1e-6)
    ours = load_adapter(offloaded(), tmp_path / "adapter", trainable=True).eval()
    assert ours.base_model.model.model.layers[1].self_attn.q_proj.weight.is_meta
    assert torch.equal(logits(ours, llama.batch()), expected)
    assert factors(ours).keys() == factors(model).keys()
    ours(**llama.batch()).loss.backward()
    assert all(parameter.grad.any() for parameter in trained(ours).values())


def test_loading_onto_a_base_that_was_placed_whole(llama, tmp_path):
    model = initialised(llama)
    disturb(model)
    model.save_pretrained(tmp_path / "adapter")
    llama.make().save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", device_map={"": "cpu"})
    loaded = load_adapter(base, tmp_path / "adapter", trainable=True).eval()
    assert torch.equal(logits(loaded, llama.batch()), logits(model, llama.batch()))


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two processes, which shard and train SC-LoRA, leave behind, and what they say if they fail."""
    folder = tmp_path_factory.mktemp("sharded")
    return folder, in_two(sc_lora_sharding_worker.work, tmp_path_factory.mktemp("processes"), folder).said


KINDS = ["fsdp2", "fsdp2-leaves", "fsdp2-leaves-bf16", "fsdp1"]


@pytest.mark.parametrize("kind", KINDS)
def test_sharded_training_is_that_of_the_whole_model(two_processes, kind):
    folder, errors = two_processes
    assert {f"{kind}-0", f"{kind}-1"} <= {path.name for path in folder.iterdir()}, errors


@pytest.mark.parametrize("kind", ["fsdp2", "fsdp2-leaves"])
def test_what_is_gathered_from_two_processes_saves_as_the_whole_model(two_processes, kind):
    folder, errors = two_processes
    assert (folder / kind).is_dir(), errors
    found, expected = (load_file(folder / name / "adapter_model.safetensors") for name in (kind, "whole"))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=2e-6)
