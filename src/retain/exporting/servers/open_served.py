"""Open what is to be served: a folder, a run, a GGUF file or a hub id. Reads small files and heads of large ones."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError, safe_open

from retain.errors import InputError
from retain.exporting.servers.gguf_head import GGUF, read_head
from retain.exporting.servers.served import BasePlace, Header, Served, Vocabulary
from retain.records.paths import expanded, is_path
from retain.records.reading import read_json_mapping

ADAPTER_CONFIG = "adapter_config.json"
MODEL_CONFIG = "config.json"

IN_A_RUN = ("adapter", "model")
"""Folders of a run in which what it delivered lies."""

SMALL_FILES = ["*.json", "*.jinja", "adapter_model*.safetensors"]
"""What is fetched of an adapter on the hub."""

LARGEST_TOKENIZER = 16 * 2**20
"""A larger tokenizer.json is not read for its added tokens: that would take seconds."""


def open_served(source: str, base: str | None = None) -> Served:
    """Look at an adapter or a model.

    Args:
        source: a folder of one, the folder of a run, a GGUF file, or the hub id of an adapter.
        base: the base as a folder or a hub id, in place of the one that the adapter names.

    Raises:
        InputError: there is none, or its files are damaged.
    """
    place = expanded(source)
    if place.is_file():
        return _open_file(source, place)
    folder = _folder(source, place)
    where = str(folder) if place.is_dir() and folder != place else ""
    if (folder / ADAPTER_CONFIG).is_file():
        return replace(_open_adapter(source, folder, base), place=where)
    if (folder / MODEL_CONFIG).is_file():
        return replace(_open_model(source, folder), place=where)
    raise InputError(f"{source}: {_nothing_in(folder)}")


def _folder(source: str, place: Path) -> Path:
    """The folder itself, in a run the one that it delivered, or the one fetched from the hub."""
    if place.is_dir():
        if any((place / name).is_file() for name in (ADAPTER_CONFIG, MODEL_CONFIG)):
            return place
        inside = [place / name for name in IN_A_RUN if (place / name).is_dir()]
        return inside[0] if inside else place
    if is_path(source) or place.exists():
        raise InputError(
            f"{source}: there is no such folder; give that of an adapter or a model, a GGUF file or a run."
        )
    try:
        return Path(snapshot_download(source, allow_patterns=SMALL_FILES))
    except (OSError, ValueError, HFValidationError, HfHubHTTPError) as error:
        told = re.split(r"(?<=[.:])\s", str(error).strip())[0].rstrip(".:")[:200]
        raise InputError(
            f"{source}: there is no folder of this name here, and no adapter of it could be fetched from the hub "
            f"({told})."
        ) from error


def _nothing_in(folder: Path) -> str:
    inner = sorted(child.name for child in folder.iterdir() if (child / ADAPTER_CONFIG).is_file())
    if inner:
        return f"no adapter lies here itself; give one of those inside it: {', '.join(inner[:5])}."
    ggufs = sorted(file.name for file in folder.glob("*.gguf"))
    if ggufs:
        return f"a server takes a GGUF file, not its folder; give {ggufs[0]} in it."
    return f"no adapter and no model lies here ({ADAPTER_CONFIG} and {MODEL_CONFIG} are missing)."


def _open_file(source: str, file: Path) -> Served:
    head = read_head(file)
    if head is None:
        cure = "give its folder" if file.suffix in {".safetensors", ".bin", ".json"} else "give a folder or a GGUF file"
        raise InputError(f"{source}: this file is no GGUF file; {cure}.")
    return Served(source, _gguf_kind(head), config=head.metadata, tensors=head.tensors, files=(file.name,))


def _gguf_kind(head: GGUF) -> Any:
    return "gguf adapter" if head.metadata.get("general.type") == "adapter" else "gguf model"


def _open_adapter(source: str, folder: Path, base: str | None) -> Served:
    config = read_json_mapping(folder / ADAPTER_CONFIG)
    if not isinstance(config.get("peft_type"), str):
        raise InputError(f"{folder / ADAPTER_CONFIG}: it names no peft_type, so it is no configuration of PEFT.")
    named = config.get("base_model_name_or_path")
    name = base or (named if isinstance(named, str) else "")
    place = _base_folder(name)
    return Served(
        source,
        "adapter",
        config=config,
        tensors=dict(_headers(sorted(folder.glob("adapter_model*.safetensors")))),
        files=_names(folder),
        base_name=name,
        base_place=_base_place(name),
        base=_config_at(place),
        own=vocabulary_of(folder),
        base_own=None if place is None else vocabulary_of(place),
    )


def _open_model(source: str, folder: Path) -> Served:
    config = read_json_mapping(folder / MODEL_CONFIG)
    _check_shards(folder)
    return Served(
        source,
        "model",
        config=config,
        tensors=dict(_headers(sorted(folder.glob("model*.safetensors")))),
        files=_names(folder),
        own=vocabulary_of(folder),
    )


def _check_shards(folder: Path) -> None:
    """Look for the files that an index of weights names, in the form that servers read first.

    Raises:
        InputError: some are missing.
    """
    for form in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{form}.index.json"
        if (folder / form).is_file() or not index.is_file():
            continue
        listed = read_json_mapping(index).get("weight_map")
        named = sorted({str(name) for name in listed.values()}) if isinstance(listed, Mapping) else []
        if missing := [name for name in named if not (folder / name).is_file()]:
            raise InputError(
                f"{folder}: {len(missing)} of the {len(named)} files of weights that {index.name} names are missing "
                f"({missing[0]}); save or fetch the whole folder again."
            )
        return


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(child.name for child in folder.iterdir() if child.is_file()))


def _headers(files: list[Path]) -> Iterator[tuple[str, Header]]:
    """The headers of all tensors in some files.

    Raises:
        InputError: a file is damaged.
    """
    for file in files:
        try:
            with safe_open(str(file), framework="np") as opened:
                for name in opened.keys():  # noqa: SIM118 -- no mapping
                    part = opened.get_slice(name)
                    yield name, Header(tuple(part.get_shape()), str(part.get_dtype()))
        except (OSError, SafetensorError, ValueError) as error:
            told = "it may not be read" if getattr(error, "errno", None) == errno.EACCES else "it is damaged"
            raise InputError(f"{file}: {told} ({error}); save it again.") from error


def _base_place(name: str) -> BasePlace:
    if not name:
        return "none"
    if expanded(name).is_dir():
        return "folder"
    return "missing folder" if is_path(name) else "hub id"


def _base_folder(name: str) -> Path | None:
    """The folder in which the base's small files lie, on this machine only; None where there is none."""
    if not name:
        return None
    if (place := expanded(name)).is_dir():
        return place
    if is_path(name):
        return None
    try:
        cached = try_to_load_from_cache(name, MODEL_CONFIG)
    except (ValueError, HFValidationError):
        return None
    return Path(cached).parent if isinstance(cached, str) else None


