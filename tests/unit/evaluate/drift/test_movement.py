"""The movement of whole models against float64 computations of their own, for several methods and modalities."""

import copy

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from retain import SCLoRAConfig, sc_lora
from retain.evaluate.drift.hidden_states import states_of
from retain.evaluate.drift.movement import measure_drift
from retain.evaluate.pair import Pair
from retain.events import SILENT
from retain.hf.adapters.attach import attach
from retain.records.drift_record import Drift
from tiny import make_llama

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_labels": 3}
PIXELS = {"image_size": 16, "patch_size": 8}
PREFIX = "base_model.model."


def llama():
    return make_llama().double()


def bert():
    torch.manual_seed(0)
    config = BertConfig(vocab_size=60, intermediate_size=24, max_position_embeddings=32, pad_token_id=0, **SMALL)
    return BertForSequenceClassification(config).double().eval()


def vit():
    torch.manual_seed(0)
    return ViTForImageClassification(ViTConfig(intermediate_size=24, **PIXELS, **SMALL)).double().eval()


def dinov2():
    torch.manual_seed(0)
    return Dinov2ForImageClassification(Dinov2Config(mlp_ratio=2, **PIXELS, **SMALL)).double().eval()


def texts(seed, lengths):
    """One padded batch of rows of these lengths, labels beside."""
    rng = torch.Generator().manual_seed(seed)
    mask = torch.tensor([[1] * n + [0] * (max(lengths) - n) for n in lengths])
    ids = torch.randint(2, 60, mask.shape, generator=rng) * mask
    return [{"input_ids": ids, "attention_mask": mask, "labels": torch.zeros(len(lengths), dtype=torch.long)}]


def pictures(seed, count):
    rng = torch.Generator().manual_seed(seed)
    return [{"pixel_values": torch.randn(count, 3, 16, 16, generator=rng, dtype=torch.float64)}]


KEEP, LEARN = texts(1, [9, 4, 7, 2, 5]), texts(2, [3, 8, 6])
SIDES = {
    llama: (KEEP, LEARN),
    bert: (KEEP, LEARN),
    vit: (pictures(1, 4), pictures(2, 3)),
    dinov2: (pictures(3, 3), pictures(4, 2)),
}


def started(base):
    """SC-LoRA in the directions that its texts say."""
    with torch.no_grad():
        plain = [{k: v for k, v in batch.items() if k != "labels"} for batch in (*LEARN, *KEEP)]
        return sc_lora(base, SCLoRAConfig(r=2, beta=0.5), learn=[plain[0]] * 8, keep=[plain[1]] * 8)


def disturbed(base, name, fields=None, size=0.1):
    model = (started(base) if name == "sc-lora" else attach(base, name, fields or {})).double().eval()
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += size * torch.randn_like(parameter)
    return model


def measured(pair, keep, learn):
    return measure_drift(pair, keep, learn, SILENT)


def rows_alone(batches):
    """Every row as a batch of its own, without padding and labels."""
    for batch in batches:
        for row in range(len(next(iter(batch.values())))):
            one = {key: value[row : row + 1] for key, value in batch.items() if key != "labels"}
            if "attention_mask" in one:
                one = {"input_ids": one["input_ids"][:, one["attention_mask"][0] == 1]}
            yield one


def dense(layer, inputs):
    """The matrix that a layer applies, found by asking it."""
    with torch.no_grad():
        eye = torch.eye(inputs, dtype=torch.float64)
        return (layer(eye) - layer(torch.zeros_like(eye))).T.numpy()


@torch.no_grad()
def seen_by(model, batches, names):
    """What the named layers of a base are given, row by row, and its hidden states."""
    given = {name: [] for name in names}
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, x, name=name: given[name].append(x[0].reshape(-1, x[0].shape[-1]).numpy())
        )
        for name in names
    ]
    states = [
        [state[0].numpy() for state in model(**one, output_hidden_states=True).hidden_states[1:]]
        for one in rows_alone(batches)
    ]
    for handle in handles:
        handle.remove()
    return {name: np.vstack(x) for name, x in given.items()}, [np.vstack(block) for block in zip(*states, strict=True)]


