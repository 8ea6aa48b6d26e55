"""VeFA's scales moved into the layers before, where a trial shows that it is exact; refused by name elsewhere."""

import pytest
import torch
from contract_models import ARCHITECTURES
from peft import get_peft_model
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

from retain import InputError, VeFAConfig
from retain.hf.exporting.fold import fold_in_place
from retain.hf.exporting.probe import outputs_of, probe_inputs
from tiny import SMALL, make_llama


def made(kind, config):
    torch.manual_seed(0)
    return kind(config).eval()


def ungrouped():
    return made(LlamaForCausalLM, LlamaConfig(**{**SMALL, "num_key_value_heads": 4}))


def gemma():
    return made(GemmaForCausalLM, GemmaConfig(**{**SMALL, "num_key_value_heads": 1}, head_dim=8))


def phi3():
    return made(Phi3ForCausalLM, Phi3Config(**{**SMALL, "num_key_value_heads": 4}, eos_token_id=1, bos_token_id=1))


def mixtral():
    return made(MixtralForCausalLM, MixtralConfig(**{**SMALL, "num_key_value_heads": 4}, num_local_experts=4))


def opt():
    sizes = {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 70}
    return made(OPTForCausalLM, OPTConfig(**sizes, max_position_embeddings=64, word_embed_proj_dim=32))


def vefa(base, targets, *, alike=False, first=None):
    """A VeFA with random scales; alike: the same for all layers of one block; first: the first feature's λ."""
    model = get_peft_model(base, VeFAConfig(target_modules=targets)).eval()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if "vefa_lambda" in name:
            if alike:
                generator.manual_seed(int(name.split(".layers.")[1].split(".")[0]))
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
            if first is not None:
                parameter.data[0] = first
    return model


EXACT = {
    "up to down": (make_llama, ["down_proj"], {}),
    "values to output": (ungrouped, ["o_proj", "down_proj"], {}),
    "norm to all its readers": (make_llama, ["q_proj", "k_proj", "v_proj"], {"alike": True}),
    "norm that adds one": (gemma, ["gate_proj", "up_proj"], {"alike": True}),
    "halves of fused layers": (phi3, ["down_proj", "o_proj", "qkv_proj"], {}),
    "beside experts": (mixtral, ["o_proj"], {}),
    "through a ReLU": (opt, ["fc2"], {}),
    "last norm to head": (make_llama, ["lm_head"], {}),
    "thirds of a fused Conv1D": (ARCHITECTURES["gpt2"].make, ["attn.c_proj", "c_fc"], {}),
    "encoder": (ARCHITECTURES["bert"].make, ["attention.output.dense"], {}),
    "vision": (ARCHITECTURES["vit"].make, ["fc1"], {}),
}


@pytest.mark.parametrize("case", EXACT)
def test_the_folded_model_is_the_adapted_one_and_its_adapted_layers_are_the_bases(case):
    make, targets, how = EXACT[case]
    model = vefa(make(), targets, **how)
    with torch.no_grad():
        expected = outputs_of(model, probe_inputs(model))
        root, told = fold_in_place(model, "default")
        found = outputs_of(root, probe_inputs(root))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert not torch.equal(expected, outputs_of(make(), probe_inputs(make())))
    assert type(root) is type(make())
    assert sum(p.numel() for p in root.parameters()) == sum(p.numel() for p in make().parameters())
    untouched, feeders = dict(make().named_parameters()), {one.split(" into ")[1] for one in told}
    for name, parameter in root.named_parameters():
        assert torch.equal(parameter, untouched[name]) == (name.rpartition(".")[0] not in feeders), name


@pytest.mark.parametrize(
    ("make", "targets", "how", "reason"),
    [
        (make_llama, ["q_proj", "k_proj", "v_proj"], {}, "layers.0.self_attn.q_proj: its input is that of k_proj and"),
        (make_llama, ["gate_proj"], {}, "gate_proj: its input is that of up_proj too, and up_proj has no scales"),
        (make_llama, ["o_proj"], {}, r"o_proj: each output of model.layers.0.self_attn.v_proj becomes several"),
        (ARCHITECTURES["gpt2"].make, ["mlp.c_proj"], {}, r"h.0.mlp.c_proj: no layer before it was found"),
        (ARCHITECTURES["bert"].make, ["query", "key", "value"], {"alike": False}, "its input is that of key and value"),
        (opt, ["fc2"], {"first": -2.0}, "layers.0.fc2: no layer before it was found"),
    ],
)
def test_what_would_be_another_function_is_refused_and_named(make, targets, how, reason):
    with pytest.raises(InputError, match=reason) as refusal:
        fold_in_place(vefa(make(), targets, **how), "default")
    assert "--to merged" in str(refusal.value)
