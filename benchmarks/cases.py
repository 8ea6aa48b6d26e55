"""The adapters that the benchmarks set side by side, and the checks that equal mathematics gives equal numbers.

IA3 with all layers among its feed-forward modules multiplies each input by a vector: VeFA's mathematics, with 1 + λ for
λ. LoRA with B := W0·B is LoRFA's. OFT with the exact Cayley transform is a rotation in blocks. LoRA-FA is PEFT's LoRA
with A frozen. PEFT's methods have their defaults but for the rank: VeRA has 256 shared directions, OFT blocks of 32 and
an approximate Cayley transform.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from common import away_from_start
from peft import HRAConfig, IA3Config, LoraConfig, OFTConfig, VeraConfig, get_peft_model
from torch import Tensor, nn

from retain import LoRFAConfig, RotationConfig, VeFAConfig

Names = list[str]
Make = Callable[[Any, Names, int], Any]
Run = Callable[[Any], dict[str, Tensor]]
"""Forward and backward pass: the outputs and the gradients by name."""

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-5, torch.bfloat16: 2e-2}
"""Of ‖a − b‖ / ‖b‖. bf16 keeps 8 bits, 4e-3; a gradient adds up many such errors."""


class CaseLeftOutError(Exception):
    """A case needs what is not there; the text says what."""


def linear_names(model: nn.Module) -> Names:
    """The last names of all linear layers but an output head."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    found = {key for key, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head}
    return sorted({key.rsplit(".", 1)[-1] for key in found})


def _lora(model: Any, names: Names, rank: int, **fields: Any) -> Any:
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, **fields))


def _lora_cast_down(model: Any, names: Names, rank: int) -> Any:
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names)
    return get_peft_model(model, config, autocast_adapter_dtype=False)


def accelerated(adapted: Any) -> Any:
    """A model with PEFT's LoRA, whose layers now compute by retain's fast paths.

    Raises:
        CaseLeftOutError: this release of retain has none.
    """
    try:
        accelerate = importlib.import_module("retain.hf.adapters.accelerate").accelerate
    except (ImportError, AttributeError) as error:
        raise CaseLeftOutError(f"retain.hf.adapters.accelerate is not there ({error})") from error
    accelerate(adapted)
    return adapted


def _lora_fa(model: Any, names: Names, rank: int) -> Any:
    adapted = _lora(model, names, rank)
    for key, parameter in adapted.named_parameters():
        if "lora_A" in key:
            parameter.requires_grad_(requires_grad=False)
    return adapted


def _vefa(model: Any, names: Names, rank: int, **fields: Any) -> Any:
    del rank
    return get_peft_model(model, VeFAConfig(target_modules=names, **fields))


def _lorfa(model: Any, names: Names, rank: int) -> Any:
    return get_peft_model(model, LoRFAConfig(r=rank, lorfa_alpha=2 * rank, target_modules=names))


def _rotation(model: Any, names: Names, rank: int, **fields: Any) -> Any:
    del rank
    return get_peft_model(model, RotationConfig(target_modules=names, **fields))


def _oft_exact(model: Any, names: Names, rank: int, **fields: Any) -> Any:
    del rank
    config = OFTConfig(target_modules=names, use_cayley_neumann=False, **fields)
    return get_peft_model(model, config, autocast_adapter_dtype=next(model.parameters()).dtype != torch.float64)


def _ia3(model: Any, names: Names, rank: int) -> Any:
    del rank
    return get_peft_model(model, IA3Config(target_modules=names, feedforward_modules=names))


FROZEN, VEFA, LORFA, LORA = "frozen", "VeFA", "LoRFA", "LoRA (PEFT)"
LORA_FAST, IA3 = "LoRA (PEFT), accelerated", "IA3 feed-forward (PEFT)"
ROTATION, OFT_EXACT = "Rotation", "OFT (PEFT), exact Cayley transform"
BLOCK = 4
"""Features of a block where the two are held against each other; it divides every layer's width."""

CASES: dict[str, Make] = {
    FROZEN: lambda model, _names, _rank: model,
    VEFA: _vefa,
    "VeFA, to nearest": lambda model, names, rank: _vefa(model, names, rank, preserve_small_shifts=False),
    LORFA: _lorfa,
    ROTATION: _rotation,
    "Rotation, Kronecker": lambda model, names, rank: _rotation(model, names, rank, form="kronecker"),
    LORA: _lora,
    "LoRA (PEFT), adapter in the base's dtype": _lora_cast_down,
    LORA_FAST: lambda model, names, rank: accelerated(_lora(model, names, rank)),
    "LoRA-FA (PEFT's LoRA, A frozen)": _lora_fa,
    IA3: _ia3,
    "VeRA (PEFT)": lambda model, names, _rank: get_peft_model(model, VeraConfig(target_modules=names)),
    "OFT (PEFT)": lambda model, names, _rank: get_peft_model(model, OFTConfig(target_modules=names)),
    OFT_EXACT: _oft_exact,
    "DoRA (PEFT)": lambda model, names, rank: _lora(model, names, rank, use_dora=True),
    "HRA (PEFT)": lambda model, names, rank: get_peft_model(model, HRAConfig(r=rank, target_modules=names)),
}
SIXTEEN_BIT_ONLY = ("VeFA, to nearest", "LoRA (PEFT), adapter in the base's dtype")
"""Cases that in float32 are the same as another."""
SLOW = ("Rotation, Kronecker", "VeRA (PEFT)", "OFT (PEFT)", OFT_EXACT, "DoRA (PEFT)", "HRA (PEFT)")
OURS = (VEFA, "VeFA, to nearest", LORFA, LORA_FAST)