def check_hidden(found, before, after):
    assert [entry.block for entry in found] == list(range(1, len(before) + 1))
    for entry, X, Y in zip(found, before, after, strict=True):
        cosine = (X * Y).sum(1) / np.linalg.norm(X, axis=1) / np.linalg.norm(Y, axis=1)
        A, B = X - X.mean(0), Y - Y.mean(0)
        K, L = A @ A.T, B @ B.T
        assert entry.cka == pytest.approx((K * L).sum() / np.linalg.norm(K) / np.linalg.norm(L), rel=1e-9)
        assert entry.cosine_drift == pytest.approx(np.mean(1 - cosine), rel=1e-6, abs=1e-12)
        moved = np.linalg.norm(Y - X, axis=1) / np.linalg.norm(X, axis=1)
        assert entry.relative_l2 == pytest.approx(np.mean(moved), rel=1e-6)


METHODS = [
    (llama, "lora", {}),
    (llama, "lora", {"use_dora": True}),
    (llama, "ia3", {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]}),
    (llama, "oft", {"oft_block_size": 8, "r": 0}),
    (llama, "vefa", {}),
    (llama, "lorfa", {}),
    (llama, "sc-lora", {}),
    (bert, "lora", {"task_type": "SEQ_CLS"}),
    (bert, "vefa", {}),
    (vit, "lorfa", {"modules_to_save": ["classifier"]}),
    (dinov2, "lora", {}),
    (dinov2, "vefa", {}),
]


@pytest.mark.parametrize(("make", "name", "fields"), METHODS)
def test_every_figure_is_what_its_definition_says(make, name, fields):
    keep, learn = SIDES[make]
    tuned, base = disturbed(make(), name, fields), make()
    found = measured(Pair.of(tuned), keep, learn)
    names = [layer.name for layer in found.layers]
    assert names
    inputs, before = seen_by(base, keep, names)
    other, _ = seen_by(base, learn, names)
    _, after = seen_by(tuned, keep, [])
    check_hidden(found.hidden, before, after)
    moved = weights = 0.0
    for layer in found.layers:
        old = base.get_submodule(layer.name).weight.detach().numpy()
        delta = dense(tuned.get_submodule(PREFIX + layer.name), old.shape[1]) - old
        sizes = np.linalg.svd(delta, compute_uv=False)
        assert layer.relative_frobenius == pytest.approx(np.linalg.norm(delta) / np.linalg.norm(old), rel=1e-6)
        assert layer.sigma_max == pytest.approx(sizes[0], rel=1e-6)
        assert layer.stable_rank == pytest.approx((sizes**2).sum() / sizes[0] ** 2, rel=1e-6)
        for value, x in ((layer.f_delta_keep, inputs[layer.name]), (layer.f_delta_learn, other[layer.name])):
            expected = np.mean(np.linalg.norm(x @ delta.T, axis=1) / np.linalg.norm(x, axis=1))
            assert value == pytest.approx(expected, rel=1e-6)
        moved += np.square(delta).sum()
        weights += np.square(old).sum()
    assert found.update_relative_frobenius == pytest.approx((moved / weights) ** 0.5, rel=1e-6)
    assert found.sigma_max == max(layer.sigma_max for layer in found.layers)
    assert found.f_delta == pytest.approx(np.mean([layer.f_delta_keep for layer in found.layers]))
    assert found.f_delta_ratio == pytest.approx(found.f_delta_learn / found.f_delta)
    assert bool(found.feature_scales) == (name in {"vefa", "lorfa"})


