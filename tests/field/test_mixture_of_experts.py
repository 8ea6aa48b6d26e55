"""Mixtures of experts: what is adapted is merged, measured and told; what is not is told too."""

import copy
import json
import math

import odd_models
import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

import retain
from retain.cli.main import main
from retain.evaluate.drift.movement import measure_drift
from retain.evaluate.pair import Pair
from retain.events import SILENT
from retain.hf.adapters.attach import attach
from retain.hf.models.coverage import coverage
from retain.hf.models.describe import model_hash
from retain.hf.models.layer_effects import update_size
from retain.hf.models.updates import weight_updates
from retain.hf.scaling import merged_at, scaled, write_at
from retain.methods import lookup

BOTH = {"target_parameters": ["experts.gate_up_proj", "experts.down_proj"]}
ONE = {"target_parameters": ["experts.down_proj"], "target_modules": []}
ATTENTION = {"target_modules": ["q_proj", "v_proj"]}
IDS = torch.arange(3, 15)[None]
MIXTURES = [
    odd_models.qwen3_moe,
    odd_models.mixtral,
    odd_models.qwen2_moe,
    odd_models.deepseek_v3,
    odd_models.gpt_oss,
]
ROWS = [
    (odd_models.qwen3_moe, {}),
    (odd_models.qwen3_moe, {**BOTH, **ATTENTION}),
    (odd_models.qwen3_moe, ONE),
    (odd_models.mixtral, {}),
    (odd_models.mixtral, {**BOTH, "target_modules": []}),
    (odd_models.gpt_oss, {**BOTH, **ATTENTION}),
]


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def adapted(maker, fields):
    return odd_models.stirred(attach(odd_models.made(maker), "lora", {"r": 2, **fields})).eval()


@pytest.mark.parametrize(("maker", "fields"), ROWS)
def test_the_merged_model_is_the_adapted_one(maker, fields, tmp_path):
    model = adapted(maker, fields)
    expected = logits(model)
    assert (expected - logits(odd_models.made(maker))).abs().max() > 1e-3
    for alpha in (1, 0.5):
        folder = merged_at(model, alpha, tmp_path / f"merged-{alpha}")
        with scaled(model, alpha):
            inside = logits(model)
        assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(folder).eval()), inside, atol=1e-6)
    written = write_at(model, 0.5, tmp_path / "written")
    with scaled(model, 0.5):
        assert torch.allclose(logits(retain.load_adapter(odd_models.made(maker), written)), logits(model), atol=1e-6)
    assert torch.equal(logits(model), expected)


@pytest.mark.parametrize(("maker", "fields"), ROWS)
def test_drift_counts_experts_and_routers(maker, fields):
    model, base = adapted(maker, fields), odd_models.made(maker)
    merged = copy.deepcopy(model).merge_and_unload()
    inside = {update.module.removeprefix("base_model.model."): update for update in weight_updates(model)}
    beside = {update.module: update for update in weight_updates(merged, base)}
    assert inside.keys() == beside.keys()
    assert all(torch.allclose(inside[key].delta, beside[key].delta, atol=1e-6) for key in inside)
    moved, whole = (
        sum(float(getattr(update, part).double().square().sum()) for update in inside.values())
        for part in ("delta", "weight")
    )
    generator = torch.Generator().manual_seed(0)
    assert update_size(model, 200, generator=generator) == pytest.approx(math.sqrt(moved / whole), rel=0.1)
    drift = measure_drift(Pair.around(model, lambda: base), [{"input_ids": IDS}], [], SILENT)
    assert drift.update_relative_frobenius == pytest.approx(math.sqrt(moved / whole), rel=1e-5)
    assert "left out" not in drift.note
    assert {layer.name for layer in drift.layers} == inside.keys()


@pytest.mark.parametrize("maker", [odd_models.qwen3_moe, odd_models.mixtral])
def test_the_base_is_known_by_its_hash_under_two_adapters_on_one_module(maker):
    assert model_hash(adapted(maker, {})) == model_hash(odd_models.made(maker))


