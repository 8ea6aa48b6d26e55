"""Adapters, models and GGUF files as servers meet them, made on the spot without torch: small, and zero throughout."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

WIDTH, INNER, KEYS, LAYERS, VOCABULARY = 32, 48, 16, 2, 70
ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
OUTPUTS = {"k_proj": KEYS, "v_proj": KEYS, "gate_proj": INNER, "up_proj": INNER}
PREFIX = "base_model.model."

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": LAYERS,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
GPT2: dict[str, Any] = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "vocab_size": VOCABULARY,
    "n_embd": WIDTH,
    "n_layer": LAYERS,
    "n_head": 4,
    "n_ctx": 64,
    "n_positions": 64,
    "layer_norm_epsilon": 1e-5,
}
QWEN2: dict[str, Any] = {**LLAMA, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
UNKNOWN: dict[str, Any] = {**LLAMA, "architectures": ["MoonlightForCausalLM"], "model_type": "moonlight"}

LORA: dict[str, Any] = {
    "peft_type": "LORA",
    "r": 8,
    "lora_alpha": 16,
    "target_modules": list(ALL_LINEAR),
    "bias": "none",
    "modules_to_save": None,
    "init_lora_weights": True,
    "task_type": "CAUSAL_LM",
    "use_dora": False,
    "use_rslora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "fan_in_fan_out": False,
}


def lora_tensors(
    kinds: Iterable[str] = ALL_LINEAR,
    rank: int | Mapping[str, int] = 8,
    layers: Iterable[int] = range(LAYERS),
    prefix: str = PREFIX,
    ending: str = "weight",
    pooled: int = 1,
    dtype: Any = np.float16,
) -> dict[str, np.ndarray[Any, Any]]:
    """The factors of a LoRA on a small Llama, as PEFT names them."""
    found = {}
    for layer in layers:
        for kind in kinds:
            part = "mlp" if kind in {"gate_proj", "up_proj", "down_proj"} else "self_attn"
            own = rank if isinstance(rank, int) else rank.get(kind, 8)
            name = f"{prefix}model.layers.{layer}.{part}.{kind}"
            inputs, outputs = (INNER if kind == "down_proj" else WIDTH), OUTPUTS.get(kind, WIDTH)
            found[f"{name}.lora_A.{ending}"] = np.zeros((own, inputs // pooled), dtype)
            found[f"{name}.lora_B.{ending}"] = np.zeros((outputs, own), dtype)
    return found


def gpt2_tensors() -> dict[str, np.ndarray[Any, Any]]:
    """The factors of a LoRA on the joined attention weights of a small GPT-2."""
    place = "transformer.h.{}.attn.c_attn.lora_{}.weight"
    down = [place.format(layer, "A") for layer in range(LAYERS)]
    up = [place.format(layer, "B") for layer in range(LAYERS)]
    return {**zeros(*down, shape=(8, WIDTH)), **zeros(*up, shape=(3 * WIDTH, 8))}


def zeros(*names: str, shape: tuple[int, ...] = (WIDTH,)) -> dict[str, np.ndarray[Any, Any]]:
    """Further tensors by name."""
    return {f"{PREFIX}{name}": np.zeros(shape, np.float16) for name in names}


@dataclass(frozen=True)
class Case:
    """An adapter to be judged.

    Attributes:
        config: what its configuration has other than `LORA`; None leaves a field out.
        tensors: of its file; None writes no file.
        base: the base's configuration; None: the base is not at hand.
        files: further files of the adapter, by name.
        base_files: further files of the base.
        expected: rules that hold, by server; nothing else at a level of loss may hold there.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    tensors: Mapping[str, np.ndarray[Any, Any]] | None = field(default_factory=lora_tensors)
    base: Mapping[str, Any] | None = field(default_factory=lambda: LLAMA)
    files: Mapping[str, str] = field(default_factory=dict)
    base_files: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def write(case: Case, place: Path) -> Path:
    """Write an adapter with its base beside it, and return its folder."""
    adapter, base = place / "tuned", place / "base"
    adapter.mkdir(parents=True)
    config = {**LORA, "base_model_name_or_path": str(base), **case.config}
    kept = {name: value for name, value in config.items() if value is not None or name == "modules_to_save"}
    (adapter / "adapter_config.json").write_text(json.dumps(kept))
    if case.tensors is not None:
        save_file(dict(case.tensors), adapter / "adapter_model.safetensors")
    for name, content in case.files.items():
        (adapter / name).write_text(content)
    if case.base is not None:
        base.mkdir()
        (base / "config.json").write_text(json.dumps(dict(case.base)))
        for name, content in case.base_files.items():
            (base / name).write_text(content)
    return adapter


