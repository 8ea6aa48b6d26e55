"""Statistics are of the data and the base, not of how the data come or what else is on the model."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from calibration import batches, embedded, gpt2, llama, same_moments, sentences
from retain import SCLoRAConfig, VeFAConfig, sc_lora
from retain.activations import collect, merge

ROWS = sentences(14)
MODELS = pytest.mark.parametrize("make", [llama, gpt2])


def collected(model, rows=ROWS, size=4, side="right", **fields):
    return collect(model, batches(rows, size, side), dtype="float64", **fields)


@pytest.fixture(scope="module")
def reference():
    """Statistics of whole sentences, one by one, without padding."""
    return {make: collected(make(), size=1) for make in (llama, gpt2)}


@MODELS
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("size", [3, 14])
def test_batch_size_and_padding_side_do_not_matter(make, side, size, reference):
    found = collected(make(), size=size, side=side)
    same_moments(found, reference[make])
    assert found.tokens == sum(map(len, ROWS))
    assert found.manifest.data_hash == reference[make].manifest.data_hash


@MODELS
def test_order_does_not_matter(make, reference):
    found = collected(make(), ROWS[::-1])
    same_moments(found, reference[make])
    assert found.manifest.data_hash == reference[make].manifest.data_hash


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("side", ["left", "right"])
def test_scaled_samples_do_not_depend_on_their_batch(size, side):
    same_moments(collected(llama(), size=size, side=side, sample_norm="max"), collected(llama(), sample_norm="max"))


def test_a_run_over_other_data_before_does_not_matter():
    model = llama()
    collected(model, sentences(5, seed=9))
    same_moments(collected(model), collected(llama()), atol=0)


def test_labels_are_no_matter(reference):
    labelled = [batch | {"labels": batch["input_ids"]} for batch in batches(ROWS)]
    same_moments(collect(llama(), labelled, dtype="float64"), reference[llama])


def test_float32_sums_are_those_of_float64_to_rounding(reference):
    found = collect(llama(), batches(ROWS))
    assert found.moments("model.layers.0.mlp.up_proj").gram.dtype == torch.float32
    same_moments(found, reference[llama], atol=2e-5)


def test_half_precision_activations_are_summed_in_float32():
    model = embedded(lambda: nn.Linear(6, 4)).bfloat16()
    rows = sentences(60)
    found = collect(model, batches(rows, 30), targets={"target_modules": ["body"]}).second_moment("body")
    tokens = torch.cat([model.embedding.weight[row] for row in rows]).double()
    expected = torch.cat([tokens, torch.ones(len(tokens), 1)], dim=1)
    torch.testing.assert_close(found, expected.T @ expected / len(tokens), rtol=0, atol=1e-5)


def test_another_sentence_gives_another_data_hash(reference):
    changed = copy.deepcopy(ROWS)
    changed[3][0] += 1
    hashes = {collected(llama(), rows).manifest.data_hash for rows in (ROWS, ROWS[1:], changed)}
    assert len(hashes) == 3


def test_merged_statistics_are_those_of_all_data(reference):
    left, right = (collected(llama(), rows) for rows in (ROWS[:5], ROWS[5:]))
    both = merge(left, right)
    same_moments(both, reference[llama])
    assert both.tokens == reference[llama].tokens
    assert both.manifest.data_hash == reference[llama].manifest.data_hash
    assert sorted(both.manifest.sequences) == sorted(reference[llama].manifest.sequences)


def lora(base):
    return get_peft_model(base, LoraConfig(target_modules="all-linear", init_lora_weights=False, lora_dropout=0.5))


def lora_with_a_trained_head(base):
    fields = {"target_modules": "all-linear", "modules_to_save": ["lm_head"]}
    return get_peft_model(base, LoraConfig(**fields, init_lora_weights=False))


def vefa(base):
    return get_peft_model(base, VeFAConfig(target_modules="all-linear"))


def own(base):
    return sc_lora(base, SCLoRAConfig(r=2, initialisation="milora"))


def two(base):
    model = lora(base)
    model.add_adapter("other", LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    return model


def by_transformers(base):
    base.add_adapter(LoraConfig(target_modules=["q_proj", "up_proj"], init_lora_weights=False))
    return base


@pytest.mark.parametrize("adapt", [lora, lora_with_a_trained_head, vefa, own, two, by_transformers])
def test_adapters_do_not_matter_and_are_on_again_afterwards(adapt, reference):
    model = adapt(llama())
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    model.eval()
    batch = batches(ROWS)[0]
    with torch.no_grad():
        before = model(**batch).logits
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    found = collected(model)
    same_moments(found, reference[llama])
    assert found.manifest.model_hash == reference[llama].manifest.model_hash
    with torch.no_grad():
        assert torch.equal(model(**batch).logits, before)
        assert not torch.equal(before, llama()(**batch).logits)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == trained


def test_only_layers_asked_for_are_summed_up(reference):
    found = collected(llama(), targets={"target_modules": r".*layers\.1.*(q_proj|down_proj)"})
    assert list(found.manifest.layers) == ["model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj"]
    for name in found.manifest.layers:
        torch.testing.assert_close(found.second_moment(name), reference[llama].second_moment(name))


def test_the_head_can_be_asked_for():
    model = llama()
    found = collected(model, targets={"target_modules": ["lm_head", "q_proj"]})
    seen = []
    handle = model.lm_head.register_forward_pre_hook(lambda _m, args: seen.append(args[0][0]))
    with torch.no_grad():
        for row in ROWS:
            model(torch.tensor([row]))
    handle.remove()
    tokens = torch.cat(seen)
    torch.testing.assert_close(found.second_moment("lm_head"), tokens.T @ tokens / len(tokens), rtol=0, atol=1e-10)
