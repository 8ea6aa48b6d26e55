"""Loading a base model and what reads for it, from a folder or a hub id, with errors that say what to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from retain.data.preprocess import ImagePreprocessor, Preprocessor, TextPreprocessor
from retain.errors import InputError
from retain.hf.models.head import renew_output_layer

Family = Literal["causal-lm", "text-classifier", "image-classifier", "text-features", "image-features"]
"""What a model is loaded as; chosen by the data."""

_LOADERS: dict[Family, Any] = {
    "causal-lm": AutoModelForCausalLM,
    "text-classifier": AutoModelForSequenceClassification,
    "image-classifier": AutoModelForImageClassification,
    "text-features": AutoModel,
    "image-features": AutoModel,
}


def load_model(
    source: str,
    dtype: str = "auto",
    *,
    family: Family = "causal-lm",
    labels: Sequence[str] = (),
    attention: str | None = None,
    trust_remote_code: bool = False,
) -> Any:
    """A model in eval mode, on an accelerator where there is one.

    A classifier whose checkpoint has a head for the classes that are asked for keeps it, in its own order of classes.
    Any other gets a new head, random by a fixed seed, also where its head has as many classes of other names;
    `load_with_news` tells which. What the checkpoint lacks besides is random by the same seed.

    Args:
        source: folder or hub id.
        dtype: name of a torch dtype, or auto for the checkpoint's.
        family: what to load it as.
        labels: the classes, for a classifier.
        attention: transformers' `attn_implementation`; None for its choice.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        InputError: nothing there, no model of this family, or the hub cannot be reached.
    """
    return load_with_news(
        source, dtype, family=family, labels=labels, attention=attention, trust_remote_code=trust_remote_code
    )[0]


def load_with_news(
    source: str,
    dtype: str = "auto",
    *,
    family: Family = "causal-lm",
    labels: Sequence[str] = (),
    attention: str | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, bool]:
    """As `load_model`, and whether the head is new, that is to say random.

    Raises:
        InputError: as `load_model`.
    """
    path = _located(source)
    news = False
    options: dict[str, Any] = {
        "dtype": dtype,
        "attn_implementation": attention,
        "trust_remote_code": trust_remote_code,
    }
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if family.endswith("classifier"):
                named = _classes(path, labels, trust_remote_code=trust_remote_code)
                model, told = _LOADERS[family].from_pretrained(
                    path, ignore_mismatched_sizes=True, output_loading_info=True, **options, **named
                )
                news = bool(told["missing_keys"] or told["mismatched_keys"])
                if named and not news:
                    renew_output_layer(model)
                    news = True
                _with_padding(model, source, trust_remote_code=trust_remote_code)
            else:
                model = _LOADERS[family].from_pretrained(path, **options)
        return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), news
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise _refused(source, "model", error, family) from error


def _classes(path: str, labels: Sequence[str], *, trust_remote_code: bool) -> dict[str, Any]:
    """The classes' names for the configuration; none where the checkpoint's own cover those that are asked for."""
    config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    own = {str(name) for name in (config.id2label or {}).values()}
    if set(labels) <= own:
        return {}
    return {"id2label": dict(enumerate(labels)), "label2id": {name: index for index, name in enumerate(labels)}}


def classes_beside(folder: Path) -> list[str] | None:
    """The classes that a config.json beside an adapter names, in the order of outputs; None where none are named."""
    path = folder / "config.json"
    try:
        named = json.loads(path.read_text(encoding="utf-8"))["id2label"]
        classes = [str(name) for _, name in sorted(named.items(), key=lambda pair: int(pair[0]))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    unnamed = [f"LABEL_{index}" for index in range(len(classes))]  # what transformers writes where nothing was said
    return None if classes == unnamed else classes


def brings_head(tuned: str) -> bool:
    """Whether an adapter brings a trained head of its own, as far as its folder tells."""
    path = Path(tuned).expanduser() / "adapter_config.json"
    return not path.is_file() or bool(json.loads(path.read_text(encoding="utf-8")).get("modules_to_save"))


def _with_padding(model: Any, source: str, *, trust_remote_code: bool) -> None:
    """Tell a decoder that judges texts which token is padding: it reads its logits from the last one that is none."""
    if type(model).__name__.endswith("ForSequenceClassification") and model.config.pad_token_id is None:
        model.config.pad_token_id = load_tokenizer(source, trust_remote_code=trust_remote_code).pad_token_id


def load_preprocessor(source: str, family: Family, max_length: int, *, trust_remote_code: bool = False) -> Preprocessor:
    """What makes inputs for a model: its tokenizer or its image processor.

    Raises:
        InputError: as `load_model`.
    """
    if not family.startswith("image"):
        return TextPreprocessor(load_tokenizer(source, trust_remote_code=trust_remote_code), max_length)
    try:
        return ImagePreprocessor(
            AutoImageProcessor.from_pretrained(_located(source), backend="pil", trust_remote_code=trust_remote_code)
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _refused(source, "image processor", error, family) from error


def load_tokenizer(source: str, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer beside a model; one without a padding token pads with its end token.

    Raises:
        InputError: as `load_model`.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(_located(source), trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _refused(source, "tokenizer", error, "causal-lm") from error
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def empty_model(
    source: str, *, family: Family = "causal-lm", labels: Sequence[str] = (), trust_remote_code: bool = False
) -> Any:
    """The model's structure without its weights (meta device), to check targets against in a moment.

    Raises:
        InputError: as `load_model`.
    """
    path = _located(source)
    try:
        classes = _classes(path, labels, trust_remote_code=trust_remote_code) if family.endswith("classifier") else {}
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code, **classes)
        with torch.device("meta"):
            return _LOADERS[family].from_config(config, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _refused(source, "model", error, family) from error


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


def _refused(source: str, what: str, error: Exception, family: Family) -> InputError:
    reason = " ".join(str(error).split())
    cure = (
        f"give a folder that transformers can load with {_LOADERS[family].__name__}, or a hub id that can be reached "
        "(with HF_HUB_OFFLINE=1 only what is cached)"
    )
    return InputError(f"model: no {what} could be loaded from {source!r} ({reason[:400]}); {cure}.")