def write_gguf(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> Path:
    """Write the head of a GGUF file: texts, whole numbers, floats and lists of texts, and tensors by their shapes."""

    def text(value: str) -> bytes:
        content = value.encode()
        return struct.pack("<Q", len(content)) + content

    def value_of(value: Any) -> bytes:
        if isinstance(value, str):
            return struct.pack("<I", 8) + text(value)
        if isinstance(value, float):
            return struct.pack("<If", 6, value)
        if isinstance(value, list):
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        return struct.pack("<II", 4, value)

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(name) + value_of(value) for name, value in metadata.items())
    for name, shape in tensors.items():
        head += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", size) for size in shape[::-1])
        head += struct.pack("<IQ", 0, 0)
    path.write_bytes(head)
    return path


EVERYWHERE = ("vllm", "sglang", "tgi", "lorax", "llama.cpp", "ollama")


def everywhere(*rules: str) -> dict[str, tuple[str, ...]]:
    """The same rules expected of all servers."""
    return dict.fromkeys(EVERYWHERE, rules)


HEADS = {"ollama": ("ollama_order_of_heads",)}
"""What Ollama does with every Llama adapter of queries or keys."""

TEMPLATE = {"chat_template.jinja": "{{ messages[0]['content'] }}!", "tokenizer.json": "{}"}
BASE_TEMPLATE = {"chat_template.jinja": "{{ messages[0]['content'] }}", "tokenizer.json": "{}"}
ADDED = json.dumps({"added_tokens": [{"id": VOCABULARY, "content": "<new>"}]})

