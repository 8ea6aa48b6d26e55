"""Tiny models of other architectures than a Llama, with random weights, made on the spot."""

from __future__ import annotations

from pathlib import Path

from tiny import SMALL

IDS = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
TEXT = {**SMALL, "max_position_embeddings": 256, **IDS}
TOWER = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
IMAGES = {"image_size": 16, "patch_size": 8}
EXPERTS = {"num_experts_per_tok": 2}


def gemma3():
    """Text and images; its tower ends in an `nn.MultiheadAttention`."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3TextConfig, SiglipVisionConfig

    text = Gemma3TextConfig(**TEXT | {"bos_token_id": 2}, head_dim=8, sliding_window=64)
    vision = SiglipVisionConfig(**TOWER, **IMAGES)
    special = {"image_token_index": 69, "boi_token_index": 67, "eoi_token_index": 68}
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, **special)
    return Gemma3ForConditionalGeneration(config)


def llava():
    """Text and images, through a CLIP tower."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(**TOWER, **IMAGES)
    return LlavaForConditionalGeneration(
        LlavaConfig(text_config=LlamaConfig(**TEXT), vision_config=vision, image_token_index=69)
    )


def qwen2_vl():
    """Text, images and videos, with positions of three dimensions."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    text = {**TEXT, "rope_parameters": rope}
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 8}
    special = {"image_token_id": 66, "video_token_id": 67, "vision_start_token_id": 68, "vision_end_token_id": 69}
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, **special))


def qwen3_moe():
    """A mixture of four experts."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**TEXT, **EXPERTS, head_dim=8, num_experts=4, moe_intermediate_size=16))


def qwen2_moe():
    """A mixture with a shared expert, which has linear layers, and a gate of one output before it."""
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    sizes = {"num_experts": 4, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 24}
    return Qwen2MoeForCausalLM(Qwen2MoeConfig(**TEXT, **EXPERTS, **sizes))


def mixtral():
    """A mixture whose older names differ from Qwen's."""
    from transformers import MixtralConfig, MixtralForCausalLM

    return MixtralForCausalLM(MixtralConfig(**TEXT, **EXPERTS, num_local_experts=4))


def deepseek_v3():
    """A mixture after a dense layer, with shared experts whose layers PEFT takes for the fused ones."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    heads = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8}
    sizes = {"n_routed_experts": 4, "n_shared_experts": 1, "moe_intermediate_size": 16, "first_k_dense_replace": 1}
    groups = {"n_group": 1, "topk_group": 1}
    return DeepseekV3ForCausalLM(
        DeepseekV3Config(**TEXT | {"num_key_value_heads": 4}, **EXPERTS, **heads, **sizes, **groups)
    )


def gpt_oss():
    """A mixture with its experts stored the other way round."""
    from transformers import GptOssConfig, GptOssForCausalLM

    return GptOssForCausalLM(GptOssConfig(**TEXT, **EXPERTS, head_dim=8, num_local_experts=4))


def mamba():
    """No attention at all."""
    from transformers import MambaConfig, MambaForCausalLM

    return MambaForCausalLM(MambaConfig(vocab_size=70, hidden_size=32, state_size=8, num_hidden_layers=2, **IDS))


def falcon_mamba():
    """Mamba with norms inside the mixer."""
    from transformers import FalconMambaConfig, FalconMambaForCausalLM

    sizes = {"vocab_size": 70, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 2}
    return FalconMambaForCausalLM(FalconMambaConfig(**sizes, **IDS))


def mamba2():
    """The second Mamba."""
    from transformers import Mamba2Config, Mamba2ForCausalLM

    sizes = {"vocab_size": 70, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 2, "num_heads": 4}
    return Mamba2ForCausalLM(Mamba2Config(**sizes, **IDS, head_dim=16, n_groups=1, chunk_size=8))


def jamba():
    """Mamba, attention and experts."""
    from transformers import JambaConfig, JambaForCausalLM

    layers = {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1}
    return JambaForCausalLM(JambaConfig(**TEXT, **EXPERTS, **layers, num_experts=4, mamba_d_state=8, mamba_dt_rank=4))


def bamba():
    """Mamba 2 and attention."""
    from transformers import BambaConfig, BambaForCausalLM

    sizes = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 8}
    return BambaForCausalLM(BambaConfig(**TEXT, **sizes, attn_layer_indices=[1]))


def made(maker, seed: int = 0):
    """A model with weights large enough for an adapter to show."""
    import torch

    torch.manual_seed(seed)
    model = maker().eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(std=0.1)
    return model


def saved(maker, folder: Path) -> Path:
    """The model and a tokenizer in a folder, as a user's base."""
    from tiny import make_tokenizer

    made(maker).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def stirred(model, size: float = 0.05):
    """Adapters with values as after a training."""
    import torch

    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if any(part in name for part in ("lora_B", "lorfa_B", "vefa_lambda", "modules_to_save", ".delta")):
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return model
