"""PEFT's helpers, optimizers, mergers and converters: right values, or a sentence that says what to do."""

import copy

import peft
import pytest
import torch
from peft import PeftModel, get_peft_model
from peft.helpers import check_if_peft_model, disable_input_dtype_casting, rescale_adapter_scale
from peft.optimizers import create_lorafa_optimizer, create_loraplus_optimizer
from peft.tuners.lora.corda import preprocess_corda
from peft.tuners.lora.intruders import reduce_intruder_dimension
from peft.utils.hotswap import hotswap_adapter, prepare_model_for_compiled_hotswap

import retain
from peft_tools import LAYERS, METHODS, logits, make, moved, saved, with_second
from tiny import make_llama

X = torch.arange(6, 26)[None]
EXACT = {"lora": "cat", "vefa": "linear", "lorfa": "cat", "rotation": "cat", "sc-lora": "cat"}
PRUNING = ["ties", "dare_linear_svd", "magnitude_prune"]
SINGLE = {"atol": 1e-6, "rtol": 1e-5}


def changes(model, name):
    return [m.get_delta_weight(name) for m in model.modules() if hasattr(m, "get_delta_weight")]


@pytest.mark.parametrize("method", METHODS)
def test_the_exact_sum_is_exact(method):
    model = with_second(make(method))
    model.add_weighted_adapter(["default", "two"], [0.5, -2.0], "sum", combination_type=EXACT[method])
    for total, one, two in zip(*(changes(model, name) for name in ("sum", "default", "two")), strict=True):
        torch.testing.assert_close(total, 0.5 * one - 2.0 * two, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", PRUNING)
@pytest.mark.parametrize("method", ["vefa", "lorfa", "rotation", "sc-lora"])
def test_sums_that_prune_need_a_density_or_are_refused(method, kind):
    model = with_second(make(method))
    given = {"adapters": ["default", "two"], "weights": [1.0, 1.0], "combination_type": kind}
    with pytest.raises(ValueError, match=f"'{EXACT[method]}'") as error:
        model.add_weighted_adapter(**given, adapter_name="sum")
    assert "sum" not in model.peft_config
    if method != "sc-lora":
        return
    assert "density" in str(error.value)
    model.add_weighted_adapter(**given, adapter_name="sum", density=0.5)
    model.set_adapter("sum")
    assert torch.isfinite(logits(model)).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_casting_of_inputs_can_be_switched_off(method):
    model = make(method)
    wanted = logits(model)
    with disable_input_dtype_casting(model):
        assert torch.equal(logits(model), wanted)
    assert torch.equal(logits(model), wanted)


@pytest.mark.parametrize("method", METHODS)
def test_rescaling(method):
    model = make(method)
    wanted = logits(model)
    if method in ("vefa", "lorfa", "rotation"):
        with (
            pytest.raises(ValueError, match="only supported for models with `LoraLayer`s"),
            rescale_adapter_scale(model, 0),
        ):
            pass
        return
    with rescale_adapter_scale(model, 0.0), model.disable_adapter():
        off = logits(model)
    with rescale_adapter_scale(model, 0.0):
        torch.testing.assert_close(logits(model), off)
    assert torch.equal(logits(model), wanted)


@pytest.mark.parametrize("method", METHODS)
def test_hot_swapping_gives_the_other_adapters_function(method, tmp_path):
    other = make(method, seed=3)
    place, wanted = saved(other, tmp_path), logits(other)
    model = make(method)
    if method in ("vefa", "lorfa", "rotation"):
        with pytest.raises(ValueError, match="Hotswapping only supports LORA"):
            hotswap_adapter(model, place, "default")
        return
    assert not torch.equal(logits(model), wanted)
    hotswap_adapter(model, place, "default")
    assert torch.equal(logits(model), wanted)
    model.train()
    model(input_ids=X, labels=X).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("rank", [2, 16])
def test_hot_swapping_an_ordinary_lora_of_another_rank_into_an_sc_lora(rank, tmp_path):
    other = make("lora", seed=3, r=rank)
    place, wanted = saved(other, tmp_path), logits(other)
    if rank > 8:
        model = make("sc-lora")
        with pytest.raises(ValueError, match=r"shape \(16, .*load_adapter"):
            hotswap_adapter(model, place, "default")
        prepare_model_for_compiled_hotswap(model := make("sc-lora"), target_rank=rank)
    else:
        model = make("sc-lora")
    hotswap_adapter(model, place, "default")
    torch.testing.assert_close(logits(model), wanted, **SINGLE)


def test_values_written_into_a_factor_of_an_sc_lora_arrive():
    half = make("sc-lora").base_model.model.model.layers[0].self_attn.q_proj.lora_A["default"]
    wanted = torch.randn_like(half.weight)
    half.weight.data = wanted
    torch.testing.assert_close(half.weight.detach(), wanted)
    half.weight.data[:, :3] = 0.0
    half.weight.data[2].fill_(7.0)
    assert (half.weight[:2, :3] == 0).all()
    assert (half.weight[2] == 7).all()
    half.weight = torch.nn.Parameter(wanted)
    torch.testing.assert_close(half.weight.detach(), wanted)
    assert type(half.weight + 1) is type(half.weight.clone()) is torch.Tensor
    assert list(half._parameters) == ["delta"]


WRITES = {
    "init": lambda weight: torch.nn.init.kaiming_uniform_(weight, a=5**0.5),
    "view": lambda weight: weight.data.view(-1)[:5].fill_(9.0),
    "transpose": lambda weight: weight.data.T[0].fill_(9.0),
    "rows": lambda weight: [row.fill_(9.0) for row in weight.data],
    "parts": lambda weight: weight.data.chunk(2)[1].fill_(7.0),
    "detached": lambda weight: weight.detach().mul_(2),
    "out": lambda weight: torch.add(weight.data, 1, out=weight.data),
    "foreach": lambda weight: torch._foreach_mul_([weight.data], 2.0),
}


def test_values_written_in_any_way_arrive():
    half = make("sc-lora").base_model.model.model.layers[0].self_attn.q_proj.lora_A["default"]
    for name, write in WRITES.items():
        weight, before = half.weight, half.weight.clone()
        write(weight)
        assert not torch.equal(half.weight, before), name
        torch.testing.assert_close(half.weight.clone(), weight.clone(), **SINGLE)
    with torch.inference_mode():
        assert half.weight.shape == before.shape


@pytest.mark.parametrize("change", [{"r": 2}, {"target_modules": {"q_proj", "v_proj"}}], ids=["rank", "layers"])
def test_a_changed_configuration_of_an_sc_lora_is_refused_and_leaves_nothing(change):
    model = make("sc-lora")
    config = copy.deepcopy(model.peft_config["default"])
    for field, value in change.items():
        setattr(config, field, value)
    with pytest.raises(retain.RetainError, match="initial factors"):
        model.add_adapter("two", config)
    assert list(model.peft_config) == ["default"]
    assert not [name for name, _ in model.named_parameters() if ".two." in name]


@pytest.mark.parametrize("method", ["vefa", "lorfa", "rotation"])
@pytest.mark.parametrize("tool", ["x-lora", "eva", "eva state", "lora-ga", "corda"])
def test_tools_for_lora_say_that_they_are(method, tool, tmp_path):
    model = make(method)
    place = saved(model, tmp_path)
    loader = [{"input_ids": X, "attention_mask": torch.ones_like(X)}] * 2
    config = model.peft_config["default"]

    def x_lora():
        base = make_llama()
        base.config.use_cache = False
        given = {"task_type": "CAUSAL_LM", "hidden_size": 32, "xlora_depth": 2}
        get_peft_model(base, peft.XLoraConfig(**given, adapters={"0": place, "1": place}))

    runs = {
        "x-lora": x_lora,
        "eva": lambda: peft.initialize_lora_eva_weights(model, dataloader=loader, show_progress_bar=False),
        "eva state": lambda: peft.get_eva_state_dict(model, dataloader=loader, show_progress_bar=False),
        "lora-ga": lambda: peft.tuners.lora.preprocess_loraga(make_llama(), config, lambda: None),
        "corda": lambda: preprocess_corda(make_llama(), config, run_model=lambda: None),
    }
    with pytest.raises(ValueError, match=rf"{method} has no \w+; that belongs to PEFT's LoRA.*export"):
        runs[tool]()
    assert getattr(config, "bias", "none") == "none"
    assert not hasattr(config, "use_dora" if method == "lorfa" else "lora_alpha")


@pytest.mark.parametrize("method", ["lora", "sc-lora"])
def test_experts_of_loras_and_intruders_taken_out(method, tmp_path):
    model = make(method)
    place = saved(model, tmp_path)
    routed = peft.create_arrow_model(make_llama(), [place, place], peft.ArrowConfig(top_k=1)).eval()
    torch.testing.assert_close(logits(routed), logits(model), **SINGLE)
    reduce_intruder_dimension(model, top_k=2, logging_sink=lambda _: None)
    assert model.active_adapters == ["intruder_reduced"]
    changed = logits(model)
    model.set_adapter("default")
    assert not torch.allclose(changed, logits(model))


@pytest.mark.parametrize("method", METHODS)
def test_conversion_to_lora(method, tmp_path):
    model = make(method)
    wanted = logits(model)
    if method in ("vefa", "rotation"):
        kind = {"vefa": "VeFALinear", "rotation": "RotationLinear"}[method]
        with pytest.raises(TypeError, match=rf"do not support LoRA conversion.*{kind}"):
            peft.convert_to_lora(model, rank=8)
        return
    with model.disable_adapter():
        effect = (logits(model) - wanted).abs().max()
    peft.save_as_lora(tmp_path, model, rank=8)
    converted = PeftModel.from_pretrained(make_llama(), tmp_path).eval()
    assert (logits(converted) - wanted).abs().max() < 1e-4 * effect


@pytest.mark.parametrize("method", METHODS)
def test_optimizers_take_each_trained_parameter_once(method):
    model = make(method).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    plus = create_loraplus_optimizer(model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16.0)
    groups = {id(p): group["lr"] for group in plus.param_groups for p in group["params"]}
    assert groups.keys() == {id(p) for p in trained}
    if method in ("lora", "sc-lora"):
        assert {groups[id(p)] for key, p in model.named_parameters() if ".lora_B." in key} == {16e-3}
        assert {groups[id(p)] for key, p in model.named_parameters() if ".lora_A." in key} == {1e-3}
    frozen = create_lorafa_optimizer(model, r=4, lora_alpha=4, lr=1e-2)
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    losses = []
    for _ in range(3):
        loss = model(input_ids=X, labels=X).loss
        loss.backward()
        frozen.step()
        frozen.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    moving = {key for key, p in model.named_parameters() if not torch.equal(p, before[key])}
    assert moving
    assert not any(".lora_A." in key or "base_layer" in key for key in moving)


@pytest.mark.parametrize("method", METHODS)
def test_status_signatures_and_loading_without_memory(method, tmp_path):
    model = make(method)
    wanted, place = logits(model), saved(model, tmp_path)
    status = model.get_model_status()
    assert status.num_adapter_layers == len(model.get_layer_status()) == 2 * len(LAYERS)
    assert status.active_adapters == ["default"]
    assert check_if_peft_model(place)
    peft.helpers.update_signature(model, "all")
    assert torch.equal(logits(PeftModel.from_pretrained(make_llama(), place, low_cpu_mem_usage=True).eval()), wanted)
    model.load_adapter(place, "again", low_cpu_mem_usage=True)
    model.set_adapter("again")
    assert torch.equal(logits(model), wanted)


@pytest.mark.parametrize("method", METHODS)
def test_rows_with_adapters_of_their_own(method):
    model = with_second(make(method))
    with torch.no_grad():
        rows = model(X.repeat(3, 1), adapter_names=["two", "__base__", "default"]).logits
    model.set_adapter("two")
    torch.testing.assert_close(rows[:1], logits(model), **SINGLE)
    model.set_adapter("default")
    torch.testing.assert_close(rows[2:], logits(model), **SINGLE)
    with model.disable_adapter():
        torch.testing.assert_close(rows[1:2], logits(model), **SINGLE)


FIELDS = {
    "layers_to_transform": [0],
    "exclude_modules": ["down_proj"],
    "modules_to_save": ["lm_head"],
    "rank_pattern": {"q_proj": 2},
    "alpha_pattern": {"q_proj": 2},
    "trainable_token_indices": [1, 2],
    "target_parameters": ["down_proj.weight"],
    "layer_replication": [[0, 2], [1, 2]],
}
TAKEN = {"layers_to_transform", "exclude_modules", "modules_to_save"}
PATTERNS = {"rank_pattern", "alpha_pattern"}


@pytest.mark.parametrize("method", ["vefa", "lorfa", "rotation", "sc-lora"])
@pytest.mark.parametrize("field", FIELDS)
def test_fields_of_a_configuration_act_and_reload_or_are_refused_by_name(field, method, tmp_path):
    if field not in TAKEN | (PATTERNS if method == "lorfa" else set()):
        with pytest.raises(TypeError, match=field):
            make(method, **{field: FIELDS[field]})
        return
    model = moved(make(method, **{field: FIELDS[field]}), 4)
    plain = len(make(method, seed=0).get_layer_status())
    if field in ("layers_to_transform", "exclude_modules"):
        assert len(model.get_layer_status()) == plain / 2
    again = PeftModel.from_pretrained(make_llama(), saved(model, tmp_path)).eval()
    assert torch.equal(logits(again), logits(model))


@pytest.mark.parametrize("method", ["vefa", "lorfa", "rotation", "sc-lora"])
def test_a_mixed_model_is_refused(method):
    with pytest.raises(ValueError, match=r"not compatible with the `PeftMixedModel`|retain\.load_adapter"):
        peft.PeftMixedModel(make_llama(), make(method).peft_config["default"])
