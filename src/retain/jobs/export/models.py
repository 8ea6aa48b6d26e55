"""Open what an export is made from: base and adapter as they were trained, what reads for them, and what they read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from retain.data.family import modality_of
from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.evaluate.conversion_loss import ReadBatch, item_batches, text_batches
from retain.evaluate.pair import Pair
from retain.evaluate.suites.suite import Settings, Suites
from retain.hf.adapters.folder import stored_shapes
from retain.hf.adapters.load import load_adapter, name_notes
from retain.hf.adapters.origin import origin_notes
from retain.hf.models.head import BASE_HEAD, restore_head
from retain.hf.models.vocabulary import give_rows, rows_in_file, rows_of
from retain.jobs.export.plan import Opened
from retain.jobs.export.source import Source
from retain.jobs.inputs.alike import make_room
from retain.jobs.inputs.lengths import base_positions
from retain.jobs.inputs.model_sources import TOKENIZER_FILES
from retain.jobs.inputs.models import ModelSpec
from retain.records.result import Result, read_result

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


def open_source(source: Source, data: Suites, settings: Settings, result: Result | None) -> Opened:
    """Load the models of an export.

    Args:
        source: what is exported.
        data: text and items on which the loss is measured.
        settings: how they are read.
        result: the record of the run.

    Raises:
        InputError: they cannot be loaded, or do not belong together.
    """
    preprocessor = _preprocessor(source)
    notes: list[str] = []
    stored = _stored_dtype(source.spec)
    if source.values:
        pair, plain = _adapted(source, preprocessor, notes)
        adapter = str(next(iter(pair.tuned_model.peft_config)))
    else:
        base = source.spec.load().model if source.has_base else None
        pair, plain, adapter = Pair(source.whole.load().model, base), None, None
        stored = _stored_dtype(source.whole)
    opened = Opened(
        pair.tuned_model,
        adapter,
        pair.separate_base,
        stored,
        preprocessor,
        plain=plain,
        config_folder=_config_folder(source),
        result=result,
        trust_remote_code=source.spec.trust_remote_code,
        notes=notes,
    )
    opened.batches, opened.hashes = read_batches(preprocessor, data, settings, source.spec.family)
    if not opened.batches:
        opened.notes.append("The loss was not measured: there is no held-out text (or items); give --held-out-text.")
    return opened


def read_batches(
    preprocessor: Preprocessor | None, data: Suites, settings: Settings, family: str
) -> tuple[list[ReadBatch], dict[str, str]]:
    """What both sides read to be compared, and hashes of it: text for a language model, items for a classifier."""
    if preprocessor is None:
        return [], {}
    if family == "causal-lm":
        if not data.held_out_text:
            return [], {}
        hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in data.held_out_text.items()}
        return text_batches(preprocessor, data.held_out_text, settings), hashes
    items = [item for item in data.measured_items if item.trains in {"text-classifier", "image-classifier"}]
    if not items or not family.endswith("classifier"):
        return [], {}
    content = hashlib.sha256("\n".join(str(item.content()) for item in items).encode()).hexdigest()
    return item_batches(preprocessor, items, settings.batch_size), {"test": content}


def _adapted(source: Source, preprocessor: Preprocessor, notes: list[str]) -> tuple[Pair, Any]:
    """The base with its adapter, and what loads it again on an unquantised base where it was quantised."""
    model = _with_adapter(source, source.spec, preprocessor, notes)
    notes += name_notes(model)
    pair = Pair.around(model, lambda: source.spec.load().model)
    if source.spec.quantization_in_use() is None:
        return pair, None
    notes.append("The adapter was trained beside a quantised base; what it loses is counted from there.")
    return pair, lambda: _with_adapter(source, source.plain, preprocessor, [])


def _with_adapter(source: Source, spec: ModelSpec, preprocessor: Preprocessor, notes: list[str]) -> Any:
    base = spec.load().model
    if (source.folder / BASE_HEAD).is_file():
        restore_head(base, source.folder)
    brought = rows_in_file(base, stored_shapes(source.folder))
    if brought is not None and brought != rows_of(base):
        notes.append(f"The adapter brings embeddings of {brought} tokens; the base has {rows_of(base)}.")
        give_rows(base, brought)
    elif preprocessor.reads_text:
        notes += make_room(base, preprocessor)
    notes += origin_notes(source.folder, base)
    return load_adapter(base, source.folder)


def _preprocessor(source: Source) -> Preprocessor:
    """The tokenizer (or image processor) beside what was tuned, or else the base's.

    Raises:
        InputError: neither is there.
    """
    spec = source.spec
    files = TOKENIZER_FILES if modality_of(spec.family) == "text" else _PROCESSOR_FILES
    beside = any((source.folder / name).is_file() for name in files)
    return (spec.at(source.folder, "tuned") if beside else spec).preprocessor(base_positions(spec))


def _stored_dtype(spec: ModelSpec) -> torch.dtype:
    """The type of a checkpoint's weights, as its configuration tells; float32 where it does not."""
    config = spec.empty().config
    own = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    found = getattr(torch, own, None) if isinstance(own, str) else own
    return found if isinstance(found, torch.dtype) and found.is_floating_point else torch.float32


def _config_folder(source: Source) -> Any:
    """What makes a folder with the base's configuration: the base's own, where it lies on this machine."""

    def folder(empty: Path) -> Path:
        source.spec.empty().config.save_pretrained(empty)
        return empty

    return folder


def run_result(tuned: Path) -> Result | None:
    """The record of the run whose adapter or model a folder is; None where there is none that can be read."""
    record = tuned.parent / "result.json"
    if tuned.name not in {"adapter", "model"} or not record.is_file():
        return None
    try:
        return read_result(record)
    except InputError:
        return None