@pytest.mark.parametrize(
    "maker",
    [odd_models.qwen3_moe, odd_models.mixtral, odd_models.qwen2_moe, odd_models.deepseek_v3, odd_models.gpt_oss],
)
@pytest.mark.parametrize("name", ["sc-lora", "lora-null", "milora", "corda-kpm"])
def test_data_driven_initialisations_run_on_the_linear_layers(maker, name):
    batches = [{"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}]
    config = retain.SCLoRAConfig(r=2, initialisation=name)
    model = retain.sc_lora(odd_models.made(maker), config, learn=batches, keep=batches).eval()
    assert torch.allclose(logits(model), logits(odd_models.made(maker)), atol=1e-5)
    with torch.device("meta"):
        outline = lookup.check(maker(), name, {"r": 2})
    assert coverage(outline) == coverage(model)
    assert "experts" in " ".join(coverage(model))


def test_names_that_peft_takes_for_experts_are_refused_before_calibration():
    with pytest.raises(retain.TargetError, match="fused experts"):
        lookup.check(
            odd_models.made(odd_models.deepseek_v3), "sc-lora", {"r": 2, "target_modules": ["gate_proj", "up_proj"]}
        )


def test_lora_on_all_linear_layers_says_that_experts_and_router_change():
    note = " ".join(coverage(adapted(odd_models.mixtral, {})))
    assert "Adapters also change the experts (down_proj, gate_up_proj) and the routers (gate)" in note


def recipe(place, data, *words):
    base = place / "moe"
    if not base.exists():
        odd_models.saved(odd_models.qwen3_moe, base)
    given = ["--model", base, "--train", data / "train.jsonl", "--test", data / "test.jsonl", *words]
    return [str(word) for word in given]


@pytest.mark.parametrize("method", ["vefa", "lorfa"])
def test_check_says_that_no_adapter_touches_the_experts(method, tmp_path, tiny_data, capsys):
    assert (
        main(["check", *recipe(tmp_path, tiny_data, "--method", method, "--rank", 2, "--output", tmp_path / "o")]) == 0
    )
    told = capsys.readouterr().out
    assert "No adapter touches 12,544 of the base's" in told
    assert "12,288 in experts (down_proj, gate_up_proj)" in told


def test_tune_record_and_report_say_it_too(tmp_path, tiny_data):
    output = tmp_path / "out"
    words = ["--method", "vefa", "--max-steps", 1, "--batch-size", 2, "--output", output]
    assert main(["tune", *recipe(tmp_path, tiny_data, *words)]) in (0, None)
    notes = json.loads((output / "result.json").read_text(encoding="utf-8"))["provenance"]["notes"]
    assert any("12,288 in experts" in note for note in notes)
    assert "12,288 in experts" in (output / "report.md").read_text(encoding="utf-8")


def test_half_of_a_dense_model_that_is_not_adapted_is_told_and_less_is_not():
    from tiny import make_llama

    (note,) = coverage(attach(make_llama(), "vefa", {"target_modules": ["q_proj", "v_proj"]}))
    assert note.startswith("No adapter touches")
    assert "down_proj" in note
    assert coverage(attach(make_llama(), "vefa")) == []
    assert coverage(make_llama()) == []


@pytest.mark.parametrize("maker", [odd_models.qwen3_moe, odd_models.mamba])
def test_ia3_without_default_targets_says_what_to_name(maker):
    with pytest.raises(retain.InputError, match=r"--method.target_modules .*_proj.*feedforward_modules"):
        attach(odd_models.made(maker), "ia3")


def test_an_older_adapter_with_a_name_for_each_expert_means_what_it_meant(tmp_path):
    generator, rank, base = torch.Generator().manual_seed(2), 2, odd_models.made(odd_models.qwen3_moe)
    tensors, merged = {}, copy.deepcopy(base)
    for layer in range(2):
        experts = merged.model.layers[layer].mlp.experts
        for expert in range(4):
            for name, stored in (
                ("gate_proj", "gate_up_proj"),
                ("up_proj", "gate_up_proj"),
                ("down_proj", "down_proj"),
            ):
                out, inside = (32, 16) if name == "down_proj" else (16, 32)
                A, B = (torch.randn(shape, generator=generator) * 0.1 for shape in ((rank, inside), (out, rank)))
                key = f"base_model.model.model.layers.{layer}.mlp.experts.{expert}.{name}"
                tensors |= {f"{key}.lora_A.weight": A, f"{key}.lora_B.weight": B}
                rows = slice(16, 32) if name == "up_proj" else slice(0, out)
                getattr(experts, stored).data[expert, rows] += B @ A
    save_file(tensors, str(tmp_path / "adapter_model.safetensors"))
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "task_type": "CAUSAL_LM"}
    config["target_modules"] = ["gate_proj", "up_proj", "down_proj"]
    (tmp_path / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    model = retain.load_adapter(base, tmp_path)
    assert torch.allclose(logits(model), logits(merged), atol=1e-6)
    assert sum(isinstance(module, BaseTunerLayer) for module in model.modules()) == 4