def made(name: str, base: nn.Module, rank: int) -> Any:
    """A copy of the base with an adapter away from its start.

    Raises:
        CaseLeftOutError: it needs what is not there.
    """
    return away_from_start(CASES[name](copy.deepcopy(base), linear_names(base), rank))


def make_all(
    base: nn.Module, rank: int, names: tuple[str, ...] = tuple(CASES)
) -> tuple[dict[str, Any], dict[str, str]]:
    """The cases for a base, and those left out with the reason."""
    found, left_out = {}, {}
    for name in names:
        if name in SIXTEEN_BIT_ONLY and next(base.parameters()).dtype == torch.float32:
            continue
        try:
            found[name] = made(name, base, rank)
        except CaseLeftOutError as error:
            left_out[name] = str(error)
        except ValueError as error:  # PEFT's: VeRA needs layers of one shape in some releases
            left_out[name] = f"PEFT refuses it for this model: {error}"
    return found, left_out


# Checks.


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest ‖a − b‖ / ‖b‖ over all that both give; infinite where they do not give the same, or nothing."""
    if not other or one.keys() != other.keys() or not all(value.any() for value in other.values()):
        return float("inf")
    each = []
    for key, b in other.items():
        norm = b.double().norm()
        each.append(float((one[key].double() - b.double()).norm() / norm.clamp_min(1e-300)))
    return max(each)


def residuals(base: nn.Module, rank: int) -> Iterator[tuple[str, Any, Any]]:
    """Pairs of adapters of different methods that have equal mathematics, given equal values."""
    vefa, ia3 = made(VEFA, base, rank), made(IA3, base, rank)
    lorfa, lora = made(LORFA, base, rank), made(LORA, base, rank)
    with torch.no_grad():
        for key, ours in vefa.named_modules():
            if hasattr(ours, "vefa_lambda"):
                vector = ia3.get_submodule(key).ia3_l["default"]
                vector.copy_((1 + ours.vefa_lambda["default"].weight).view_as(vector))
        for key, ours in lorfa.named_modules():
            if hasattr(ours, "lorfa_A"):
                theirs = lora.get_submodule(key)
                theirs.lora_A["default"].weight.copy_(ours.lorfa_A["default"].weight)
                theirs.lora_B["default"].weight.copy_(ours.base_layer.weight @ ours.lorfa_B["default"].weight)
    yield "VeFA = IA3 feed-forward, λ = l − 1", vefa, ia3
    yield "LoRFA = LoRA with B := W0·B", lorfa, lora
    names = linear_names(base)
    rotation = away_from_start(_rotation(copy.deepcopy(base), names, rank, block_size=BLOCK))
    oft = _oft_exact(copy.deepcopy(base), names, rank, r=0, oft_block_size=BLOCK)
    with torch.no_grad():
        for key, ours in rotation.named_modules():
            if hasattr(ours, "rotation_K"):
                values = oft.get_submodule(key).oft_R["default"].weight
                values.copy_(ours.rotation_K["default"].weight.view_as(values))
    yield "Rotation = OFT with the exact Cayley transform", rotation, oft


def equal_mathematics(base: nn.Module, rank: int, run: Run) -> list[dict[str, Any]]:
    """Each pair of twins in float64: what they give and the gradient of the input.

    Args:
        base: in float64.
        rank: of the adapters.
        run: gives outputs and gradients; those whose name begins with "input" or "output" are compared.
    """
    found = []
    for name, ours, theirs in residuals(base, rank):
        one, other = (
            {key: value for key, value in run(model).items() if key.startswith(("input", "output"))}
            for model in (ours, theirs)
        )
        apart = difference(one, other)
        found.append({"check": name, "difference": apart, "passed": apart <= TOLERANCE[torch.float64]})
    return found


def fused_equals_reference(base: nn.Module, rank: int, run: Run) -> list[dict[str, Any]]:
    """Each of our cases with and without retain's fused forms, in the base's precision; all outputs and gradients."""
    try:
        reference_only = importlib.import_module("retain.kernels").reference_only
    except (ImportError, AttributeError) as error:
        return [{"check": "fused = reference forms", "skipped": f"retain.kernels.reference_only is missing ({error})"}]
    dtype = next(base.parameters()).dtype
    models, left_out = make_all(base, rank, OURS)
    found: list[dict[str, Any]] = [
        {"check": f"{name}: fused = reference form", "skipped": why} for name, why in left_out.items()
    ]
    for name, model in models.items():
        fused = run(model)
        with reference_only():
            apart = difference(fused, run(model))
        check = f"{name}, {str(dtype).removeprefix('torch.')}: fused = reference form"
        found.append({"check": check, "difference": apart, "passed": apart <= TOLERANCE[dtype]})
    return found


def passed(checks: list[dict[str, Any]]) -> bool:
    """Whether no check failed; one that could not be made says so in the record and does not count."""
    return all(check.get("passed", "skipped" in check) for check in checks)
