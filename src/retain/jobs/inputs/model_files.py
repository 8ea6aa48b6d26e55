"""What tells a model's files from another's: their content, which is read once and not again while a file stays."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from retain.errors import InputError
from retain.events import SILENT, Events
from retain.records.files import write_text
from retain.records.paths import expanded
from retain.records.reading import read_json_mapping

KNOWN = "model-files.json"
"""The file in the user's cache that holds digests of weight files by their path, size and times."""

MOST_KNOWN = 1000
"""Weight files whose digests are kept; of more, those that were read first are forgotten."""

SETTLED_SECONDS = 2
"""A file that changed less long ago may change again within one tick of a clock, so its digest is not kept."""

LARGE_BYTES = 10**9
"""Bytes that take long enough to read that the progress tells of it."""

_READ_WITH_A_MODEL = (
    *("*config.json", "*.index.json", "*token*.json", "vocab.*", "merges.txt", "bpe.codes", "*.model", "*.jinja"),
    *("chat_template.json", "normalizer.json", "byte_decoder.json"),
)
"""Names of the small files that transformers reads with a model or its tokenizer."""

_WHOLE = ("model*.safetensors", "adapter_model*.safetensors")
"""Names of weight files beside which transformers and PEFT read no `.bin`."""

_CONTENT = "content:"
"""What the fingerprint of a folder begins with."""

_DIGESTS: dict[str, list[Any]] = {}
"""Size, times and digest of the weight files that this process read, by path."""


def files_fingerprint(source: str, cache: Path | None = None, events: Events = SILENT) -> str:
    """The fingerprint of a model folder, wherever it lies and whenever it was written; the id itself for a hub id.

    It covers names and content of weight files, and of the small text files beside them by which a model is read
    (configuration, tokenizer, chat template, and Python files where a configuration names them). What else lies there,
    reports and notes for instance, is no part of it.

    Args:
        source: folder or hub id.
        cache: the user's folder in which digests of weight files are kept; None keeps them for this process only.
        events: receives the progress where much is to be read.

    Raises:
        InputError: a file cannot be read.
    """
    folder = expanded(source)
    if not folder.is_dir():
        return source
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
        texts = [file for file in files if _is_text(file)]
        texts += _code(files, texts)
        weights = [file for file in files if file not in texts and file.suffix in {".safetensors", ".bin"}]
        digest = hashlib.sha256()
        whole = any(file.match(pattern) for file in weights for pattern in _WHOLE)
        counted = [file for file in weights if not whole or file.suffix != ".bin"]
        content = _digests(counted, cache, events)
        for file in files:
            if file in texts:
                digest.update(file.name.encode() + file.read_bytes())
            elif file in content:
                digest.update(f"{file.name} {content[file]}".encode())
    except OSError as error:
        raise InputError(f"model: {error.filename or folder} cannot be read ({error.strerror}).") from error
    return f"{_CONTENT}{digest.hexdigest()}"


def is_of_content(fingerprint: str) -> bool:
    """True for the fingerprint of a folder; that of a hub's model is its id."""
    return fingerprint.startswith(_CONTENT)


def _is_text(file: Path) -> bool:
    return any(file.match(pattern) for pattern in _READ_WITH_A_MODEL)


def _code(files: Sequence[Path], texts: Sequence[Path]) -> list[Path]:
    """The Python files of a model that runs code of its own; beside others they are somebody's scripts."""
    runs = any(b'"auto_map"' in text.read_bytes() for text in texts if text.match("*config.json"))
    return [file for file in files if runs and file.suffix == ".py"]


def _digests(files: Sequence[Path], cache: Path | None, events: Events) -> dict[Path, str]:
    """The SHA-256 of some files; those whose path, size and times are known are not read."""
    digests = {file: digest for file in files if (digest := _known_digest(file, _DIGESTS))}
    if cache is not None and len(digests) < len(files):
        kept = _kept(cache)
        digests = {file: digest for file in files if (digest := digests.get(file) or _known_digest(file, kept))}
    new = [file for file in files if file not in digests]
    total = sum(file.stat().st_size for file in new)
    task = events.task("reading the model's files, to know them again", total) if total >= LARGE_BYTES else None
    for file in new:
        digests[file] = _read(file)
        if task is not None:
            task.advance(file.stat().st_size)
    if new and cache is not None:
        _keep(cache, {str(file.absolute()) for file in new})
    return digests


def _read(file: Path) -> str:
    """The SHA-256 of a file, noted where the file did not change meanwhile nor just before."""
    before = _state(file)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    latest = max(file.stat().st_mtime, file.stat().st_ctime)
    if _state(file) == before and time.time() - latest > SETTLED_SECONDS:
        _DIGESTS[str(file.absolute())] = [*before, digest]
    return digest


def _state(file: Path) -> list[int]:
    """Size and times of a file; that of its last change of any kind cannot be set by whoever copies it."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _known_digest(file: Path, known: dict[str, list[Any]]) -> str | None:
    *state, digest = known.get(str(file.absolute())) or [None]
    return digest if state == _state(file) else None


def _kept(cache: Path) -> dict[str, list[Any]]:
    """What earlier processes noted; nothing where that cannot be read."""
    try:
        found = read_json_mapping(cache / KNOWN)
    except InputError:
        return {}
    return {name: noted for name, noted in found.items() if isinstance(noted, list) and len(noted) == 4}


def _keep(cache: Path, names: set[str]) -> None:
    """Add what this process noted to what is kept; that it cannot be written is no reason to fail."""
    added = {name: _DIGESTS[name] for name in names if name in _DIGESTS}
    if not added:
        return
    with suppress(OSError, InputError):
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = {name: noted for name, noted in _kept(cache).items() if name not in added} | added
        write_text(cache / KNOWN, json.dumps(dict(list(known.items())[-MOST_KNOWN:])))
