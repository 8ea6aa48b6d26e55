"""The features of a model: its body's last hidden states, one vector an item, while the whole model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from retain.errors import InputError
from retain.hf.models.sides import root_of


def body_of(model: nn.Module, *, reads_text: bool = False) -> Any:
    """The model without its head, as transformers names it; of CLIP and SigLIP the tower for what is read."""
    root: Any = root_of(model)
    body = getattr(root, "base_model", root)
    return getattr(root, "text_model" if reads_text else "vision_model", root) if body is root else body


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean of the hidden states of each sequence over its own tokens, Σ_t m_t h_t/Σ_t m_t.

    Args:
        hidden: h (B, T, d), any floating dtype; what stands at masked positions may be anything, even NaN.
        mask: m (B, T), true or 1 where a token counts.

    Returns:
        (B, d) in the dtype of `hidden`; accumulated in float32 at least.

    Raises:
        ValueError: the shapes do not belong together, or a sequence has no token.
    """
    if hidden.ndim != 3 or hidden.shape[:2] != mask.shape:
        shapes = f"{tuple(hidden.shape)} and {tuple(mask.shape)}"
        raise ValueError(f"hidden (B, T, d) and mask (B, T) expected, got {shapes}.")
    counts = mask.bool()
    if not counts.any(dim=1).all():
        raise ValueError("a sequence without a token has no mean.")
    wide = hidden.to(torch.promote_types(hidden.dtype, torch.float32)).masked_fill(~counts.unsqueeze(-1), 0)
    return (wide.sum(dim=1) / counts.sum(dim=1, keepdim=True)).to(hidden.dtype)


def pooled(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Hidden states (B, T, d), or (B, d, H, W) of a convolutional model, as one vector an item: float32 (B, d)."""
    if hidden.ndim == 4:
        hidden = hidden.flatten(2).transpose(1, 2)
    mask = torch.ones(hidden.shape[:2], device=hidden.device) if mask is None else mask
    return mean_pool(hidden.float(), mask)


@contextmanager
def features_read(model: nn.Module, mask: Tensor | None = None, projection: Tensor | None = None) -> Iterator[Any]:
    """Let a model's next forward pass tell its features, with their gradient.

    Args:
        model: with adapters or without; not wrapped.
        mask: of the tokens (B, T), for texts.
        projection: (k, d), by which the tower's pooled output goes into the space of text (CLIP); None for the mean of
            the last hidden states.

    Yields:
        A function that gives the features (B, d), or (B, k) with a projection, once the model has run.
    """
    seen: list[Any] = []
    hook = body_of(model).register_forward_hook(lambda _module, _given, made: seen.append(made))

    def read() -> Tensor:
        made = seen[-1] if seen else None
        found = getattr(made, "last_hidden_state" if projection is None else "pooler_output", None)
        if found is None:
            what = "hidden states" if projection is None else "pooled output"
            raise InputError(f"{type(body_of(model)).__name__} gives no {what}, so its features cannot be held.")
        if projection is not None:
            if found.shape[-1] != projection.shape[-1]:
                raise InputError(
                    f"projection: of {projection.shape[-1]} numbers, and the pooled output of "
                    f"{type(body_of(model)).__name__} has {found.shape[-1]}; give that of this model "
                    "(retain.text_prototypes)."
                )
            projected: Tensor = found.float() @ projection.to(found.device).float().T
            return projected
        return pooled(found, mask)

    try:
        yield read
    finally:
        hook.remove()
