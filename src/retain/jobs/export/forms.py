"""Make an export of opened models: each form writes its weights and gives them back as they are loaded again."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM

from retain.errors import InputError
from retain.evaluate.conversion_loss import ConversionLoss
from retain.exporting.gguf_values import rounded_lora, types_in
from retain.hf.adapters.load import load_adapter
from retain.hf.adapters.save import save_weights
from retain.hf.exporting.adapter_files import AdapterTarget, input_scales
from retain.hf.exporting.fold import fold_in_place
from retain.hf.exporting.low_rank import layer_factors
from retain.hf.exporting.merge import merge_in_place
from retain.hf.exporting.served_lora import cut_to_rank, set_lora_tensors
from retain.hf.models.inference import device_of
from retain.hf.models.sides import root_of
from retain.jobs.export.plan import Opened, Plan

Measure = Callable[[Any, str], ConversionLoss | None]
"""Tells what a converted model loses; None where nothing was given to measure it on."""

WEIGHTS = "adapter_model.safetensors"
EVERYTHING = 2**20
"""A rank that no layer has."""


@dataclass
class Made:
    """What was made.

    Attributes:
        dtype: of the weights that were written.
        rank: of a LoRA.
        weight_error: ‖ΔW − ΔW'‖ / ‖ΔW‖.
        layers: the same by layer.
        loss: on what was given to measure it on.
        model: what was written, as it is loaded; None where that was not tried.
        file: of a GGUF.
        notes: for the record.
    """

    dtype: str
    rank: int | None = None
    weight_error: float | None = None
    layers: dict[str, float] = field(default_factory=dict)
    loss: ConversionLoss | None = None
    model: Any = None
    file: str | None = None
    notes: list[str] = field(default_factory=list)


def make_form(opened: Opened, plan: Plan, place: Path, measure: Measure) -> Made:
    """Write the weights of an export into an empty folder.

    Raises:
        InputError: this update has no such form, or its values do not fit the dtype.
        ConverterError: llama.cpp's converter failed.
    """
    if plan.to != "gguf":
        return _FORMS[plan.form](opened, plan, place, measure)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".retain-") as name:
        inner = Path(name) / "model"
        inner.mkdir()
        return (_gguf_adapter if plan.gguf == "adapter" else _gguf_model)(opened, plan, place, inner, measure)


def _lora(opened: Opened, plan: Plan, place: Path, measure: Measure) -> Made:
    dtype = _dtype(plan, torch.float32)
    adapter = opened.adapter or "default"
    most = {None: None, "auto": EVERYTHING}.get(plan.rank, plan.rank)  # type: ignore[arg-type]  # an int stays
    layers = list(layer_factors(opened.model, adapter, rank=most, base=opened.base))
    layers = [one.sorted() for one in layers] if plan.rank == "auto" else layers
    own = max((one.rank for one in layers), default=0)
    rank = plan.rank if isinstance(plan.rank, int) else max(own, 1)
    target = AdapterTarget.of(opened.model, adapter, plan.base_id, opened.base)
    target.write_lora(layers, rank, place, dtype)
    converted = _on_base(opened, place)
    if plan.rank == "auto":
        rank = _smallest_rank(converted, rank, plan.max_loss or 0.0, measure)
        layers = [one.of_rank(rank) for one in layers]
        base = converted.unload()
        for path in place.iterdir():
            path.unlink()
        target.write_lora(layers, rank, place, dtype)
        converted = load_adapter(base, place)
    lost = math.sqrt(math.fsum(one.lost**2 for one in layers))
    size = math.sqrt(math.fsum(one.size**2 for one in layers))
    return Made(
        _name(dtype),
        rank,
        lost / size if size > 0 else 0.0,
        {one.name: one.lost / one.size if one.size > 0 else 0.0 for one in layers},
        measure(converted, "what the LoRA loses") if converted is not None else None,
        converted,
    )


def _smallest_rank(model: Any, largest: int, limit: float, measure: Measure) -> int:
    """The smallest rank whose loss is at most the limit, by bisection; the loss falls as the rank grows.

    Raises:
        InputError: there is nothing to measure it on, or not even the largest rank keeps the limit.
    """

    def loss(rank: int) -> float:
        with cut_to_rank(model, rank):
            found = measure(model, f"rank {rank}")
        if found is None:
            raise InputError("rank: auto needs text (or items) to measure the loss on; give --held-out-text.")
        return found.lost

    if (least := loss(largest)) > limit:
        raise InputError(
            f"rank: auto: even at rank {largest}, which holds all of the update, {least:.2g} nats are lost; raise "
            "--max-loss."
        )
    low, high = 0, largest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if loss(middle) <= limit else (middle, high)
    return high


def _ia3(opened: Opened, plan: Plan, place: Path, measure: Measure) -> Made:
    dtype = _dtype(plan, torch.float32)
    adapter = opened.adapter or "default"
    target = AdapterTarget.of(opened.model, adapter, plan.base_id)
    target.write_ia3(input_scales(opened.model, adapter), place, dtype)
    converted = _on_base(opened, place)
    loss = measure(converted, "what the IA3 loses") if converted is not None else None
    return Made(_name(dtype), loss=loss, model=converted)


def _on_base(opened: Opened, place: Path) -> Any:
    """An adapter as it is loaded onto the base again; None where the model is not ours."""
    if not opened.owned:
        return None
    base = opened.model.unload() if opened.base is None else opened.base
    opened.model = None
    return load_adapter(base, place)


def _merged(opened: Opened, plan: Plan, place: Path, measure: Measure) -> Made:
    dtype = _dtype(plan, opened.stored_dtype)
    kind, device, computed = _kind(opened)
    root, rounding = merge_in_place(_plain(opened), dtype)
    opened.model = None
    save_weights(root, place, max_shard_size=plan.shard_size)
    del root
    converted = _loaded(kind, place, computed, device, opened)
    return Made(
        _name(dtype),
        weight_error=rounding.share if rounding.size > 0 else None,
        loss=measure(converted, "what merging loses"),
        model=converted,
    )


def _folded(opened: Opened, plan: Plan, place: Path, measure: Measure) -> Made:
    dtype = _dtype(plan, opened.stored_dtype)
    kind, device, computed = _kind(opened)
    model = _plain(opened)
    model = model if root_of(model).dtype in {torch.float32, torch.float64} else model.float()
    root, done = fold_in_place(model, opened.adapter or "default")
    opened.model = None
    root.to(dtype)
    save_weights(root, place, max_shard_size=plan.shard_size)
    del root, model
    converted = _loaded(kind, place, computed, device, opened)
    loss = measure(converted, "what folding loses")
    told = f"Folded {done[0]}" + (f", and {len(done) - 1} more layers alike." if done[1:] else ".") if done else ""
    return Made(_name(dtype), loss=loss, model=converted, notes=[told] if told else [])


_FORMS = {"lora": _lora, "ia3": _ia3, "merged": _merged, "folded": _folded}


def _gguf_model(opened: Opened, plan: Plan, place: Path, inner: Path, measure: Measure) -> Made:
    device, computed = _kind(opened)[1:]
    stored = opened.stored_dtype if plan.outtype == "auto" else torch.float32
    root, _ = merge_in_place(_plain(opened), _dtype(plan, stored))
    opened.model = None
    save_weights(root, inner, max_shard_size=plan.shard_size)
    del root
    _save_preprocessor(opened, inner)
    assert plan.llama_cpp is not None  # noqa: S101 -- found before
    file = f"model-{plan.outtype}.gguf"
    plan.llama_cpp.convert_model(inner, place / file, plan.outtype)
    made = Made(types_in(place / file), file=file)
    try:
        converted: Any = AutoModelForCausalLM.from_pretrained(place, gguf_file=file, dtype=computed).to(device).eval()
    except (ValueError, OSError, KeyError, NotImplementedError, RuntimeError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        made.notes.append(f"The loss of this GGUF was not measured: transformers reads none of this kind ({reason}).")
        return made
    made.model, made.loss = converted, measure(converted, "what the GGUF loses")
    return made


def _gguf_adapter(opened: Opened, plan: Plan, place: Path, inner: Path, measure: Measure) -> Made:
    assert plan.llama_cpp is not None  # noqa: S101 -- found before
    base = inner.with_name("base")
    base.mkdir()
    if opened.config_folder is not None:
        base = opened.config_folder(base)
    if not (base / "config.json").is_file():
        root: Any = root_of(opened.model)
        root.config.save_pretrained(base)
    _save_preprocessor(opened, base)
    made = _lora(opened, plan, inner, lambda *_: None) if plan.rank != "auto" else _lora(opened, plan, inner, measure)
    file = f"adapter-{plan.outtype}.gguf"
    plan.llama_cpp.convert_adapter(inner, base, place / file, plan.outtype)
    made.file = file
    tensors, kinds = rounded_lora(place / file, load_file(inner / WEIGHTS))
    made.dtype = kinds
    if made.model is not None:
        set_lora_tensors(made.model, tensors)
        made.loss = measure(made.model, "what the GGUF loses")
    return made


def _save_preprocessor(opened: Opened, place: Path) -> None:
    if opened.preprocessor is not None:
        opened.preprocessor.save(place)


def _kind(opened: Opened) -> tuple[Any, torch.device, torch.dtype]:
    root: Any = root_of(opened.model)
    return type(root), device_of(root), root.dtype


def _plain(opened: Opened) -> Any:
    """The tuned model on an unquantised base."""
    if opened.plain is None:
        return opened.model
    opened.model = None
    return opened.plain()


def _loaded(kind: Any, place: Path, dtype: torch.dtype, device: torch.device, opened: Opened) -> nn.Module:
    """A model as it was written, in the type in which the tuned one was computed."""
    loaded: nn.Module = kind.from_pretrained(place, dtype=dtype, trust_remote_code=opened.trust_remote_code)
    return loaded.to(device).eval()


def _dtype(plan: Plan, own: Any) -> torch.dtype:
    found: torch.dtype = (own or torch.float32) if plan.dtype == "auto" else getattr(torch, plan.dtype)
    return found


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
