"""What an adapter does to a model: nothing at the start, what it was trained to, and nothing when it is off."""

import copy
import warnings

import pytest
import torch
from contract_models import adapted, bits, disturb, layers_of, logits, make_config, same_bits
from peft import get_peft_model

from retain.errors import MergeError
from retain.kernels import reference_only

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 4e-2}


def test_identity_at_start_is_exact(method, architecture, dtype):
    base, batch = architecture.make(dtype), architecture.batch(dtype=dtype)
    expected = logits(base, batch)
    model = get_peft_model(base, make_config(method)).eval()
    assert torch.equal(logits(model, batch), expected)
    assert model(**batch).logits.dtype == dtype


def test_adapter_is_float32_also_over_a_16_bit_base(method, architecture, dtype):
    model = adapted(method, architecture, dtype)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}


def test_adapter_follows_the_base_where_autocast_is_declined(method, llama):
    model = get_peft_model(llama.make(torch.bfloat16), make_config(method), autocast_adapter_dtype=False)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.bfloat16}
    disturb(model)
    assert logits(model.eval(), llama.batch()).isfinite().all()


def test_training_lowers_the_loss_and_leaves_the_base(method, architecture, dtype):
    model, batch = adapted(method, architecture, dtype), architecture.batch(dtype=dtype)
    before = bits(model)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(4):
        scores = model.train()(**batch).logits.float()  # bf16 losses are too coarse to compare
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, -2), batch["labels"].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert same_bits(bits(model), before)


def test_only_the_adapter_trains(method, llama):
    model = adapted(method, llama)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained
    assert all(f".{method.name}_" in name for name in trained)


def test_disabled_is_the_base_bit_for_bit(method, architecture, dtype):
    base, batch = architecture.make(dtype), architecture.batch(dtype=dtype)
    expected = logits(base, batch)
    model = get_peft_model(base, make_config(method)).eval()
    disturb(model)
    with model.disable_adapter():
        assert torch.equal(logits(model, batch), expected)
    assert not torch.equal(logits(model, batch), expected)


def test_merged_equals_unmerged_and_unmerging_restores_every_bit(method, architecture, dtype):
    model, batch = adapted(method, architecture, dtype), architecture.batch(dtype=dtype)
    disturb(model)
    before, expected = bits(model), logits(model, batch)
    model.merge_adapter(safe_merge=True)
    assert not same_bits(bits(model), before)
    torch.testing.assert_close(logits(model, batch), expected, rtol=0, atol=TOLERANCE[dtype])
    model.unmerge_adapter()
    assert same_bits(bits(model), before)
    assert torch.equal(logits(model, batch), expected)


def test_disabling_while_merged_is_the_base_bit_for_bit(method, llama):
    model, batch = adapted(method, llama), llama.batch()
    disturb(model)
    expected = logits(llama.make(), batch)
    model.merge_adapter()
    with model.disable_adapter():
        assert torch.equal(logits(model, batch), expected)


def test_merge_and_unload(method, architecture, dtype):
    model, batch = adapted(method, architecture, dtype), architecture.batch(dtype=dtype)
    disturb(model)
    expected = logits(model, batch)
    merged = model.merge_and_unload(safe_merge=True)
    assert not layers_of(merged)
    assert {p.dtype for p in merged.parameters()} == {dtype}
    torch.testing.assert_close(logits(merged, batch), expected, rtol=0, atol=TOLERANCE[dtype])


def test_unload_gives_the_base(method, llama):
    model = adapted(method, llama)
    disturb(model)
    assert torch.equal(logits(model.unload(), llama.batch()), logits(llama.make(), llama.batch()))


def test_a_merged_state_dict_holds_no_second_copy(method, llama):
    model = adapted(method, llama)
    keys = set(model.state_dict())
    model.merge_adapter()
    assert set(model.state_dict()) == keys


