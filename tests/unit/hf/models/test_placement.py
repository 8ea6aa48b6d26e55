"""Where a base's layers lie: device maps that people write, the weights on disk, and adapters beside those."""

import contextlib
import gc

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from retain.errors import InputError
from retain.hf.adapters.attach import attach
from retain.hf.models.placement import (
    OffloadFolder,
    current_device,
    map_problems,
    memory_limits,
    offloaded,
    placement_note,
    random_states_kept,
    resolved,
    stand_ins,
)
from tiny import make_llama

IDS = torch.arange(2, 12).view(2, 5)
SPLIT = {"": "cpu", "model.layers.1": "disk"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tiny")
    make_llama().save_pretrained(place)
    return place


def split(folder):
    model = make_llama()
    return AutoModelForCausalLM.from_pretrained(folder, device_map=resolved(SPLIT, model)).eval()


def test_the_longest_name_that_fits_a_module_says_where_it_lies(folder):
    found = resolved(SPLIT, make_llama())
    assert found["model.layers.1"] == "disk"
    assert {place for name, place in found.items() if name != "model.layers.1"} == {"cpu"}
    assert resolved("0") == 0
    assert resolved("auto") == "auto"
    assert resolved({"": "1"}, make_llama()) == {"": 1}
    assert memory_limits({"0": "20GiB", "cpu": "1GB"}) == {0: "20GiB", "cpu": "1GB"}
    assert memory_limits({}) is None


WRONG = {
    "no such device": ("cuda:9", {}, "there is no device 'cuda:9'; here are"),
    "no device at all": ("gpu", {}, "there is no device 'gpu'"),
    "disk for all of it": ("disk", {}, "there is no device 'disk'"),
    "another module": ({"model.layer.0": "cpu", "": "cpu"}, {}, "did you mean model.layers.0"),
    "no place for the rest": ({"model.layers": "cpu"}, {}, "model.embed_tokens.weight and 2 more are given no device"),
    "memory of what is not here": ("auto", {"77": "1GB"}, "max_memory: there is no device '77'"),
}


@pytest.mark.parametrize(("places", "memory", "sentence"), WRONG.values(), ids=WRONG)
def test_a_map_that_cannot_be_meant_is_told(places, memory, sentence):
    assert any(sentence in problem for problem in map_problems(places, memory, make_llama()))


@pytest.mark.parametrize("places", ["auto", "cpu", {"": "cpu"}, SPLIT, {"model": "cpu", "lm_head": "disk"}])
def test_maps_that_can_be_meant(places):
    assert map_problems(places, {"cpu": "1GB"} if places == "auto" else {}, make_llama()) == []


def test_weights_on_disk_compute_as_those_in_memory_and_are_noted(folder):
    model, plain = split(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    assert offloaded(model)
    assert placement_note(model) == ["The base's parts were spread by Accelerate: 5 on cpu, 1 on disk."]
    assert not offloaded(plain)
    assert placement_note(plain) == []
    with torch.no_grad():
        assert torch.equal(model(IDS).logits, plain(IDS).logits)


@pytest.mark.parametrize("method", ["lora", "ia3", "vefa"])
def test_an_adapter_beside_weights_on_disk_learns_what_it_learns_beside_those_in_memory(folder, method):
    losses, gradients = [], []
    for base in (split(folder), AutoModelForCausalLM.from_pretrained(folder).eval()):
        torch.manual_seed(3)
        model = attach(base, method)
        loss = model(IDS, labels=IDS).loss
        loss.backward()
        losses.append(loss.item())
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert losses[0] == losses[1]
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


def test_pefts_own_way_loses_the_values_beside_weights_on_disk(folder):
    model = get_peft_model(split(folder), LoraConfig(target_modules=["q_proj"]))  # why `stand_ins` is there
    assert any(p.device.type == "meta" for p in model.parameters() if p.requires_grad)


def test_an_initialisation_that_reads_weights_on_disk_is_refused(folder):
    base = split(folder)
    with pytest.raises(InputError, match=r"method lora: .*offloaded; take sc-lora"):
        attach(base, "lora", {"use_dora": True})
    with torch.no_grad():
        assert base(IDS).logits.isfinite().all()


def test_stand_ins_hold_no_number_and_no_memory_and_go_again(folder):
    model = split(folder)
    layer = model.model.layers[1].mlp.up_proj
    with stand_ins(model) as any_offloaded:
        assert any_offloaded
        assert layer.weight.isnan().all()
        assert layer.weight.untyped_storage().nbytes() == 4
    assert layer.weight.device.type == "meta"


def test_the_folder_of_what_is_on_disk_goes_with_the_model(tmp_path):
    model, another = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    empty, full, failed = (OffloadFolder(tmp_path) for _ in range(3))
    (full.path / "weight.dat").write_bytes(b"1")
    empty.keep_for(another)
    full.keep_for(model)
    place, left = full.path, failed.path
    assert not empty.path.exists()
    del full, failed
    gc.collect()
    assert place.exists()
    assert not left.exists()
    del model
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "expected"), [("xpu", "xpu:1"), ("mps", "mps"), ("cuda", "cuda:1")])
def test_the_accelerator_that_torch_has_as_current_is_taken(monkeypatch, kind, expected):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device(kind))
    monkeypatch.setattr(torch.accelerator, "current_device_index", lambda: 1)
    assert str(current_device()) == expected


def test_random_states_are_given_back_of_every_gpu_too(monkeypatch):
    before = torch.get_rng_state()
    with random_states_kept():
        torch.manual_seed(7)
    assert torch.equal(torch.get_rng_state(), before)
    asked = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.random, "fork_rng", lambda places: asked.extend(places) or contextlib.nullcontext())
    with random_states_kept():
        assert asked == [0, 1, 2]  # all by name: torch warns where it is to find them itself
