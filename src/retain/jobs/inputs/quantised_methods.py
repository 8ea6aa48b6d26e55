"""Methods beside quantised and offloaded bases: each is tried on a tiny model of that kind before any is loaded.

Which of PEFT's methods runs, trains and switches off beside which quantisation is nowhere written down, and changes
with each release. A model of one layer tells in half a second.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.quantizers.auto import AutoHfQuantizer, AutoQuantizationConfig

from retain.errors import RetainError
from retain.evaluate.pair import carries_base
from retain.hf.adapters.attach import attach
from retain.hf.adapters.copied import copy_adapter
from retain.hf.models.inference import evaluating
from retain.hf.models.placement import current_device, random_states_kept, resolved
from retain.hf.models.quantization import prepared
from retain.hf.models.sides import base_view
from retain.hf.scaling import keeps_its_form
from retain.methods import lookup
from retain.methods.initialisations.adapter import sc_lora

NAMING = frozenset({
    "target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern", "rank_pattern",
    "alpha_pattern", "target_parameters", "trainable_token_indices", "feedforward_modules", "layer_replication",
    "ensure_weight_tying",
})  # fmt: skip
"""Fields that name parts of the user's model, which the tiny one has not."""

LARGEST_RANK = 8

OFFLOADED = "offloaded"
"""In place of a quantisation: weights on disk."""

ALIKE = 0.9
"""Least cosine of an adapter's effects on the quantised and on the plain model. Of PEFT's methods that compute with the
stored weight as if it were W0, HRA has .43 and PEANuT .76 beside 8 bits; all others have .95 and more."""


def method_problem(name: str, fields: Mapping[str, Any], quantization: Any, *, scaled: bool = False) -> str | None:
    """The reason why a method cannot be trained beside a base that is quantised so; None where it can.

    Args:
        name: the method, which is known.
        fields: its fields, which are right.
        quantization: a configuration of transformers.
        scaled: whether its update may have to be scaled back, and so be written by itself.
    """
    if name == "full":
        return (
            "method full: quantised weights cannot be trained; leave out --quantization (or give an unquantised "
            "checkpoint), or train an adapter."
        )
    if lookup.is_sparse(name):
        return (
            "method sparse: the weights of a quantised base are codes, whose entries cannot be trained by themselves; "
            "take lora, sc-lora, vefa or lorfa, or leave the base unquantised."
        )
    if AutoHfQuantizer.from_config(quantization, pre_quantized=True).requires_calibration:
        return None  # a tiny model cannot be quantised so; what PEFT refuses is told as it is attached
    found = _trial(name, fields, quantization, scaled=scaled)
    return found and (
        f"method {name}: does not work beside a base in {_kind(quantization)} ({found[:200]}); take another method "
        "(lora, sc-lora, vefa and lorfa do), or leave the base unquantised."
    )


def offload_problem(name: str, fields: Mapping[str, Any]) -> str | None:
    """The reason why a method cannot be trained beside weights that are offloaded; None where it can.

    Args:
        name: the method, which is known.
        fields: its fields, which are right.
    """
    if name == "full":
        return (
            "method full: weights that are offloaded to memory or disk cannot be trained; train an adapter, or leave "
            "--device-map out."
        )
    if lookup.is_sparse(name):
        return (
            "method sparse: it changes entries of the base's weights, which are not in place where they are offloaded; "
            "take lora, sc-lora, vefa or lorfa, or a device map that offloads nothing."
        )
    found = _trial(name, fields, OFFLOADED, scaled=False)
    return found and (
        f"method {name}: does not work beside weights that are offloaded to memory or disk ({found[:200]}); take "
        "another method (lora, sc-lora, vefa and lorfa do), --quantization 4bit, or a device map that offloads nothing."
    )


def _trial(name: str, fields: Mapping[str, Any], base: Any, *, scaled: bool) -> str | None:
    """What goes wrong with a method beside such a base, and not beside a plain one; None if nothing does."""
    with random_states_kept(), warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")  # they are told where the user's own model is trained
        torch.manual_seed(0)
        LlamaForCausalLM(_CONFIG).save_pretrained(folder)
        found = _fault(name, fields, folder, base, scaled=scaled)
        if found and _fault(name, fields, folder, None, scaled=scaled):
            return None  # it is not the base: the tiny model is too small for these fields, or they are wrong
    return found


_REFUSALS = (
    RuntimeError, TypeError, ValueError, KeyError, AttributeError, NotImplementedError, ImportError, IndexError,
    AssertionError,
)  # fmt: skip
"""What PEFT and the libraries that quantise raise where the two do not fit."""


def _kind(quantization: Any) -> str:
    if getattr(quantization, "load_in_4bit", False):
        return f"4 bits ({quantization.bnb_4bit_quant_type})"
    return "8 bits" if getattr(quantization, "load_in_8bit", False) else type(quantization).__name__


