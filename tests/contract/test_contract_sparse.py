"""Sparse updates over architectures and dtypes: what every method promises, and that other entries stay to the bit."""

import copy
import json
import warnings

import numpy as np
import pytest
import torch
from contract_models import ARCHITECTURES, logits
from peft import PeftModel

from retain import SparseConfig, load_adapter, sparse_update
from retain.errors import MergeError, TargetError
from retain.hf.adapters.sparse import count_of
from retain.hf.adapters.sparse_layer import sparse_layers
from retain.kernels import reference_only
from retain.methods.sparse.config import SCORES

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 4e-2}
DENSITY = 0.05


@pytest.fixture(params=["llama", "bert", "vit"])
def architecture(request):
    return ARCHITECTURES[request.param]


def adapted(architecture, dtype=torch.float32, score="gradient", **fields):
    batch = architecture.batch(dtype=dtype)
    config = SparseConfig(**{"density": DENSITY, "score": score, **fields})
    return sparse_update(architecture.make(dtype), config, learn=[batch], keep=[batch]).eval()


def disturb(model, size=0.05):
    generator = torch.Generator().manual_seed(2)
    for _, layer in sparse_layers(model):
        values = layer.supertuning_values["default"]
        values.data.copy_(size * torch.randn(values.shape, generator=generator))


def bits(model):
    return {key: layer.get_base_layer().weight.detach().clone() for key, layer in sparse_layers(model)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("score", SCORES)
def test_before_training_the_model_is_the_base_bit_for_bit(architecture, dtype, score):
    batch = architecture.batch(dtype=dtype)
    expected = logits(architecture.make(dtype), batch)
    model = adapted(architecture, dtype, score)
    assert torch.equal(logits(model, batch), expected)
    assert model(**batch).logits.dtype == dtype
    for _, layer in sparse_layers(model):
        places = layer.supertuning_indices["default"]
        assert len(places) == count_of(layer.get_base_layer().weight.numel(), DENSITY)
        assert bool((places[1:] > places[:-1]).all())
        assert layer.supertuning_values["default"].dtype == torch.float32


def test_training_lowers_the_loss_and_merging_leaves_all_other_entries(architecture, dtype):
    model, batch = adapted(architecture, dtype), architecture.batch(dtype=dtype)
    before = bits(model)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(4):
        scores = model.train()(**batch).logits.float()
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, -2), batch["labels"].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert same(bits(model), before)
    expected = logits(model.eval(), batch)
    model.merge_adapter(safe_merge=True)
    torch.testing.assert_close(logits(model, batch), expected, rtol=0, atol=TOLERANCE[dtype])
    for key, layer in sparse_layers(model):
        changed = (layer.get_base_layer().weight != before[key]).flatten().nonzero().flatten()
        assert set(changed.tolist()) <= set(layer.supertuning_indices["default"].tolist())
    model.unmerge_adapter()
    assert same(bits(model), before)
    assert torch.equal(logits(model, batch), expected)


def test_switched_off_it_is_the_base_also_while_merged(architecture):
    batch = architecture.batch()
    expected = logits(architecture.make(), batch)
    model = adapted(architecture)
    disturb(model)
    for merge in (False, True):
        if merge:
            model.merge_adapter()
        with model.disable_adapter():
            assert torch.equal(logits(model, batch), expected)
        assert not torch.equal(logits(model, batch), expected)


def test_saved_it_is_loaded_by_stock_peft_and_by_retain(architecture, dtype, tmp_path):
    model, batch = adapted(architecture, dtype), architecture.batch(dtype=dtype)
    disturb(model)
    expected = logits(model, batch)
    model.save_pretrained(tmp_path)
    stock = PeftModel.from_pretrained(architecture.make(dtype), tmp_path).eval()
    torch.testing.assert_close(logits(stock, batch), expected, rtol=0, atol=TOLERANCE[dtype])
    assert torch.equal(logits(load_adapter(architecture.make(dtype), tmp_path), batch), expected)
    whole = model.merge_and_unload()
    torch.testing.assert_close(logits(whole, batch), expected, rtol=0, atol=TOLERANCE[dtype])
    assert {p.dtype for p in whole.parameters()} == {dtype}


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradients_are_those_of_pefts_form_also_with_checkpointing(reentrant):
    llama, gradients = ARCHITECTURES["llama"], []
    for form in ("ours", "PEFT's", "checkpointing"):
        model = adapted(llama)
        disturb(model)
        if form == "checkpointing":
            model.enable_input_require_grads()
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        loss = model.train()
        if form == "PEFT's":
            with reference_only():
                loss = loss(**llama.batch()).loss
                loss.backward()
        else:
            loss(**llama.batch()).loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-8)
        assert torch.equal(gradient, gradients[2][name]), name


def test_a_copy_is_independent_and_nothing_warns():
    llama = ARCHITECTURES["llama"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        model = adapted(llama)
        disturb(model)
        expected = logits(model, llama.batch())
        other = copy.deepcopy(model)
        disturb(other, size=0.5)
        assert torch.equal(logits(model, llama.batch()), expected)
        assert not torch.equal(logits(other, llama.batch()), expected)
        model.merge_and_unload()


def test_places_that_lie_where_those_of_a_deleted_adapter_lay_are_read_anew():
    """An allocator gives memory again; here the same memory is given on purpose."""
    llama = ARCHITECTURES["llama"]
    model, batch = adapted(llama), llama.batch()
    disturb(model)
    memory = []
    for _, layer in sparse_layers(model):
        shared = layer.supertuning_indices["default"].numpy().copy()
        memory.append(shared)
        layer.supertuning_indices["default"] = torch.from_numpy(shared)
    few = {"input_ids": batch["input_ids"][:1, :4]}
    before = logits(model, few)
    for (_, layer), shared in zip(sparse_layers(model), memory, strict=True):
        shared[:] = layer.get_base_layer().weight.numel() - 1 - shared[::-1]
        layer.supertuning_indices["default"] = torch.from_numpy(shared)
    found = logits(model, few)
    with reference_only():
        torch.testing.assert_close(found, logits(model, few), rtol=0, atol=5e-6)
    assert not torch.allclose(found, before, atol=1e-4)


def test_under_autocast_pefts_form_is_taken():
    llama = ARCHITECTURES["llama"]
    model = adapted(llama)
    disturb(model)
    with torch.autocast("cpu", torch.bfloat16):
        found = logits(model, llama.batch())
        with reference_only():
            assert torch.equal(found, logits(model, llama.batch()))


def test_a_merge_that_is_not_finite_changes_nothing():
    model = adapted(ARCHITECTURES["llama"])
    _, layer = next(sparse_layers(model))
    layer.supertuning_values["default"].data.fill_(float("inf"))
    before = bits(model)
    with pytest.raises(MergeError, match="not finite"):
        model.merge_adapter(safe_merge=True)
    assert same(bits(model), before)


def test_layers_that_pefts_tuner_does_not_take_are_named():
    with pytest.raises(TargetError, match=r"c_attn: PEFT's sparse tuner takes nn.Linear, and this is Conv1D"):
        adapted(ARCHITECTURES["gpt2"])


def test_numbers_of_numpy_become_plain_ones_that_json_takes():
    given = SparseConfig(density=np.float32(0.5), batches=np.int64(3), seed=np.uint8(7), nuclear_weight=np.float64(0))
    assert json.loads(json.dumps(vars(given))) == vars(SparseConfig(density=0.5, batches=3, seed=7))
