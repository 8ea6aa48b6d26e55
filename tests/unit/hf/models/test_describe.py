"""The identity of a model: its hash sees weights and no adapters, sizes count once, configurations are JSON values."""

import json

import torch

from retain import SCLoRAConfig, sc_lora
from retain.hf.adapters.attach import attach
from retain.hf.models.describe import (
    adapter_config,
    adapter_kind,
    changed_size,
    model_hash,
    parameter_counts,
    prepends_tokens,
)
from tiny import make_llama


def test_the_hash_is_the_bases_whatever_is_attached():
    expected = model_hash(make_llama())
    for name in ("vefa", "lora"):
        assert model_hash(attach(make_llama(), name, {})) == expected
    changed = make_llama()
    changed.lm_head.weight.data[0, 0] += 1e-3
    assert model_hash(changed) != expected
    assert model_hash(make_llama().bfloat16()) != expected


def test_a_model_without_weights_is_hashed_by_its_shapes():
    with torch.device("meta"):
        one, other = make_llama(), make_llama(vocabulary=71)
    assert model_hash(one) != model_hash(other)


def test_sizes_of_an_adapter_and_of_a_whole_model():
    base = make_llama()
    total = sum(p.numel() for p in base.parameters())
    assert changed_size(base) == (total, 4 * total)
    model = attach(base, "lora", {"r": 2, "target_modules": ["q_proj"]})
    assert changed_size(model) == (2 * 2 * (32 + 32), 4 * 2 * 2 * (32 + 32))
    assert parameter_counts(model) == (256, total + 256)


def test_an_initialisation_is_described_by_what_was_configured():
    model = sc_lora(make_llama(), SCLoRAConfig(r=2, lora_alpha=3, initialisation="milora"))
    config = adapter_config(model)
    assert (config["r"], config["lora_alpha"], config["saved_r"], config["saved_alpha"]) == (2, 3, 4, 6)
    assert config["initialisation"] == "milora"
    assert "beta" not in config
    assert json.loads(json.dumps(config)) == config


def test_an_alpha_that_was_not_configured_is_the_rank_since_the_scale_is_1():
    model = sc_lora(make_llama(), SCLoRAConfig(r=2, initialisation="milora"))
    config = adapter_config(model)
    assert (config["r"], config["lora_alpha"], config["saved_r"], config["saved_alpha"]) == (2, 2, 4, 4)
    scales = [module.scaling["default"] for module in model.modules() if hasattr(module, "lora_A")]
    assert set(scales) == {1.0}


def test_kinds_of_adapters():
    assert adapter_kind(make_llama()) is None
    assert adapter_config(make_llama()) == {}
    assert adapter_kind(attach(make_llama(), "vefa", {})) == "vefa"
    assert prepends_tokens(attach(make_llama(), "prompt_tuning", {"num_virtual_tokens": 2}))
    assert not prepends_tokens(attach(make_llama(), "vefa", {}))
