"""Prompts that begin alike, as chats do with a system message: a model reads the beginning once for all of them.

Each prompt then stands as beginning, filling, rest: the filling is masked, and positions are counted without it, as in
any batch that is padded on the left. Whether a model writes the same after that is found by trial.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from retain.data.preprocess import padded
from retain.evaluate.alike import KEEPS_NOTHING, differ
from retain.hf.models.describe import prepends_tokens
from retain.hf.models.inference import device_of, evaluating

FEWEST_SPARED = 512
"""Tokens that need not be read again, for which the trial is worth its price."""


@dataclass(frozen=True)
class Opening:
    """What prompts begin with.

    Attributes:
        tokens: of the beginning; none: each prompt is read whole.
        kept: what the model keeps of them, for one prompt.
    """

    tokens: tuple[int, ...] = ()
    kept: Any = None

    def inputs(self, prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> dict[str, Any]:
        """What `generate` is given: `input_ids` and `attention_mask`, int64 (B, T), and for each what was kept."""
        start = len(self.tokens)
        rest, mask = padded([prompt[start:] for prompt in prompts], pad_id, left=True, device=device)
        if not start:
            return {"input_ids": rest, "attention_mask": mask}
        before = torch.tensor(self.tokens, device=device).expand(len(prompts), start)
        kept = copy.deepcopy(self.kept)
        kept.batch_repeat_interleave(len(prompts))
        return {
            "input_ids": torch.cat([before, rest], dim=1),
            "attention_mask": torch.cat([torch.ones_like(before), mask], dim=1),
            "past_key_values": kept,
        }


WHOLE = Opening()
"""Each prompt is read from its beginning."""

TRIED = 3
"""Tokens that are written on trial: the first, and those that rest on what the model kept."""

Write = Callable[[dict[str, Any], int], Sequence[Tensor]]
"""From inputs and a number of tokens to the logits (B, V) of each token that is written."""


def shared_beginning(prompts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The tokens that all prompts begin with, and after which each has at least one of its own; none for one prompt."""
    if len(prompts) < 2:
        return ()
    rows = [tuple(prompt) for prompt in prompts]
    low, high = min(rows), max(rows)  # whatever these two share, all share
    most = min(map(len, rows)) - 1
    same = next((k for k in range(most) if low[k] != high[k]), max(most, 0))
    return low[:same]


def opening_of(model: Any, prompts: Sequence[Sequence[int]], pad_id: int, write: Write) -> Opening:
    """The opening that prompts share, where the model goes on from it as it does from whole prompts; else none.

    Args:
        model: a causal language model.
        prompts: token ids.
        pad_id: fills prompts up.
        write: writes a few tokens after each of a few prompts.
    """
    tokens = shared_beginning(prompts)
    if len(tokens) * (len(prompts) - 1) < FEWEST_SPARED or prepends_tokens(model):
        return WHOLE
    by_length = sorted(prompts, key=len)
    few = [by_length[0], by_length[-1]]
    device = device_of(model)
    try:
        with evaluating(model):
            kept = model(input_ids=torch.tensor([tokens], device=device), use_cache=True).past_key_values
        found = Opening(tokens, kept)
        shared = write(found.inputs(few, pad_id, device), TRIED)
    except KEEPS_NOTHING:
        return WHOLE
    return found if _same(shared, write(WHOLE.inputs(few, pad_id, device), TRIED), model) else WHOLE


def _same(shared: Sequence[Tensor], whole: Sequence[Tensor], model: Any) -> bool:
    """Whether the logits of each token agree, up to the first that is another one (equal logits may be a tie)."""
    for one, other in zip(shared, whole, strict=False):
        if not one.isfinite().all() or differ(one, other, model):
            return False
        if not torch.equal(one.argmax(dim=-1), other.argmax(dim=-1)):
            break
    return True
