from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_kl_penalty import batches, moved

from retain import VeFAConfig
from retain.errors import InputError
from retain.hf.models.updates import weight_updates
from retain.train.regularise.update_limit import UpdateLimit
from tiny import make_llama


def exact_size(model):
    """‖ΔW‖_F/‖W0‖_F over all layers, from the merged matrices."""
    found = list(weight_updates(model))
    changed, whole = (
        sum(float(part.square().sum()) for part in parts)
        for parts in zip(*((u.delta, u.weight) for u in found), strict=True)
    )
    return (changed / whole) ** 0.5


@pytest.mark.parametrize("unit", ["relative", "f_delta"])
@pytest.mark.parametrize("config", [LoraConfig(target_modules="all-linear"), VeFAConfig(target_modules="all-linear")])
def test_an_update_over_the_limit_is_shrunk_to_it(unit, config):
    model = moved(make_llama(), config)
    given = {"batches": batches(1)} if unit == "f_delta" else {}
    size = UpdateLimit(1.0, unit=unit, **given).measure(model)
    limit = UpdateLimit(size / 3, unit=unit, **given)
    before = {name: p.clone() for name, p in model.named_parameters() if not p.requires_grad}
    whole = exact_size(model)
    assert 0.9 * size / 3 <= limit.apply(model) <= 1.01 * size / 3
    assert limit.measure(model) == limit.size
    if unit == "relative":
        assert exact_size(model) == pytest.approx(whole / 3, rel=1e-3)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters() if name in before)


def test_an_update_below_the_limit_is_left_alone():
    model = moved(make_llama())
    before = [p.clone() for p in model.parameters()]
    assert UpdateLimit(1e6).apply(model) < 1e6
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


def test_shrinking_keeps_the_direction():
    model = moved(make_llama(), LoraConfig(target_modules=["q_proj"]))
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    before = layer.get_delta_weight("default").clone()
    limit = UpdateLimit(UpdateLimit(1.0).measure(model) / 4)
    limit.apply(model)
    torch.testing.assert_close(layer.get_delta_weight("default"), before / 4, rtol=1e-4, atol=1e-7)


def test_it_acts_every_so_many_steps_and_at_the_end():
    model = moved(make_llama())
    args = SimpleNamespace(deepspeed=None, fsdp=None)
    limit = UpdateLimit(UpdateLimit(1.0).measure(model) / 2, every=3)
    state = SimpleNamespace(global_step=2, epoch=0.1, log_history=[], stateful_callbacks={})
    limit.on_train_begin(args, state, None, model=model)
    limit.on_step_end(args, state, None, model=model)
    assert limit.size is None
    state.global_step = 3
    limit.on_step_end(args, state, None, model=model)
    assert limit.size == pytest.approx(limit.limit, rel=1e-3)
    limit.on_train_end(args, state, None, model=model)
    assert state.log_history[-1]["retain_update_size"] == limit.size


def test_modes_and_gradients_are_left_alone():
    model = moved(make_llama()).train()
    wants = [p.requires_grad for p in model.parameters()]
    UpdateLimit(1e-3).apply(model)
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == wants


def test_every_problem_is_named():
    with pytest.raises(InputError) as caught:
        UpdateLimit(0.0, unit="f_delta", every=0)
    assert len(caught.value.problems) == 3
    with pytest.raises(InputError, match="no linear layers"):
        UpdateLimit(0.1).apply(make_llama())
    fresh = get_peft_model(make_llama(), LoraConfig(target_modules="all-linear"))
    assert UpdateLimit(0.1).apply(fresh) == 0