@pytest.mark.parametrize("make", [llama, bert, vit, dinov2])
def test_a_model_beside_its_equal_did_not_move(make):
    keep, learn = SIDES[make]
    found = measured(Pair(make(), make()), keep, learn)
    assert (found.update_relative_frobenius, found.f_delta, found.f_delta_learn, found.sigma_max) == (0, 0, 0, 0)
    assert (found.stable_rank, found.f_delta_ratio, found.layers, found.note) == (None, None, (), "")
    assert len(found.hidden) == 2
    for block in found.hidden:
        assert block.cka == pytest.approx(1, abs=1e-9)
        assert (block.cosine_drift, block.relative_l2) == (pytest.approx(0, abs=1e-7), 0)


def test_an_adapter_as_it_is_made_moves_nothing():
    found = measured(Pair.of(attach(llama(), "lorfa", {})), KEEP, LEARN)
    assert (found.update_relative_frobenius, found.f_delta, found.sigma_max, found.intruders) == (0, 0, 0, 0)
    assert found.intruders_of == 12 * 10
    assert all(block.relative_l2 == 0 for block in found.hidden)
    assert all((layer.amount, layer.share, layer.features) == (0, 0, ()) for layer in found.feature_scales)


def test_a_fully_trained_model_is_measured_against_its_base():
    tuned, base = vit(), vit()
    layer = tuned.vit.encoder.layer[0].output.dense if hasattr(tuned.vit, "encoder") else tuned.vit.layers[0].mlp.fc2
    name = next(key for key, module in tuned.named_modules() if module is layer)
    layer.weight.data *= 1.5
    keep, learn = SIDES[vit]
    found = measured(Pair(tuned, base), keep, learn)
    assert [moved.name for moved in found.layers] == [name]
    assert found.update_relative_frobenius == pytest.approx(0.5)
    given, _ = seen_by(base, keep, [name])
    outputs = given[name] @ (0.5 * base.get_submodule(name).weight.detach().numpy()).T
    expected = np.mean(np.linalg.norm(outputs, axis=1) / np.linalg.norm(given[name], axis=1))
    assert found.f_delta == pytest.approx(expected, rel=1e-6)


def test_the_base_may_lie_inside_or_beside():
    tuned = disturbed(llama(), "vefa")
    inside, beside = measured(Pair.of(tuned), KEEP, LEARN), measured(Pair(tuned, llama()), KEEP, LEARN)
    assert inside == beside


def test_amounts_are_what_the_adapter_adds_to_the_inputs_to_learn():
    for name in ("vefa", "lorfa"):
        tuned, base = disturbed(llama(), name), llama()
        found = measured(Pair.of(tuned), KEEP, LEARN)
        names = [layer.name for layer in found.feature_scales]
        assert names == [layer.name for layer in found.layers]
        inputs, _ = seen_by(base, LEARN, names)
        sizes = []
        for layer in found.feature_scales:
            x, module = inputs[layer.name], tuned.get_submodule(PREFIX + layer.name)
            if name == "vefa":
                shift = x * module.vefa_lambda["default"].weight.detach().numpy()
            else:
                A, B = (getattr(module, f"lorfa_{f}")["default"].weight.detach().numpy() for f in "AB")
                shift = module.scaling["default"] * x @ A.T @ B.T
            sizes.append(np.mean(np.linalg.norm(shift, axis=1) / np.linalg.norm(x, axis=1)))
            parts = np.abs(shift).sum(0) / np.abs(shift).sum()
            order = np.argsort(-parts)[:5]
            assert [index for index, _ in layer.features] == order.tolist()
            assert [part for _, part in layer.features] == pytest.approx(parts[order].tolist(), rel=1e-4)
        assert [layer.amount for layer in found.feature_scales] == pytest.approx(sizes, rel=1e-4)
        assert [layer.share for layer in found.feature_scales] == pytest.approx((np.array(sizes) / sum(sizes)).tolist())


