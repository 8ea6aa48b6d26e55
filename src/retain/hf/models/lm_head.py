"""The head of a language model, and its inputs where the logits are just those times a matrix.

There a loss can be computed from the inputs of the head, without logits for every token of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.loss.loss_utils import ForCausalLMLoss

from retain.errors import InputError
from retain.hf.models.describe import prepends_tokens
from retain.hf.models.sides import eval_mode, root_of

ReadHead = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Computes one value from the head's inputs (B, T, d), its weight (V, d) and its bias (V,)."""


def head_of(model: nn.Module) -> Any:
    """The layer that makes logits, as transformers names it; None for a model without one.

    A model of own code may fail to name one, or name a bare weight.
    """
    root: Any = root_of(model)
    try:
        head = root.get_output_embeddings() if hasattr(root, "get_output_embeddings") else None
    except (NotImplementedError, AttributeError):
        return None
    return head if isinstance(head, nn.Module) else None


def head_stands_apart(model: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Tell whether the model's logits are its body's last hidden states times a plain matrix, and nothing else.

    This fails with an adapter on the head, a quantised head, and a head before or after which the model scales or caps
    (Gemma 2, Cohere, Granite, T5). The model is run once to find out: the inputs of its head must be the outputs of its
    body, the outputs of its head must be the product, and the model's own logits must equal these.

    Args:
        model: with adapters or without.
        inputs: one batch on the model's device.
    """
    head = head_of(model)
    is_matrix = type(head) is nn.Linear and type(head.weight.data) is Tensor and head.weight.device.type != "meta"
    if not is_matrix or prepends_tokens(model):
        return False
    seen: list[tuple[Tensor, Tensor]] = []
    watcher = head.register_forward_hook(lambda _, given, made: seen.append((given[0], made)))
    try:
        with torch.no_grad(), eval_mode(model):
            logits = logits_of(model, inputs)
            hidden = hidden_states(model, inputs)
    finally:
        watcher.remove()
    if len(seen) != 1 or seen[0][0].shape != hidden.shape or seen[0][1].shape != logits.shape:
        return False
    read, made = seen[0]
    return (
        bool(torch.equal(logits.to(made.device).float(), made.float()))
        and _close(hidden, read)
        and _close(nn.functional.linear(read.to(head.weight.dtype), head.weight, head.bias), made)
    )


def shifts_labels(model: nn.Module) -> bool:
    """Tell whether the model's own loss is transformers' for causal language models, and nothing is added to it.

    This fails for encoder-decoders, for models with a loss of their own, and for mixtures of experts that add their
    routers' loss.
    """
    root: Any = root_of(model)
    config = getattr(root, "config", None)
    parts = [config, getattr(config, "text_config", None)]
    return (
        getattr(root, "loss_function", None) is ForCausalLMLoss
        and not getattr(config, "is_encoder_decoder", False)
        and not any(getattr(part, "output_router_logits", False) for part in parts)
    )


def is_compiled(model: nn.Module) -> bool:
    """Tell whether a model, or a part of it, is compiled: `torch.compile` does not see hooks that come and go."""
    return any(hasattr(part, "_orig_mod") or vars(part).get("_compiled_call_impl") for part in model.modules())


def without_logits(model: nn.Module, inputs: Mapping[str, Tensor], read: ReadHead) -> Tensor:
    """Run a model, and give the inputs of its head to a function; the head itself multiplies nothing.

    The full model runs, with its adapters' hooks, its precision and its mode; in place of the hidden states the
    head gets none of them, (B, 0, d), so that the model's logits are empty. Only where `head_stands_apart`.

    Args:
        model: with adapters or without.
        inputs: one batch on the model's device, without labels.
        read: called once, with the head's inputs (B, T, d), its weight (V, d) and its bias, while the model runs.

    Returns:
        The value of `read`.

    Raises:
        InputError: the head was not used once.
    """
    made: list[Tensor] = []

    def instead(head: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        made.append(read(given[0], head.weight, head.bias))
        return (given[0][:, :0], *given[1:])

    watcher = head_of(model).register_forward_pre_hook(instead)
    try:
        model(**inputs)
    finally:
        watcher.remove()
    if len(made) != 1:
        raise InputError(
            f"{type(root_of(model)).__name__} used its head {len(made)} times in one pass, so its inputs are not "
            "clear; train with the model's own loss."
        )
    return made[0]


def hidden_states(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """The body's last hidden states (B, T, d)."""
    root: Any = root_of(model)
    states: Tensor = root.base_model(**inputs, **_uncached(root)).last_hidden_state
    return states


def logits_of(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """The model's logits (B, classes) or (B, T, V).

    Raises:
        InputError: it gives none of this form.
    """
    logits: Tensor | None = getattr(model(**inputs, **_uncached(root_of(model))), "logits", None)
    if logits is None or logits.ndim not in {2, 3}:
        raise InputError(
            f"{type(root_of(model)).__name__} gives no logits of the form (items, classes) or (items, tokens, "
            "vocabulary), so base and tuned predictions cannot be compared; use a causal language model or a "
            "classifier."
        )
    return logits


def _uncached(root: Any) -> dict[str, bool]:
    return {"use_cache": False} if getattr(root, "can_generate", lambda: False)() else {}


def _close(one: Tensor, other: Tensor) -> bool:
    """Equal but for rounding, which is coarse under 16 bits."""
    coarse = torch.is_autocast_enabled(one.device.type) or other.dtype.itemsize < 4
    one, other = one.float(), other.float().to(one.device)
    return bool((one - other).norm() <= (1e-2 if coarse else 1e-5) * other.norm())
