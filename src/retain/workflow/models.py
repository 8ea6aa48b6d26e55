"""Loading a base model and its tokenizer from a folder or a hub id, with errors that say what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from retain.errors import InputError


def load_model(
    source: str, dtype: str = "auto", *, attention: str | None = None, trust_remote_code: bool = False
) -> Any:
    """A causal language model in eval mode, on an accelerator where there is one.

    Args:
        source: folder or hub id.
        dtype: name of a torch dtype, or auto for the checkpoint's.
        attention: transformers' `attn_implementation`; None for its choice.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        InputError: nothing there, no causal language model, or the hub cannot be reached.
    """
    path = _located(source)
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, attn_implementation=attention, trust_remote_code=trust_remote_code
        )
        return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise _refused(source, "model", error) from error


def load_tokenizer(source: str, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer beside a model.

    Raises:
        InputError: as `load_model`.
    """
    try:
        return AutoTokenizer.from_pretrained(_located(source), trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _refused(source, "tokenizer", error) from error


def empty_model(source: str, *, trust_remote_code: bool = False) -> Any:
    """The model's structure without its weights (meta device), to check targets against in a moment.

    Raises:
        InputError: as `load_model`.
    """
    try:
        config = AutoConfig.from_pretrained(_located(source), trust_remote_code=trust_remote_code)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _refused(source, "model", error) from error


def files_fingerprint(source: str) -> str:
    """What tells one state of a model folder from another without reading its weights; the id itself for a hub id.

    Names, sizes and times of weight files, and the content of the small text files beside them (configuration,
    tokenizer, chat template).
    """
    folder = Path(source)
    if not folder.is_dir():
        return source
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        status = file.stat()
        if file.suffix in {".json", ".jinja", ".txt", ".model"}:
            digest.update(file.name.encode() + file.read_bytes())
        elif file.suffix in {".safetensors", ".bin"}:
            digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _located(source: str) -> str:
    path = Path(source).expanduser()
    if path.is_dir():
        return str(path)
    if source.startswith((".", "/", "~")) or path.exists():
        raise InputError(
            f"model: there is no folder {source}; give a folder with config.json and *.safetensors, or a hub id."
        )
    return source


def _refused(source: str, what: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    cure = (
        "give a folder that transformers can load with AutoModelForCausalLM, or a hub id that can be reached "
        "(with HF_HUB_OFFLINE=1 only what is cached)"
    )
    return InputError(f"model: no {what} could be loaded from {source!r} ({reason[:400]}); {cure}.")