def test_padding_and_batching_change_nothing():
    tuned = disturbed(llama(), "lora")
    alone = [{**one, "attention_mask": torch.ones_like(one["input_ids"])} for one in rows_alone(KEEP)]
    together, apart = measured(Pair.of(tuned), KEEP, []), measured(Pair.of(tuned), alone, [])
    assert apart.f_delta == pytest.approx(together.f_delta, rel=1e-9)
    for one, other in zip(apart.hidden, together.hidden, strict=True):
        assert one.cka == pytest.approx(other.cka, rel=1e-9)
    assert (together.f_delta_learn, together.f_delta_ratio) == (None, None)


def test_a_model_comes_back_as_it_was():
    tuned = disturbed(llama(), "vefa").train()
    before = {key: value.clone() for key, value in tuned.state_dict().items()}
    gradients = [p.requires_grad for p in tuned.parameters()]
    measured(Pair.of(tuned), KEEP, LEARN)
    assert all(module.training for module in tuned.modules())
    assert [p.requires_grad for p in tuned.parameters()] == gradients
    assert all(torch.equal(value, before[key]) for key, value in tuned.state_dict().items())
    assert not any(module._forward_pre_hooks for module in tuned.modules())
    assert not any(module._disable_adapters for module in tuned.modules() if hasattr(module, "_disable_adapters"))


def test_an_adapter_of_prompts_has_no_weights_but_moves_hidden_states():
    tuned = disturbed(make_llama(), "prompt_tuning", {"num_virtual_tokens": 3}, size=1).float()
    found = measured(Pair.of(tuned), KEEP, LEARN)
    assert (found.update_relative_frobenius, found.f_delta, found.layers) == (None, None, ())
    assert "prompts" in found.note
    assert len(found.hidden) == 2
    assert found.hidden[0].relative_l2 > 0


def test_a_convolutional_network_is_read_by_position():
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=3)
    torch.manual_seed(0)
    base = ResNetForImageClassification(config).eval()
    tuned = copy.deepcopy(base)
    tuned.classifier[1].weight.data += 0.1
    keep = [{"pixel_values": torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))}]
    found = measured(Pair(tuned, base), keep, [])
    assert [block.relative_l2 for block in found.hidden] == [0, 0]
    assert found.f_delta > 0
    maps = states_of(base(**keep[0], output_hidden_states=True))
    assert [state.shape[-1] for state in maps] == [8, 12]


def test_a_model_without_hidden_states_says_so():
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x)

    torch.manual_seed(0)
    tuned, base = Plain(), Plain()
    found = measured(Pair(tuned, base), [{"x": torch.ones(2, 4)}], [])
    assert found.hidden == ()
    assert "model gives none" in found.note
    delta = (tuned.layer.weight - base.layer.weight).detach().double().numpy()
    assert found.f_delta == pytest.approx(np.linalg.norm(delta @ np.ones(4)) / 2, rel=1e-5)


def test_models_that_do_not_match_are_told_of():
    other = make_llama(vocabulary=70)
    other.model.layers = other.model.layers[:1]
    found = measured(Pair(other, make_llama()), KEEP, LEARN)
    assert "linear layers differ" in found.note
    assert (found.layers, found.hidden, found.update_relative_frobenius) == ((), (), None)


def test_without_inputs_only_the_weights_are_measured():
    found = measured(Pair.of(disturbed(llama(), "vefa")), [], [])
    assert found.update_relative_frobenius > 0
    assert (found.f_delta, found.hidden, found.feature_scales) == (None, (), ())


def test_all_fields_go_into_the_record():
    found = measured(Pair.of(disturbed(llama(), "vefa")), KEEP, LEARN)
    drift = Drift(tokens=7, note="First.").joined(found)
    assert Drift.model_validate_json(drift.model_dump_json()) == drift
    assert (drift.tokens, drift.note, drift.layers) == (7, f"First. {found.note}", found.layers)
    text = {"tokens", "churn", "churn_interval", "ce_base_nats_per_token"} | {
        f"{kind}{end}" for kind in ("kl", "kl_task", "ce_drift") for end in ("_nats_per_token", "_interval")
    }
    assert found.model_fields_set == set(Drift.model_fields) - text
