"""In float64: VeFA is PEFT's IA3 with l = 1 + λ, LoRFA is PEFT's LoRA with B' = W0 B; outputs and gradients."""

import pytest
import torch
from peft import IA3Config, LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from retain import LoRFAConfig, VeFAConfig
from retain.hf.tuners.base_weight import as_matrix

NAMES = {"llama": ["q_proj", "k_proj", "o_proj", "up_proj", "down_proj"], "gpt2": ["c_attn", "c_fc"]}
IDS = torch.arange(2, 18).view(2, 8)


def make(name):
    torch.manual_seed(0)
    if name == "llama":
        config = LlamaConfig(
            vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2,
        )  # fmt: skip
        return LlamaForCausalLM(config).double().eval()
    return GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2, n_positions=16)).double().eval()


def layers(model, part):
    return [module for module in model.modules() if hasattr(module, part)]


def run(model):
    result = model(input_ids=IDS, labels=IDS)
    result.loss.backward()
    return result.logits.detach()


def close(left, right):
    torch.testing.assert_close(left, right, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_vefa_is_ia3_with_every_target_feed_forward(name):
    ours = get_peft_model(make(name), VeFAConfig(target_modules=NAMES[name]))
    theirs = get_peft_model(make(name), IA3Config(target_modules=NAMES[name], feedforward_modules=NAMES[name]))
    pairs = [
        (mine.vefa_lambda["default"].weight, other.ia3_l["default"])
        for mine, other in zip(layers(ours, "vefa_lambda"), layers(theirs, "ia3_l"), strict=True)
    ]
    for lam, scale in pairs:
        lam.data.normal_(std=0.1)
        scale.data.copy_(1 + lam.data)
    close(run(ours), run(theirs))
    for lam, scale in pairs:
        assert lam.grad.any()
        close(lam.grad, scale.grad.flatten())


@pytest.mark.parametrize("name", NAMES)
def test_lorfa_is_lora_with_a_projected_b(name):
    ours = get_peft_model(make(name), LoRFAConfig(target_modules=NAMES[name], r=3, lorfa_alpha=5))
    theirs = get_peft_model(make(name), LoraConfig(target_modules=NAMES[name], r=3, lora_alpha=5))
    pairs = list(zip(layers(ours, "lorfa_A"), layers(theirs, "lora_A"), strict=True))
    for mine, other in pairs:
        mine.lorfa_B["default"].weight.data.normal_(std=0.3)
        W0 = as_matrix(mine.base_layer, mine.base_layer.weight.data)
        other.lora_A["default"].weight.data.copy_(mine.lorfa_A["default"].weight.data)
        other.lora_B["default"].weight.data.copy_(W0 @ mine.lorfa_B["default"].weight.data)
    close(run(ours), run(theirs))
    for mine, other in pairs:
        W0 = as_matrix(mine.base_layer, mine.base_layer.weight.data)
        assert mine.lorfa_A["default"].weight.grad.any()
        close(mine.lorfa_A["default"].weight.grad, other.lora_A["default"].weight.grad)
        close(mine.lorfa_B["default"].weight.grad, W0.T @ other.lora_B["default"].weight.grad)


@pytest.mark.parametrize("config", [VeFAConfig(target_modules=["q_proj"]), LoRFAConfig(target_modules=["q_proj"], r=3)])
def test_merged_equals_the_equation(config):
    model = get_peft_model(make("llama"), config)
    layer = next(m for m in model.modules() if hasattr(m, "get_delta_weight"))
    if config.method == "vefa":
        lam = layer.vefa_lambda["default"].weight.data.normal_()
        factor = torch.diag(1 + lam)
    else:
        A, B = layer.lorfa_A["default"].weight.data, layer.lorfa_B["default"].weight.data.normal_()
        factor = torch.eye(16, dtype=torch.float64) + 8 / 3 * B @ A
    W0 = layer.base_layer.weight.detach().clone()
    close(layer.get_delta_weight("default"), W0 @ factor - W0)
    layer.merge()
    close(layer.base_layer.weight.detach(), W0 @ factor)
    close(layer.get_delta_weight("default"), W0 @ factor - W0)