CASES: dict[str, Case] = {
    "plain": Case(expected=HEADS),
    "vefa": Case(config={"peft_type": "VEFA", "r": None}, tensors=zeros("x.vefa"), expected=everywhere("vefa")),
    "lorfa": Case(config={"peft_type": "LORFA"}, tensors=zeros("x.lorfa"), expected=everywhere("lorfa")),
    "ia3": Case(config={"peft_type": "IA3", "r": None}, tensors=zeros("x.ia3_l"), expected=everywhere("ia3")),
    "prompt tuning": Case(
        config={"peft_type": "PROMPT_TUNING"}, tensors=zeros("prompt"), expected=everywhere("prompts")
    ),
    "oft": Case(config={"peft_type": "OFT"}, tensors=zeros("x.oft_R"), expected=everywhere("other_methods")),
    "adalora": Case(config={"peft_type": "ADALORA"}, tensors=zeros("x.lora_E"), expected=everywhere("other_methods")),
    "sc-lora of rank 64": Case(
        config={"r": 64, "lora_alpha": 64},
        tensors=lora_tensors(rank=64),
        expected={"vllm": (), "ollama": ("ollama_order_of_heads", "ollama_wide_rank")},
    ),
    "rank 1024": Case(
        config={"r": 1024},
        tensors=lora_tensors(["q_proj", "v_proj"], rank=1024),
        expected={"vllm": ("vllm_rank_too_large",), "ollama": ("ollama_order_of_heads", "ollama_wide_rank")},
    ),
    "rank 4": Case(
        config={"r": 4},
        tensors=lora_tensors(rank=4),
        expected={"tgi": ("ranks_padded",), "lorax": ("ranks_padded",), **HEADS},
    ),
    "rank 20": Case(
        config={"r": 20},
        tensors=lora_tensors(rank=20),
        expected={
            "tgi": ("ranks_padded",),
            "lorax": ("ranks_padded",),
            "ollama": ("ollama_order_of_heads", "ollama_wide_rank"),
        },
    ),
    "rank 4, one kind": Case(
        config={"r": 4},
        tensors=lora_tensors(["v_proj"], rank=4),
        expected={
            "sglang": ("sglang_v_without_q",),
        },
    ),
    "rank and alpha by pattern": Case(
        config={"rank_pattern": {"q_proj": 16}, "alpha_pattern": {"v_proj": 32}},
        tensors=lora_tensors(rank={"q_proj": 16}),
        expected={
            "sglang": ("sglang_rank_pattern", "alpha_pattern"),
            "tgi": ("rank_pattern_ignored", "alpha_pattern"),
            "lorax": ("rank_pattern_ignored", "alpha_pattern"),
            "llama.cpp": ("alpha_pattern",),
            "ollama": ("alpha_pattern", "ollama_order_of_heads"),
        },
    ),
    "ranks that differ by layer": Case(
        config={"rank_pattern": {"layers.0.self_attn.q_proj": 16}},
        tensors={**lora_tensors(), **lora_tensors(["q_proj"], rank=16, layers=[0])},
        expected={
            "sglang": ("sglang_rank_pattern",),
            "tgi": ("ranks_differ_in_kind", "rank_pattern_ignored"),
            "lorax": ("ranks_differ_in_kind", "rank_pattern_ignored"),
            **HEADS,
        },
    ),
    "rslora": Case(
        config={"use_rslora": True},
        expected={"sglang": ("rslora",), "llama.cpp": ("rslora",), "ollama": ("rslora", "ollama_order_of_heads")},
    ),
    "alpha with a point": Case(config={"lora_alpha": 16.5}, expected={"ollama": ("ollama_alpha", *HEADS["ollama"])}),
    "alpha 0": Case(
        config={"lora_alpha": 0},
        expected={"llama.cpp": ("alpha_zero",), "ollama": ("alpha_zero", "ollama_order_of_heads")},
    ),
    "dora": Case(
        config={"use_dora": True},
        tensors={**lora_tensors(), **zeros("model.layers.0.self_attn.q_proj.lora_magnitude_vector")},
        expected={
            **dict.fromkeys(("vllm", "sglang", "llama.cpp"), ("dora",)),
            "ollama": ("dora", "ollama_order_of_heads"),
            "tgi": ("dora_ignored",),
            "lorax": ("dora_ignored",),
        },
    ),
    "bias inside": Case(
        config={"lora_bias": True},
        tensors={**lora_tensors(["q_proj", "v_proj"]), **zeros("model.layers.0.self_attn.q_proj.lora_B.bias")},
        expected={
            **dict.fromkeys(("vllm", "sglang", "llama.cpp"), ("lora_bias",)),
            "ollama": ("lora_bias", "ollama_order_of_heads"),
            "tgi": ("lora_bias_ignored",),
            "lorax": ("lora_bias_ignored",),
        },
    ),
    "trained biases": Case(
        config={"bias": "all"},
        tensors={**lora_tensors(), **zeros("model.layers.0.self_attn.q_proj.base_layer.bias")},
        expected={
            "vllm": ("vllm_biases",),
            "sglang": ("sglang_layer_tensors",),
            **dict.fromkeys(("tgi", "lorax"), ("biases_ignored",)),
            "llama.cpp": ("biases",),
            "ollama": ("biases", "ollama_order_of_heads"),
        },
    ),
    "pissa": Case(
        config={"init_lora_weights": "pissa_niter_4"},
        expected={
            "vllm": ("vllm_initialisation",),
            **dict.fromkeys(("sglang", "tgi", "lorax", "llama.cpp"), ("initialisation",)),
            "ollama": ("initialisation", "ollama_order_of_heads"),
        },
    ),
    "gaussian": Case(config={"init_lora_weights": "gaussian"}, expected=HEADS),
    "alora": Case(
        config={"alora_invocation_tokens": [3, 4]},
        expected={
            "vllm": ("vllm_alora",),
            **dict.fromkeys(("sglang", "tgi", "lorax"), ("alora_ignored",)),
            "ollama": ("alora_ignored", "ollama_order_of_heads"),
        },
    ),
    "repeated layers": Case(
        config={"layer_replication": [[0, 2], [1, 2]]},
        tensors=lora_tensors(layers=range(LAYERS + 1)),
        expected={
            **dict.fromkeys(("vllm", "sglang", "llama.cpp"), ("layer_replication",)),
            "ollama": ("layer_replication", "ollama_order_of_heads"),
            "tgi": ("layer_replication_ignored",),
            "lorax": ("layer_replication_ignored",),
        },
    ),
    "qa-lora": Case(
        config={"use_qalora": True},
        tensors=lora_tensors(pooled=2),
        expected={
            **everywhere("qalora"),
            "ollama": ("qalora", "ollama_order_of_heads"),
        },
    ),
    "bd-lora": Case(config={"use_bdlora": {"nblocks": 2}}, expected={"vllm": ("bdlora",), **HEADS}),
    "gpt-2": Case(
        base=GPT2,
        config={"fan_in_fan_out": True, "target_modules": ["c_attn"]},
        tensors=gpt2_tensors(),
        expected={
            "vllm": ("vllm_architecture",),
            "tgi": ("tgi_architecture", "tgi_kinds"),
            "llama.cpp": ("conv1d_gguf",),
            "ollama": ("ollama_architecture",),
        },
    ),
    "qwen2": Case(base=QWEN2, expected={"ollama": ("ollama_architecture",)}),
    "an unknown model": Case(
        base=UNKNOWN,
        expected={
            "tgi": ("tgi_architecture",),
            "lorax": ("lorax_architecture",),
            "llama.cpp": ("llama_cpp_architecture",),
            "ollama": ("ollama_architecture",),
        },
    ),
    "some layers": Case(
        config={"layers_to_transform": [0]},
        tensors=lora_tensors(["q_proj", "v_proj"], layers=[0]),
        expected={"tgi": ("some_layers",), "lorax": ("some_layers",), **HEADS},
    ),
    "queries alone": Case(
        tensors=lora_tensors(["q_proj", "o_proj"]), expected={"sglang": ("sglang_q_without_v",), **HEADS}
    ),
    "up_proj alone": Case(
        tensors=lora_tensors(["up_proj", "down_proj"]), expected={"sglang": ("sglang_up_without_gate",)}
    ),
    "a pattern of targets": Case(
        config={"target_modules": ".*(q|v)_proj"},
        tensors=lora_tensors(["q_proj", "v_proj"]),
        expected={"sglang": ("sglang_target_text",), **HEADS},
    ),
    "embeddings and head": Case(
        tensors={
            **lora_tensors(["q_proj", "v_proj"]),
            **zeros("model.embed_tokens.lora_embedding_A", shape=(8, VOCABULARY)),
            **zeros("model.embed_tokens.lora_embedding_B", shape=(WIDTH, 8)),
            **zeros("model.embed_tokens.base_layer.weight", shape=(VOCABULARY, WIDTH)),
            **zeros("lm_head.lora_A.weight", shape=(8, WIDTH)),
            **zeros("lm_head.lora_B.weight", shape=(VOCABULARY, 8)),
        },
        expected={
            "tgi": ("tgi_kinds",),
            "lorax": ("embeddings_ignored",),
            "ollama": ("ollama_order_of_heads", "ollama_kinds"),
        },
    ),
    "a head that is tied": Case(
        base={**QWEN2, "tie_word_embeddings": True},
        tensors={
            **lora_tensors(["v_proj", "q_proj"]),
            **zeros("lm_head.lora_A.weight", shape=(8, WIDTH)),
            **zeros("lm_head.lora_B.weight", shape=(VOCABULARY, 8)),
        },
        expected={
            "vllm": ("embeddings",),
            "tgi": ("tgi_kinds",),
            "llama.cpp": ("tied_head",),
            "ollama": ("ollama_architecture",),
        },
    ),
    "embeddings of positions": Case(
        base=GPT2,
        tensors={**gpt2_tensors(), **zeros("transformer.wpe.lora_embedding_A", shape=(8, WIDTH))},
        expected={
            "vllm": ("vllm_architecture", "other_embeddings"),
            "tgi": ("tgi_architecture", "tgi_kinds"),
            "lorax": ("embeddings_ignored",),
            "llama.cpp": ("conv1d_gguf",),
            "ollama": ("ollama_architecture",),
        },
    ),
    "experts": Case(
        base={**LLAMA, "architectures": ["MixtralForCausalLM"], "model_type": "mixtral"},
        tensors=zeros(
            "model.layers.0.mlp.experts.lora_A.weight", "model.layers.1.mlp.experts.lora_A.weight", shape=(64, WIDTH)
        ),
        expected={
            "tgi": ("tgi_architecture", "experts_ignored"),
            "lorax": ("experts_ignored",),
            "llama.cpp": ("experts_fused",),
            "ollama": ("experts_fused", "ollama_wide_rank"),
        },
    ),
    "a vision tower": Case(
        base={**LLAMA, "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3"},
        tensors={
            **lora_tensors(["q_proj", "v_proj"]),
            **zeros("vision_tower.layers.0.self_attn.q_proj.lora_A.weight", shape=(8, WIDTH)),
        },
        expected={
            "sglang": ("sglang_vision", "sglang_q_without_v"),
            "tgi": ("tgi_architecture", "vision_ignored"),
            "lorax": ("lorax_architecture", "vision_ignored"),
            "llama.cpp": ("vision_ignored",),
            "ollama": ("ollama_architecture",),
        },
    ),
    "a head in full": Case(
        config={"modules_to_save": ["lm_head"]},
        tensors={**lora_tensors(), **zeros("lm_head.weight", shape=(VOCABULARY, WIDTH))},
        expected={
            "vllm": ("vllm_modules_to_save", "saved_vocabulary"),
            "sglang": ("sglang_modules_to_save",),
            **dict.fromkeys(("tgi", "lorax"), ("modules_to_save_ignored",)),
            "llama.cpp": ("modules_to_save",),
            "ollama": ("modules_to_save", "ollama_order_of_heads"),
        },
    ),
    "norms in full": Case(
        config={"modules_to_save": ["norm", "input_layernorm"]},
        tensors={**lora_tensors(), **zeros("model.norm.weight", "model.layers.0.input_layernorm.weight")},
        expected={
            "vllm": ("vllm_modules_to_save", "norms_refused"),
            "sglang": ("sglang_layer_tensors", "sglang_modules_to_save"),
            **dict.fromkeys(("tgi", "lorax"), ("modules_to_save_ignored",)),
            "llama.cpp": ("norms",),
            "ollama": ("norms_refused", "ollama_order_of_heads"),
        },
    ),
    "a classifier": Case(
        config={"task_type": "SEQ_CLS", "modules_to_save": ["classifier", "score"]},
        base={**LLAMA, "architectures": ["LlamaForSequenceClassification"]},
        tensors={**lora_tensors(), **zeros("score.weight", shape=(3, WIDTH))},
        expected={
            "sglang": ("sglang_modules_to_save", "task"),
            **dict.fromkeys(("tgi", "lorax"), ("modules_to_save_ignored", "task")),
            "llama.cpp": ("modules_to_save", "task", "llama_cpp_architecture"),
            "ollama": ("modules_to_save", "task", "ollama_architecture"),
        },
    ),
    "trained tokens": Case(
        config={"trainable_token_indices": [3]},
        tensors={
            **lora_tensors(),
            **zeros("model.embed_tokens.token_adapter.trainable_tokens_delta", shape=(1, WIDTH)),
        },
        expected={
            **dict.fromkeys(("vllm", "llama.cpp"), ("trained_tokens",)),
            "ollama": ("trained_tokens", "ollama_order_of_heads"),
            **dict.fromkeys(("sglang", "tgi", "lorax"), ("trained_tokens_ignored",)),
        },
    ),
    "added tokens": Case(
        files={"tokenizer.json": ADDED},
        base_files={"tokenizer.json": "{}"},
        expected={
            "sglang": ("sglang_tokens",),
            **dict.fromkeys(("tgi", "llama.cpp"), ("tokens_ignored",)),
            "ollama": ("tokens_ignored", "ollama_order_of_heads"),
        },
    ),
    "another template": Case(
        files=TEMPLATE,
        base_files=BASE_TEMPLATE,
        expected={
            **dict.fromkeys(("tgi", "lorax"), ("template_ignored",)),
            "ollama": ("template_ignored", "ollama_order_of_heads"),
        },
    ),
    "the base's own template": Case(files=BASE_TEMPLATE, base_files=BASE_TEMPLATE, expected=HEADS),
    "another template in the settings": Case(
        files={"tokenizer_config.json": json.dumps({"chat_template": "other"})},
        base_files=BASE_TEMPLATE,
        expected={
            **dict.fromkeys(("sglang", "llama.cpp"), ("template_in_settings",)),
            **dict.fromkeys(("tgi", "lorax"), ("template_ignored",)),
            "ollama": ("template_ignored", "ollama_order_of_heads"),
        },
    ),
    "a base that is not at hand": Case(
        base=None, files=TEMPLATE, config={"base_model_name_or_path": "/nowhere/base"}, expected={}
    ),
    "a base by its hub id": Case(base=None, config={"base_model_name_or_path": "owner/some-model"}, expected={}),
    "a pickle": Case(
        tensors=None,
        files={"adapter_model.bin": "PK"},
        expected={"ollama": ("pickle",), "tgi": ("pickle",), "lorax": ("pickle",)},
    ),
    "no weights": Case(tensors=None, expected=everywhere("no_weights")),
    "an empty file": Case(tensors={}, expected={**everywhere("empty_weights_ignored"), "vllm": ("empty_weights",)}),
    "no prefix": Case(
        tensors=lora_tensors(prefix=""), expected={"tgi": ("no_prefix",), "lorax": ("no_prefix",), **HEADS}
    ),
    "the adapter's name in the keys": Case(
        tensors=lora_tensors(ending="default.weight"),
        expected={
            **dict.fromkeys(("vllm", "llama.cpp", "ollama"), ("adapter_name_in_keys",)),
            **dict.fromkeys(("tgi", "lorax"), ("adapter_name_ignored",)),
        },
    ),
    "other weights beside it": Case(
        files={"optimizer.safetensors": ""},
        expected={"sglang": ("other_weights",), "ollama": ("other_weights", "ollama_order_of_heads")},
    ),
    "float32": Case(tensors=lora_tensors(dtype=np.float32), expected=HEADS),
    "a quantised base": Case(base={**LLAMA, "quantization_config": {"quant_method": "bitsandbytes"}}, expected=HEADS),
}
"""Adapters by what is special about them."""
