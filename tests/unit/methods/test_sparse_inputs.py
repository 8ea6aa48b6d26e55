"""What a sparse update is given, as users have it: shared weights, wrong settings, data that teach nothing."""

import copy
import itertools

import pytest
import torch
from transformers import LlamaForCausalLM

import retain
from retain.errors import InputError, MergeError
from retain.hf.adapters.sparse import count_of
from retain.hf.adapters.sparse_layer import sparse_layers
from retain.hf.exporting.merge import merge_in_place
from retain.methods.sparse.gradients import mean_gradient, own_weights
from retain.methods.sparse.scores import largest
from retain.train.regularise.reselection import step_of
from tiny import make_llama

IDS = torch.randint(2, 60, (3, 8), generator=torch.Generator().manual_seed(1))
BATCH = {"input_ids": IDS, "labels": IDS}


def tied():
    """A Llama whose head is its embedding."""
    config = copy.deepcopy(make_llama().config)
    config.tie_word_embeddings = True
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def with_one_query_matrix():
    """A Llama whose two layers have one matrix of queries."""
    model = make_llama()
    first, second = (layer.self_attn.q_proj for layer in model.model.layers)
    second.weight = first.weight
    return model


SHARED = [(tied, ["lm_head"]), (with_one_query_matrix, ["layers.0.self_attn.q_proj", "layers.1.self_attn.q_proj"])]


@pytest.mark.parametrize(("make", "targets"), SHARED)
def test_of_a_shared_weight_each_layer_is_scored_by_its_own_gradient(make, targets):
    """The other side computes with copies of the weight, which autograd tells apart by itself."""
    apart = make()
    for name, layer in apart.named_modules():
        if name.endswith(tuple(targets)):
            layer.weight = torch.nn.Parameter(layer.weight.detach().clone())
    apart(**BATCH).loss.backward()
    model = make()
    weights = {name: id(p) for name, p in model.named_parameters(remove_duplicate=False)}
    adapted = retain.sparse_update(
        model, retain.SparseConfig(density=0.1, batches=1, target_modules=targets), learn=[BATCH]
    )
    found = list(sparse_layers(adapted))
    assert len(found) == len(targets)
    for key, layer in found:
        G = apart.get_submodule(key).weight.grad
        expected = largest(G.abs(), count_of(G.numel(), 0.1))
        assert torch.equal(layer.supertuning_indices["default"].long(), expected)
        assert id(layer.get_base_layer().weight) == weights[f"{key}.weight"]  # shared again


@pytest.mark.parametrize(("make", "targets"), SHARED)
def test_a_shared_weight_is_not_merged_into(make, targets):
    model = retain.sparse_update(
        make(), retain.SparseConfig(density=0.1, score="small", target_modules=targets[:1])
    ).eval()
    _, layer = next(sparse_layers(model))
    layer.supertuning_values["default"].data.fill_(0.5)
    before = layer.get_base_layer().weight.clone()
    with pytest.raises(MergeError, match="shares its weight with model"):
        copy.deepcopy(model).merge_and_unload()
    with pytest.raises(MergeError, match="untie it first"):
        model.merge_adapter()
    assert torch.equal(layer.get_base_layer().weight, before)
    layer.get_base_layer().weight = torch.nn.Parameter(before.clone())  # the cure that it names
    expected = model(**BATCH).logits
    model.merge_adapter()
    torch.testing.assert_close(model(**BATCH).logits, expected, rtol=0, atol=2e-6)


def test_exported_a_head_that_was_tied_has_a_weight_of_its_own():
    model = retain.sparse_update(
        tied(), retain.SparseConfig(density=0.1, score="small", target_modules=["lm_head", "q_proj"])
    ).eval()
    for _, layer in sparse_layers(model):
        layer.supertuning_values["default"].data.fill_(0.1)
    expected, embedding = model(**BATCH).logits, model.get_input_embeddings().weight.clone()
    merged, _ = merge_in_place(model, torch.float32)
    torch.testing.assert_close(merged(**BATCH).logits, expected, rtol=0, atol=2e-6)
    assert torch.equal(merged.get_input_embeddings().weight, embedding)


def test_own_weights_come_back_after_an_error():
    model = tied()
    with pytest.raises(ZeroDivisionError), own_weights(model, {"lm_head": model.lm_head}):
        raise ZeroDivisionError
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"learn": BATCH}, "learn: a single batch"),
        ({"learn": ["a text"]}, "learn: a batch is a str"),
        ({"learn": [{"input_ids": [[1, 2]]}]}, "learn: a batch is a dict"),
        ({"learn": [{**BATCH, "labels": torch.full_like(IDS, -100)}]}, "gradient of the loss is 0"),
        ({"learn": [BATCH], "keep": BATCH}, "keep: a single batch"),
        ({"learn": [BATCH], "keep": [IDS]}, "keep: a batch is a Tensor"),
    ],
)
def test_data_that_are_no_batches_are_named(data, told):
    score = "learn-not-keep" if "keep" in data else "gradient"
    with pytest.raises(InputError, match=told):
        retain.sparse_update(make_llama(), retain.SparseConfig(density=0.1, score=score), **data)


def test_no_more_batches_are_taken_than_are_read():
    endless = itertools.count()
    taken = ({**BATCH, "input_ids": (IDS + next(endless)) % 60} for _ in itertools.repeat(None))
    retain.sparse_update(make_llama(), retain.SparseConfig(density=0.1, batches=2), learn=taken)
    assert next(endless) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("score", ["small", "large"])
def test_weights_that_are_not_finite_are_not_chosen_from(score, value):
    model = make_llama()
    model.model.layers[1].mlp.up_proj.weight.data[3, 4] = value
    with pytest.raises(InputError, match=r"layers\.1\.mlp\.up_proj: the base has weights that are not finite"):
        retain.sparse_update(model, retain.SparseConfig(density=0.1, score=score))


@pytest.mark.parametrize(
    "fields",
    [{"density": "0.1"}, {"density": None}, {"density": True}, {"seed": "x"}, {"seed": 1.5}, {"score": ["small"]},
     {"nuclear_weight": "1"}, {"score": "small", "reselect_after": "0.5"}],
)  # fmt: skip
def test_settings_of_another_kind_are_named_and_not_compared(fields):
    name = list(fields)[-1]
    with pytest.raises(InputError, match=f"^{name}="):
        retain.SparseConfig(**fields)


def test_layers_without_a_gradient_are_no_reason_against_others():
    model = make_llama()
    names = ["model.layers.0.self_attn.q_proj", "unused"]
    model.unused = torch.nn.Linear(4, 4)
    weights = {name: model.get_submodule(name).weight for name in names}
    found = mean_gradient(model, weights, [BATCH])
    assert found[names[0]].any()
    assert not found["unused"].any()


@pytest.mark.parametrize(("after", "steps", "step"), [(0.07, 100, 7), (0.55, 100, 55), (0.5, 5, 3), (0.1, 2, 1)])
def test_the_step_of_a_share_does_not_depend_on_how_it_is_rounded(after, steps, step):
    assert step_of(after, steps) == step