def _fault(name: str, fields: Mapping[str, Any], folder: str, quantization: Any, *, scaled: bool) -> str | None:
    """What goes wrong with a method on the tiny model, plain where there is no quantisation; None if nothing does."""
    try:
        return _tried(name, dict(fields), folder, quantization, scaled=scaled)
    except (RetainError, *_REFUSALS) as error:
        text = " ".join(str(error).split())
        return text.partition(f"method {name}: ")[2] or text or type(error).__name__


def _tried(name: str, fields: dict[str, Any], folder: str, quantization: Any, *, scaled: bool) -> str | None:
    """Attach, train two steps, switch off, and compare with the plain model; what went wrong, or None."""
    own = {key: value for key, value in fields.items() if key not in NAMING}
    base = _loaded(folder, quantization)
    ids = torch.randint(2, 60, (2, 6), generator=torch.Generator().manual_seed(1)).to(base.device)
    before = _logits(base, ids)
    model = _attached(base, name, own, {"input_ids": ids})
    if scaled and quantization is not None and (form := keeps_its_form(model)) is not None:
        return f"with a budget its update would have to be merged, {form}"
    if fault := _steps(model, ids):
        return fault
    _disturb(model)
    tuned = _logits(model, ids)
    if carries_base(model):
        with base_view(model):
            if not torch.allclose(_logits(model, ids), before, rtol=1e-3, atol=1e-3):
                return "switched off, it is not its base"
    if quantization is None or lookup.is_data_driven(name):
        return None
    return _unlike(tuned - before, _effect_on_plain(model, name, own, folder, ids))


def _steps(model: Any, ids: Tensor) -> str | None:
    """Train two steps; what went wrong, or None."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.05)
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        if not torch.isfinite(loss):
            return "its loss is not finite"
        optimizer.step()
    reached = any(p.grad is not None and bool(p.grad.any()) for p in trained)
    return None if reached else "no gradient reaches it"


@torch.no_grad()
def _disturb(model: Any) -> None:
    """Move what is trained so far that the effect stands out of the noise of quantised products."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(0.1 * torch.randn(parameter.shape).to(parameter))


def _effect_on_plain(model: Any, name: str, fields: dict[str, Any], folder: str, ids: Tensor) -> Tensor:
    """What the adapter that was just trained does to the logits of the unquantised model."""
    plain = _loaded(folder, None)
    before = _logits(plain, ids)
    twin = _attached(plain, name, fields, {"input_ids": ids})
    copy_adapter(model, twin)
    return _logits(twin, ids) - before


def _unlike(effect: Tensor, plain: Tensor) -> str | None:
    """A sentence where an adapter does something else on the quantised model than on the plain one."""
    alike = float(torch.nn.functional.cosine_similarity(effect.flatten(), plain.flatten(), dim=0))
    return None if alike > ALIKE else f"what it does there is not what it does on the plain model (cosine {alike:.2f})"


def _attached(base: Any, name: str, fields: dict[str, Any], batch: dict[str, Tensor]) -> Any:
    if "r" in fields and isinstance(fields["r"], int):
        fields["r"] = min(fields["r"], LARGEST_RANK)
    if not lookup.is_data_driven(name):
        return attach(base, name, fields)
    texts = {text: [batch] for text in lookup.calibration(name)}
    config = lookup.initialisation_config(name, {"r": LARGEST_RANK, **fields})
    return sc_lora(base, config, learn=texts.get("learn"), keep=texts.get("keep"))


def _logits(model: Any, ids: Tensor) -> Tensor:
    with evaluating(model):
        logits: Tensor = model(input_ids=ids).logits
        return logits.float()


def _loaded(folder: str, quantization: Any) -> Any:
    """The tiny model, quantised or offloaded as the base will be; or plain."""
    if quantization is None:
        return LlamaForCausalLM.from_pretrained(folder).to(current_device()).eval()
    if quantization is OFFLOADED:
        places = resolved({"": str(current_device()), "model.layers": "disk"}, LlamaForCausalLM(_CONFIG))
        return LlamaForCausalLM.from_pretrained(folder, device_map=places).eval()
    again = AutoQuantizationConfig.from_dict(quantization.to_dict())  # quantisers write into theirs
    places = {"": current_device()}
    return prepared(LlamaForCausalLM.from_pretrained(folder, quantization_config=again, device_map=places)).eval()


_CONFIG = LlamaConfig(
    hidden_size=128,
    intermediate_size=128,
    num_hidden_layers=1,
    num_attention_heads=4,
    vocab_size=64,
    max_position_embeddings=16,
    initializer_range=0.1,
)
"""A model of one layer, of sizes that blocks and ranks divide."""
