"""Where models come from: folders and hub ids, told apart, and refused in words that name the cure."""

from __future__ import annotations

import traceback
from pathlib import Path

import transformers
from huggingface_hub.errors import StrictDataclassError

from retain.data.offline import offline_cure
from retain.errors import InputError
from retain.records.paths import expanded, is_path
from retain.records.reading import read_json_mapping

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""Files of which one lies where a tokenizer does."""


def located(source: str, role: str = "model") -> str:
    """A source as transformers takes it: a folder that is there, or what can be a hub id.

    Raises:
        InputError: it can only be a path, and no folder is there.
    """
    path = expanded(source)
    if path.is_dir():
        return str(path)
    if is_path(source) or path.exists():
        raise InputError(
            f"{role}: there is no folder {source}; give a folder with config.json and *.safetensors, or a hub id."
        )
    return source


REASONS = (OSError, ValueError, KeyError, ImportError, StrictDataclassError)
"""What transformers raises where it cannot load a model."""


def in_own_code(error: BaseException) -> bool:
    """Tell whether an error is one of code that came with a model."""
    modules = (str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__))
    return isinstance(error, SyntaxError) or any(name.startswith("transformers_modules.") for name in modules)


def failure_told(source: str, what: str, loader: str, error: BaseException) -> str:
    """What to tell where loading failed, whoever's code did; the other arguments are those of `not_loaded`.

    Args:
        source: folder or hub id.
        what: model, tokenizer, …
        loader: the class of transformers that was tried.
        error: what was raised.
    """
    reason = " ".join(str(error).split()).partition(" Model type should be one of")[0]  # a page of names
    if in_own_code(error):
        return (
            f"the code that {source!r} brings fails here ({type(error).__name__}: {reason[:400]}); it may be meant for "
            f"another version of transformers than {transformers.__version__}."
        )
    if "trust_remote_code=True" in reason:
        return (
            f"{source!r} brings code of its own, which is not run unasked; read it, and if you would run a program of "
            "its authors, say --trust-remote-code true."
        )
    return not_loaded(source, what, loader, reason[:400])


def not_loaded(source: str, what: str, loader: str, reason: str) -> str:
    """What to tell where transformers could load nothing from a source.

    Args:
        source: folder or hub id.
        what: model, tokenizer, …
        loader: the class of transformers that was tried.
        reason: its own words.
    """
    if not expanded(source).is_dir():
        taken = f"there is no folder {source!r} in {Path.cwd().name or 'this directory'}, so it was taken for a hub id"
        if offline := offline_cure(reason, f"hf download {source}"):
            return f"{taken}, of which the cache holds no {what}; {offline}, or give the path of a folder."
        return (
            f"{taken}, of which no {what} could be loaded ({reason}). Check the path, and the directory that it "
            "starts from."
        )
    if what == "tokenizer" and not any((expanded(source) / name).is_file() for name in TOKENIZER_FILES):
        return (
            f"no tokenizer could be loaded from {source!r}: none lies there ({TOKENIZER_FILES[0]} is missing); "
            "save the model's own beside it, with tokenizer.save_pretrained(folder)."
        )
    return (
        f"no {what} could be loaded from {source!r} ({reason}); give a folder that transformers can load with "
        f"{loader}, or a hub id that can be reached (with HF_HUB_OFFLINE=1 only what is cached)."
    )


def ensure_base(source: str) -> None:
    """Refuse an adapter in place of a base: transformers would put it on its base without a word.

    Raises:
        InputError: the folder is an adapter's.
    """
    folder = expanded(source)
    if not (folder / "adapter_config.json").is_file():
        return
    if any(folder.glob("model*.safetensors")) or any(folder.glob("pytorch_model*.bin")):
        return
    named = read_json_mapping(folder / "adapter_config.json").get("base_model_name_or_path")
    raise InputError(
        f"model: {source} is an adapter, not a base. Give the model that it was trained on"
        f"{f' ({named})' if named else ''} as --model, and this folder as --tuned."
    )