def _config_at(folder: Path | None) -> dict[str, Any] | None:
    if folder is None or not (folder / MODEL_CONFIG).is_file():
        return None
    return read_json_mapping(folder / MODEL_CONFIG)


def vocabulary_of(folder: Path) -> Vocabulary:
    """The added tokens and the chat template that lie in a folder.

    Raises:
        InputError: a file is no JSON object.
    """
    small = {name: _mapping(folder / name) for name in ("added_tokens.json", "tokenizer_config.json")}
    settings = small["tokenizer_config.json"]
    whole = folder / "tokenizer.json"
    listed: Any = ()
    if whole.is_file() and whole.stat().st_size <= LARGEST_TOKENIZER:
        listed = _mapping(whole).get("added_tokens") or ()
    added = {str(one["content"]): int(one["id"]) for one in listed if isinstance(one, Mapping) and {*one} >= _TOKEN}
    decoder = settings.get("added_tokens_decoder")
    for number, token in decoder.items() if isinstance(decoder, Mapping) else ():
        if str(number).isdigit() and isinstance(token, Mapping):
            added[str(token.get("content"))] = int(number)
    added |= {token: one for token, one in small["added_tokens.json"].items() if isinstance(one, int)}
    there = whole.is_file() or bool(settings) or (folder / "tokenizer.model").is_file()
    return Vocabulary(added, _template(folder, settings), there)


_TOKEN = {"content", "id"}


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8", errors="replace")
    inside = settings.get("chat_template")
    return str(inside) if inside else None


def _mapping(file: Path) -> dict[str, Any]:
    return read_json_mapping(file) if file.is_file() else {}