def test_merging_survives_moving_the_model_to_another_dtype(method, llama):
    model = adapted(method, llama)
    disturb(model)
    model.merge_adapter()
    model.double()
    model.unmerge_adapter()
    expected = {key: value.double() for key, value in bits(llama.make()).items()}
    assert same_bits(bits(model), expected)


def test_safe_merge_refuses_what_is_not_finite(method, llama):
    model = adapted(method, llama)
    disturb(model)
    before = bits(model)
    for layer in layers_of(model)[:1]:
        getattr(layer, method.layer.adapter_layer_names[-1])["default"].weight.data.fill_(float("nan"))
    with pytest.raises(MergeError, match="not finite"):
        model.merge_adapter(safe_merge=True)
    assert same_bits(bits(model), before)


def test_merging_into_a_tied_head_is_refused_by_name(method, gpt2):
    model = adapted(method, gpt2, target_modules=["lm_head", "c_attn"])
    before = bits(model)
    with pytest.raises(MergeError, match=r"lm_head shares its weight with transformer\.wte.*untie"):
        model.merge_and_unload()
    with pytest.raises(MergeError, match="lm_head"):
        model.merge_adapter()
    assert same_bits(bits(model), before)


def test_an_untied_head_can_be_merged(method, gpt2):
    base = gpt2.make()
    base.lm_head.weight = torch.nn.Parameter(base.lm_head.weight.clone())
    base.config.tie_word_embeddings = False
    model = get_peft_model(base, make_config(method, target_modules=["lm_head"])).eval()
    disturb(model)
    expected = logits(model, gpt2.batch())
    torch.testing.assert_close(logits(model.merge_and_unload(), gpt2.batch()), expected, rtol=0, atol=2e-6)


def test_deepcopy_is_independent(method, llama):
    model, batch = adapted(method, llama), llama.batch()
    disturb(model)
    expected = logits(model, batch)
    residual = copy.deepcopy(model)
    disturb(model, seed=9)
    assert torch.equal(logits(residual, batch), expected)


def test_status_is_regular(method, llama):
    model = adapted(method, llama)
    status = model.get_model_status()
    assert (status.enabled, status.active_adapters, status.merged_adapters) == (True, ["default"], [])
    assert status.requires_grad == {"default": True}
    assert status.devices == {"default": ["cpu"]}
    assert status.num_adapter_layers == len(layers_of(model))


def test_weight_decay_draws_to_the_base(method, llama):
    model, batch = adapted(method, llama), llama.batch()
    disturb(model)
    base = logits(llama.make(), batch)
    distances = [float((logits(model, batch) - base).norm())]
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-8, weight_decay=0.05 / 1e-8)
    for _ in range(60):
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    distances.append(float((logits(model, batch) - base).norm()))
    assert distances[1] < 0.1 * distances[0]


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(method, llama, reentrant):
    gradients = []
    for checkpointing in (False, True):
        model = adapted(method, llama)
        disturb(model)
        model.enable_input_require_grads()  # in both: a layer whose input needs no gradient may take another way
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model.train()(**llama.batch()).loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name


def test_compiles_without_a_graph_break(method, llama):
    """What is compiled are the plain forms, which the compiler fuses by itself."""
    model, batch = adapted(method, llama.shallow()), llama.batch()
    disturb(model)
    with reference_only():
        expected = logits(model, batch)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert torch.equal(logits(compiled, batch), expected)


def test_compiles_under_autocast(method, llama):
    model, batch = adapted(method, llama.shallow()), llama.batch()
    disturb(model)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(logits(compiled, batch), logits(model, batch), rtol=0, atol=1e-2)


def test_a_frozen_adapter_has_no_trainable_parameter(method, llama):
    assert not any(p.requires_grad for p in adapted(method, llama, inference_mode=True).parameters())


def test_nothing_warns(method, llama):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
        model = adapted(method, llama)
        disturb(model)
        model.merge_and_unload()
