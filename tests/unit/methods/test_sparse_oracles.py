"""Sparse updates against what SIFT and SaRA define, computed by hand on one layer; and against full fine-tuning."""

import copy

import pytest
import torch
from peft import PeftModel
from torch import nn

import retain
from retain.errors import InputError, TargetError
from retain.hf.adapters.sparse import count_of, sparsity_of
from retain.hf.adapters.sparse_layer import SparseLinear, sparse_layers, take_sparse_form
from retain.kernels import reference_only
from retain.kernels.sparse_entries import added, by_rows, reference, sparse_linear
from retain.methods.sparse.scores import largest, scored
from retain.train.regularise.nuclear_norm import nuclear_gradient
from retain.train.regularise.reselection import outgrown


class OneLayer(nn.Module):
    """A linear layer (5, 6) without a bias, its squared error as the loss; what PEFT asks of a model beside it."""

    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(6, 5, bias=False, dtype=dtype)
        self.config = {"model_type": "custom"}

    def forward(self, x, labels=None):
        y = self.layer(x)
        loss = None if labels is None else (y - labels).square().mean()
        return type("Output", (), {"loss": loss, "logits": y})()


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request):
    return request.param


def batch(dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(7, 11, generator=generator, dtype=torch.float64).to(dtype)
    return {"x": draw[:, :6], "labels": draw[:, 6:]}


def by_hand(dtype, *batches):
    """The gradient of the layer's squared error, in numpy's terms: 2/(T·m) (Wx − y)ᵀ x, averaged over batches."""
    W = OneLayer(dtype).layer.weight.detach().double()
    parts = [2 / one["labels"].numel() * (one["x"].double() @ W.T - one["labels"].double()).T @ one["x"].double()
             for one in batches]  # fmt: skip
    return torch.stack(parts).mean(0)


def places_of(model):
    return next(sparse_layers(model))[1].supertuning_indices["default"].long()


def attached(dtype, density=5 / 30, batches=1, **fields):
    config = retain.SparseConfig(density=density, batches=batches, target_modules=["layer"], **fields)
    data = [batch(dtype, seed) for seed in range(3)]
    return retain.sparse_update(OneLayer(dtype), config, learn=data, keep=data)


def test_sift_trains_the_entries_with_the_largest_gradient_of_the_first_batch(dtype):
    expected = by_hand(dtype, batch(dtype)).abs().flatten().topk(5).indices.sort().values
    assert torch.equal(places_of(attached(dtype)), expected)
    mean = by_hand(dtype, *(batch(dtype, seed) for seed in range(3))).abs().flatten().topk(5).indices.sort().values
    assert torch.equal(places_of(attached(dtype, batches=3)), mean)
    assert not torch.equal(mean, expected)


def test_before_training_the_output_is_the_bases_bit_for_bit(dtype):
    x = batch(dtype)["x"]
    for score in ("gradient", "small", "random", "learn-not-keep"):
        assert torch.equal(attached(dtype, score=score)(x).logits, OneLayer(dtype)(x).logits)


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_is_the_dense_step_masked_to_the_entries(dtype, fused):
    model, data = attached(dtype), batch(dtype, 9)
    places = places_of(model)
    dense = OneLayer(dtype)
    dense(**data).loss.backward()
    moved = dense.layer.weight.detach().clone().flatten()
    moved[places] -= 0.1 * dense.layer.weight.grad.flatten()[places]
    values = [p for p in model.parameters() if p.requires_grad]
    assert [p.shape for p in values] == [(5,)]
    if fused:
        model(**data).loss.backward()
    else:
        with reference_only():
            model(**data).loss.backward()
    torch.optim.SGD(values, lr=0.1).step()
    expected = torch.nn.functional.linear(data["x"], moved.view(5, 6))
    torch.testing.assert_close(model(data["x"]).logits, expected, rtol=0, atol=0 if dtype == torch.float32 else 1e-8)
    model.merge_adapter()
    merged = next(sparse_layers(model))[1].get_base_layer().weight
    touched = (merged != OneLayer(dtype).layer.weight).flatten().nonzero().flatten()
    assert torch.equal(touched, places)
    model.unmerge_adapter()
    assert torch.equal(next(sparse_layers(model))[1].get_base_layer().weight, OneLayer(dtype).layer.weight)


def test_stock_peft_loads_what_was_saved(dtype, tmp_path):
    model = attached(dtype)
    with torch.no_grad():
        next(sparse_layers(model))[1].supertuning_values["default"].copy_(torch.linspace(-1, 1, 5))
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(OneLayer(dtype), tmp_path)
    assert not any(isinstance(module, SparseLinear) for module in loaded.modules())
    x = batch(dtype)["x"]
    assert torch.equal(places_of(loaded), places_of(model))
    torch.testing.assert_close(loaded(x).logits, model(x).logits, rtol=1e-5, atol=1e-6)
    again = retain.load_adapter(OneLayer(dtype), tmp_path)
    assert torch.equal(again(x).logits, model.eval()(x).logits)
    other = attached(dtype, score="small").eval()
    before = other(x).logits
    retain.swap_adapter(other, tmp_path)
    assert torch.equal(other(x).logits, model(x).logits)
    assert not torch.equal(other(x).logits, before)


def test_at_density_1_it_is_full_fine_tuning_step_for_step():
    """In float64, with Adam on both sides: values are kept in float32, so the weights agree to its rounding."""
    model, full = attached(torch.float64, density=1.0), OneLayer(torch.float64)
    model = model.double()
    optimizers = [
        torch.optim.Adam([p for p in each.parameters() if p.requires_grad], lr=0.05) for each in (model, full)
    ]
    for step in range(20):
        for each, optimizer in zip((model, full), optimizers, strict=True):
            each(**batch(torch.float64, step)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    layer = next(sparse_layers(model))[1]
    found = layer.get_base_layer().weight + layer.get_delta_weight("default")
    torch.testing.assert_close(found, full.layer.weight, rtol=0, atol=1e-12)


def test_decay_pulls_to_the_base_and_not_to_zero():
    model = attached(torch.float32)
    values = next(sparse_layers(model))[1].supertuning_values["default"]
    values.data.fill_(1.0)
    optimizer = torch.optim.AdamW([values], lr=1e-8, weight_decay=0.05 / 1e-8)
    for _ in range(60):
        values.grad = torch.zeros_like(values)
        optimizer.step()
    assert float(values.detach().abs().max()) < 0.1


SARA = torch.tensor([[1e-3, -1.5e-3], [0.5, -0.2]])
"""Two weights below SaRA's threshold of 2e-3, and two above."""


def test_sara_trains_the_smallest_weights_and_begins_at_their_own_signs():
    assert largest(scored("small", SARA, None, None), 2).tolist() == [0, 1]
    assert largest(scored("large", SARA, None, None), 2).tolist() == [2, 3]
    model = attached(torch.float32, score="small")
    smallest = OneLayer(torch.float32).layer.weight.detach().abs().flatten().sort().indices[:5].sort().values
    assert torch.equal(places_of(model), smallest)
    layer = next(sparse_layers(model))[1]
    assert torch.equal(layer.get_base_layer().weight + layer.get_delta_weight("default"), layer.get_base_layer().weight)


def test_the_second_choice_freezes_what_has_outgrown_the_chosen():
    before = SARA.flatten()[:2]
    assert outgrown(before, torch.tensor([2e-3, 0.0])).tolist() == [True, False]
    assert outgrown(before, torch.tensor([-2e-3, 1e-4])).tolist() == [False, False]
    assert outgrown(before, torch.zeros(2)).tolist() == [False, False]


def test_the_nuclear_norms_gradient():
    torch.testing.assert_close(nuclear_gradient(torch.diag(torch.tensor([3.0, 2.0]))), torch.eye(2))
    X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    torch.linalg.svdvals(X).sum().backward()
    torch.testing.assert_close(nuclear_gradient(X.detach()), X.grad)
    assert not nuclear_gradient(torch.zeros(3, 5)).any()
    low = torch.outer(torch.ones(4), torch.ones(3))
    torch.testing.assert_close(nuclear_gradient(low), low / 12**0.5)  # u vᵀ of the only singular direction


def test_scores_by_hand():
    W, G = torch.tensor([[1.0, -2.0, 4.0, 1.0]]), torch.tensor([[1.0, 3.0, -3.0, 0.0]])
    F = torch.tensor([[0.0, 9.0, 1.0, 0.0]])
    assert scored("gradient", W, G, None).tolist() == [[1, 3, 3, 0]]
    torch.testing.assert_close(scored("small-gradient", W, G, None), G.abs() / (W.abs() + 2))
    torch.testing.assert_close(scored("learn-not-keep", W, G, F), G.abs() / (F.sqrt() + 1))
    assert torch.equal(scored("learn-not-keep", W, G, torch.zeros_like(F)), G.abs())
    one, other = (scored("random", W, None, None, seed=0, layer=name) for name in ("a", "b"))
    assert not torch.equal(one, other)
    assert torch.equal(one, scored("random", W, None, None, seed=0, layer="a"))
    for scale in (1e-6, 1e6):  # neither the scale of the weights nor that of the loss chooses
        for name in ("gradient", "small-gradient", "learn-not-keep"):
            score = scored(name, W * scale, G / scale, F / scale**2)
            assert largest(score, 2).tolist() == largest(scored(name, W, G, F), 2).tolist()
    with pytest.raises(InputError, match="not finite"):
        scored("gradient", W, G / 0, None)


@pytest.mark.parametrize("density", [1.0, 0.5, 0.1, 1 / 6, 0.01, 1e-3, 0.07, 1 / 3])
def test_pefts_count_is_the_density_rounded_down(density):
    for size in (6, 30, 1000, 576 * 1536, 10**6):
        assert count_of(size, density) in (int(size * density + 1e-6), int(size * density + 1e-9))
        assert 0 <= sparsity_of(density) < 1


def test_every_form_of_the_layer_is_the_same_function(dtype):
    generator = torch.Generator().manual_seed(5)
    W, x = (torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in ((5, 6), (2, 3, 6)))
    bias, places, values = torch.ones(5, dtype=dtype), torch.tensor([0, 7, 8, 29]), torch.tensor([1.0, -2.0, 3.0, 0.5])
    x.requires_grad_()
    values.requires_grad_()
    forms = [form(x, W, bias, places.int(), values) for form in (reference, sparse_linear)]
    assert torch.equal(*forms)
    gradients = [torch.autograd.grad(y.square().sum(), (x, values)) for y in forms]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    rows = by_rows(places, W.shape)
    torch.testing.assert_close(added(x, W, bias, rows, values), forms[0])
    assert by_rows(places.flip(0), W.shape) is None


def test_the_weights_that_the_gradient_is_taken_of_come_back_as_they_were():
    base = OneLayer(torch.float32)
    base.layer.weight.requires_grad = False
    base.train()
    before = base.layer.weight.clone()
    retain.sparse_update(base, retain.SparseConfig(density=0.2, target_modules=["layer"]), learn=[batch(torch.float32)])
    assert torch.equal(base.layer.base_layer.weight, before)
    assert base.layer.base_layer.weight.grad is None
    assert base.training


def test_two_adapters_over_one_another_unmerge_in_order():
    model = attached(torch.float32)
    model.add_adapter("other", copy.deepcopy(model.peft_config["default"]))
    layer = next(sparse_layers(model))[1]
    for name in ("default", "other"):
        layer.supertuning_values[name].data.fill_(0.3)
    before = layer.get_base_layer().weight.clone()
    layer.merge(adapter_names=["default", "other"])
    layer.unmerge()
    assert torch.equal(layer.get_base_layer().weight, before)
    take_sparse_form(model)


def test_refusals_say_what_to_do():
    with pytest.raises(InputError) as raised:
        retain.SparseConfig(density=0, score="largest", batches=0, nuclear_weight=-1, reselect_after=1.5)
    assert len(raised.value.problems) == 5
    with pytest.raises(InputError, match="only the score small"):
        retain.SparseConfig(reselect_after=0.5)
    with pytest.raises(InputError, match="needs batches of what to learn"):
        retain.sparse_update(OneLayer(torch.float32), retain.SparseConfig(target_modules=["layer"]))
    with pytest.raises(TargetError, match="leaves no entry to train in 1 of .* has 30 entries"):
        retain.sparse_update(
            OneLayer(torch.float32), retain.SparseConfig(score="small", density=0.01, target_modules=["layer"])
        )
    with pytest.raises(InputError, match="adapters already"):
        retain.sparse_update(attached(torch.float32), retain.SparseConfig(score="small", target_modules=["layer"]))
