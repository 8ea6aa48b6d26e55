"""How an exported folder is loaded, as sections of its model card; and the Modelfile by which Ollama takes a GGUF."""

from __future__ import annotations

import json

from retain.hf.adapters.card import PLACEHOLDER

SERVED_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM takes as --max-lora-rank (vllm/config/lora.py, 2025 to 2026)."""


def adapter_section(form: str, auto: str, base: str | None, rank: int | None, *, is_language_model: bool) -> str:
    """How a stock LoRA or IA3 is loaded.

    Args:
        form: `lora` or `ia3`.
        auto: the auto class of transformers that loads its base.
        base: the base's hub id.
        rank: of a LoRA.
        is_language_model: whether servers of language models are told of.
    """
    source = base or "BASE_MODEL"
    code = (
        f'from peft import PeftModel\nfrom transformers import {auto}\n\nbase = {auto}.from_pretrained("{source}")\n'
        f'model = PeftModel.from_pretrained(base, "{PLACEHOLDER}")'
    )
    parts = ["## How to load it", "It loads with PEFT alone; retain is not needed.", _block("python", code)]
    if form == "ia3":
        parts.append(
            "In 16 bits PEFT multiplies the inputs in 16 bits, so scales closer to 1 than 0.4 % (bfloat16) are rounded "
            "away while it runs; merge_and_unload() in float32, or the merged export, loses less."
        )
    elif is_language_model and rank is not None:
        enough = next((known for known in SERVED_RANKS if known >= rank), None)
        parts.append(
            f"No server that is known takes a rank of {rank}; export it with a smaller --rank."
            if enough is None
            else _block(
                "sh",
                f"vllm serve {source} --enable-lora --max-lora-rank {enough} --lora-modules tuned={PLACEHOLDER}\n"
                f"python convert_lora_to_gguf.py {PLACEHOLDER} --base BASE_FOLDER  # for llama.cpp and Ollama",
            )
        )
    return "\n\n".join(parts)


def model_section(auto: str, *, is_language_model: bool) -> str:
    """How a plain model is loaded."""
    code = f'from transformers import {auto}\n\nmodel = {auto}.from_pretrained("{PLACEHOLDER}")'
    parts = [
        "## How to load it",
        "A plain model of its base's architecture; neither retain nor PEFT is needed.",
        _block("python", code),
    ]
    if is_language_model:
        commands = f"vllm serve {PLACEHOLDER}\ntext-generation-launcher --model-id {PLACEHOLDER}"
        parts.append(_block("sh", commands))
    return "\n\n".join(parts)


def gguf_section(file: str, base: str | None, *, adapter: bool) -> str:
    """How a GGUF file is served."""
    if adapter:
        told = f"A LoRA for a GGUF of {f'`{base}`' if base else 'its base'}; it is of no use on another model."
        commands = f"llama-server -m BASE.gguf --lora {file}\nollama create tuned -f Modelfile  # after its FROM is set"
    else:
        told = "One file with the model, its tokenizer and its chat template; neither retain nor PEFT is needed."
        commands = f"llama-server -m {file}\nollama create tuned -f Modelfile && ollama run tuned"
    return "\n\n".join(["## How to load it", told, _block("sh", commands)])


def modelfile(file: str, base: str | None, stop: list[str], *, adapter: bool) -> str:
    """A Modelfile for Ollama. Ollama takes the chat template from the GGUF.

    Args:
        file: the GGUF's name.
        base: the base's hub id.
        stop: texts that end an answer.
        adapter: whether the file is a LoRA.
    """
    stops = [f"PARAMETER stop {json.dumps(text, ensure_ascii=False)}" for text in stop]
    if not adapter:
        return "\n".join([f"FROM ./{file}", *stops]) + "\n"
    model = base or "the base that this LoRA was trained on"
    told = f"# FROM takes a GGUF (or Ollama's name) of {model}, unquantised at best."
    return "\n".join([told, "FROM ./BASE.gguf", f"ADAPTER ./{file}", *stops]) + "\n"


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"
