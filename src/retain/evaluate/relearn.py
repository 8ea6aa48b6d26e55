"""A relearning probe: a tuned model trained a little on text that does not hold the answers, and then put back.

What was only suppressed often comes back by training on anything at all. The parameters that carry the tuning (an
adapter's, or all of a model that was tuned whole) take k steps of AdamW on windows of held-out text, without weight
decay or dropout; windows in which an old answer stands are left out, so that nothing is taught again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from retain.data.tokens import IGNORED, pad
from retain.errors import RetainError
from retain.evaluate.held_out import Window
from retain.evaluate.scores.text import contains
from retain.evaluate.suites.suite import Suite
from retain.events import Task
from retain.hf.models.describe import adapter_kind, carrying_parameters
from retain.hf.models.inference import device_of
from retain.hf.models.sides import eval_mode

WINDOWS_A_STEP = 2
"""Windows of text in a step."""

ADAPTER_RATE, WHOLE_RATE = 2e-4, 2e-5
"""Learning rates of an adapter's parameters, and of a whole model's."""


@dataclass(frozen=True)
class Probe:
    """What is trained on.

    Attributes:
        windows: of text without the answers.
        steps: how many.
        pad_id: fills up batches.
        seed: of the order of windows.
    """

    windows: Sequence[Window]
    steps: int
    pad_id: int
    seed: int = 0

    @property
    def tokens(self) -> int:
        """Tokens that are read in all steps, a window as often as it comes."""
        return sum(len(window.ids) for batch in self.batches() for window in batch)

    def batches(self) -> Iterator[list[Window]]:
        """The windows of each step: all of them in a drawn order, then again."""
        generator = torch.Generator().manual_seed(self.seed)
        order: list[int] = []
        for _ in range(self.steps):
            while len(order) < WINDOWS_A_STEP:
                order += torch.randperm(len(self.windows), generator=generator).tolist()
            yield [self.windows[place] for place in order[:WINDOWS_A_STEP]]
            del order[:WINDOWS_A_STEP]


def without_answers(windows: Sequence[Window], texts: Sequence[str], answers: Sequence[str]) -> list[Window]:
    """The windows in whose text none of some answers stands.

    Args:
        windows: of held-out text.
        texts: the text of each.
        answers: that must not be taught.
    """
    wanted = [answer for answer in dict.fromkeys(answers) if answer.strip()]
    pairs = zip(windows, texts, strict=True)
    return [window for window, text in pairs if not any(contains(text, answer) for answer in wanted)]


def answers_of(suites: Sequence[Suite]) -> list[str]:
    """The old answers of suites of what should be gone."""
    return [answer for suite in suites for item in suite.items for answer in old_answers(item)]


def rate_of(model: Any) -> float:
    """The learning rate for what carries the tuning."""
    return WHOLE_RATE if adapter_kind(model) is None else ADAPTER_RATE


@dataclass(frozen=True)
class Relearning:
    """How the probe went: its steps, the tokens read, the learning rate, windows left out since they hold answers."""

    steps: int
    tokens: int
    learning_rate: float
    left_out: int

    def notes(self) -> list[str]:
        """Sentences for the record."""
        left = f"; {self.left_out} windows in which an old answer stands were left out" if self.left_out else ""
        trained = f"{self.steps} steps of AdamW at {self.learning_rate:g} on {self.tokens:,} tokens"
        return [f"Relearning: {trained} of the held-out text{left}. The model was put back afterwards."]


def old_answers(item: Any) -> Sequence[str]:
    """The answers to an item that must not be taught: all accepted ones, or the right option; a class is none."""
    return getattr(item, "answers", ()) or ([item.right_answer] if hasattr(item, "right_answer") else [])


@contextmanager
def relearned(model: Any, probe: Probe, bar: Task) -> Iterator[Any]:
    """The model after the probe's steps; at the end it is as it was, bit for bit.

    Args:
        model: tuned; an adapter is on.
        probe: what it is trained on.
        bar: receives the progress.

    Raises:
        RetainError: what carries the tuning is not here, or is no numbers that can be trained.
    """
    parameters = carrying_parameters(model)
    if any(not p.is_floating_point() or p.device.type == "meta" for p in parameters):
        raise RetainError("relearn: the tuned weights are quantised or offloaded, so they cannot be trained here.")
    wanted = [(p, p.requires_grad, p.detach().clone()) for p in parameters]
    others = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for p, _ in others:
            p.requires_grad_(requires_grad=False)
        for p in parameters:
            p.requires_grad_()
        _train(model, parameters, probe, bar)
        yield model
    finally:
        with torch.no_grad():
            for p, _, before in wanted:
                p.copy_(before)
        for p, needed in others:
            p.grad = None
            p.requires_grad_(needed)


def _train(model: Any, parameters: Sequence[torch.nn.Parameter], probe: Probe, bar: Task) -> None:
    """The steps, on float32 copies of the parameters, so that none is lost to rounding."""
    copies = [p.detach().float().clone() for p in parameters]
    optimizer = torch.optim.AdamW(copies, lr=rate_of(model), weight_decay=0.0)
    with torch.enable_grad(), eval_mode(model):
        for batch in probe.batches():
            torch.autograd.backward(_loss(model, batch, probe.pad_id))
            for copy, p in zip(copies, parameters, strict=True):
                copy.grad = None if p.grad is None else p.grad.float()
                p.grad = None
            optimizer.step()
            with torch.no_grad():
                for copy, p in zip(copies, parameters, strict=True):
                    p.copy_(copy)
            bar.advance(1)


def _loss(model: Any, batch: Sequence[Window], pad_id: int) -> torch.Tensor:
    """Cross-entropy of the windows' tokens, in nats per token."""
    ids = [window.ids for window in batch]
    device = device_of(model)
    inputs = torch.tensor(pad(ids, pad_id), device=device)
    mask = torch.tensor(pad([[1] * len(one) for one in ids], 0), device=device)
    logits = model(input_ids=inputs, attention_mask=mask, use_cache=False).logits[:, -inputs.shape[1] :]
    labels = inputs.masked_fill(mask == 0, IGNORED)[:, 1:]
    return functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
