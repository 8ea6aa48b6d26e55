"""What a conversion loses of an adapter's effect, on the user's own held-out text: merging, truncating, rounding.

Two divergences tell: of the tuned model from its base, which is the effect, and of the converted model from the tuned
one, which is what the conversion changed. The tuned model's logits are kept in a file meanwhile, in the dtype that it
gives them in, so that the two models need not be in memory together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from retain.data.item import DataItem
from retain.data.preprocess import Preprocessor
from retain.data.tokens import IGNORED, pad
from retain.evaluate.generate import read_logits
from retain.evaluate.held_out import WINDOWS_AT_ONCE, windows_of
from retain.evaluate.pair import Pair
from retain.evaluate.scores.token_distributions import churn, kl, shifted_nll
from retain.evaluate.suites.suite import Settings
from retain.events import Events
from retain.hf.models.inference import device_of, evaluating, padding_id
from retain.hf.models.lm_head import logits_of

ADVICE = (
    "Serve the adapter on its base as it is, which loses nothing; or merge it into the unquantised base and serve that "
    "unquantised, which rounds no update away."
)
"""What to do instead of merging into a quantised base."""

HARMLESS = 0.05
"""A divergence of a converted model below this share of the effect is told as small."""


@dataclass(frozen=True)
class ConversionLoss:
    """Divergences of three models on held-out text, in nats per token (of a classifier: per item).

    Attributes:
        effect: KL(base ‖ tuned), the adapter's effect.
        lost: KL(tuned ‖ converted), what the conversion changed.
        nats: cross-entropy of the converted model less that of the tuned one; None for a classifier.
        churn: share of positions at which the most likely prediction changed.
        tokens: predictions that all of them are means over.
        unit: what one prediction is of.
    """

    effect: float
    lost: float
    nats: float | None
    churn: float
    tokens: int
    unit: str = "token"

    @property
    def share(self) -> float:
        """What the conversion changed, as a share of the effect; above 1 it changed more than the adapter did."""
        return self.lost / self.effect if self.effect > 0 else float("inf") if self.lost > 0 else 0.0

    def sentence(self, into: str) -> str:
        """The loss in words.

        Args:
            into: what was merged into, as "the unquantised base, which is quantised anew as it is loaded".
        """
        judged = "a small part of it" if self.share <= HARMLESS else f"{self.share:.0%} of it"
        told = (
            f"The earlier adapter was merged into {into}. On {self.tokens:,} tokens of held-out text its effect, "
            f"KL(base ‖ tuned), is {self.effect:.2g} nats per token, and merging changed, KL(tuned ‖ merged), "
            f"{self.lost:.2g}: {judged}."
        )
        return told if self.share <= HARMLESS else f"{told} {ADVICE}"


class ReadBatch(NamedTuple):
    """Inputs of a model, and which of its predictions count.

    Attributes:
        inputs: the arguments of its forward.
        labels: token ids (B, T), IGNORED where nothing is predicted; None for a classifier, of which every row counts.
    """

    inputs: Mapping[str, Tensor]
    labels: Tensor | None = None


def text_batches(preprocessor: Preprocessor, texts: Mapping[str, str], settings: Settings) -> list[ReadBatch]:
    """Windows of held-out text as a language model reads them."""
    windows = windows_of(preprocessor, texts, settings)
    pad_id = padding_id(preprocessor.tokenizer)
    found = []
    for start in range(0, len(windows), WINDOWS_AT_ONCE):
        ids = [window.ids for window in windows[start : start + WINDOWS_AT_ONCE]]
        inputs, mask = torch.tensor(pad(ids, pad_id)), torch.tensor(pad([[1] * len(row) for row in ids], 0))
        labels = inputs.masked_fill(mask == 0, IGNORED)
        found.append(ReadBatch({"input_ids": inputs, "attention_mask": mask}, labels))
    return found


def item_batches(preprocessor: Preprocessor, items: Sequence[DataItem], size: int) -> list[ReadBatch]:
    """Items as a classifier reads them."""
    return [ReadBatch(preprocessor.batch(items[start : start + size])) for start in range(0, len(items), size)]


class Reference:
    """The tuned model's predictions on some batches, kept in a folder.

    Args:
        folder: holds a file for each batch.
        batches: what was read.
        effect: KL(base ‖ tuned), a mean over all that counts.
    """

    def __init__(self, folder: Path, batches: Sequence[ReadBatch], effect: float) -> None:
        self._folder, self._batches, self.effect = folder, batches, effect

    def loss_of(self, converted: Any, events: Events, label: str) -> ConversionLoss:
        """Read the same batches with a converted model, and tell what differs."""
        sums = _Sums()
        bar = events.task(label, total=len(self._batches))
        with evaluating(converted):
            for number, batch in enumerate(self._batches):
                tuned = load_file(_file(self._folder, number))["logits"]
                sums.add(tuned, _predictions(converted, batch).cpu(), batch.labels)
                bar.advance()
        is_text = any(batch.labels is not None for batch in self._batches)
        return ConversionLoss(
            self.effect,
            sums.kl / sums.count,
            sums.nats / sums.count if is_text else None,
            sums.churn / sums.count,
            sums.count,
            "token" if is_text else "item",
        )


@contextmanager
def kept_predictions(pair: Pair, batches: Sequence[ReadBatch], events: Events, label: str) -> Iterator[Reference]:
    """Read batches with base and tuned model, and keep the tuned one's logits in a temporary folder inside."""
    base = pair.tuned_model if pair.separate_base is None else pair.separate_base
    with tempfile.TemporaryDirectory(prefix="retain-") as name:
        folder, sums = Path(name), _Sums()
        bar = events.task(label, total=len(batches))
        with evaluating(base), evaluating(pair.tuned_model):
            for number, batch in enumerate(batches):
                with pair.base() as model:
                    before = _predictions(model, batch).cpu()
                with pair.tuned() as model:
                    after = _predictions(model, batch).cpu()
                sums.add(before, after, batch.labels)
                save_file({"logits": after.contiguous()}, _file(folder, number))
                bar.advance()
        yield Reference(folder, batches, sums.kl / max(sums.count, 1))


def conversion_loss(
    pair: Pair, converted: Any, preprocessor: Preprocessor, texts: Mapping[str, str], settings: Settings, events: Events
) -> ConversionLoss | None:
    """Measure what a converted model lost; None where there is no held-out text, or the model reads none.

    Args:
        pair: base and tuned model.
        converted: the model that was made of the tuned one.
        preprocessor: reads for all three.
        texts: held-out text by domain.
        settings: how it is read.
        events: receives the progress.
    """
    if not texts or not preprocessor.reads_text:
        return None
    batches = text_batches(preprocessor, texts, settings)
    if not batches:
        return None
    with kept_predictions(pair, batches, events, "the effect that is merged") as reference:
        return reference.loss_of(converted, events, "what merging lost of it")


@dataclass
class _Sums:
    kl: float = 0.0
    nats: float = 0.0
    churn: float = 0.0
    count: int = 0

    def add(self, one: Tensor, other: Tensor, labels: Tensor | None) -> None:
        common = min(one.shape[-1], other.shape[-1])  # a side may have rows for tokens that the other does not have
        one, other = one[..., :common], other[..., :common]
        if labels is None:
            one, other = one.unsqueeze(1), other.unsqueeze(1)
            mask = torch.ones(one.shape[:2], dtype=torch.bool)
        else:
            before, mask = shifted_nll(one, labels)
            after, _ = shifted_nll(other, labels)
            self.nats += float(((after - before).double() * mask).sum())
            one, other = one[:, :-1], other[:, :-1]
        self.kl += float((kl(one, other).double() * mask).sum())
        self.churn += float((churn(one, other) & mask).sum())
        self.count += int(mask.sum())


def _predictions(model: Any, batch: ReadBatch) -> Tensor:
    inputs = {name: value.to(device_of(model)) for name, value in batch.inputs.items()}
    if batch.labels is None:
        if "pixel_values" in inputs:
            inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
        return logits_of(model, inputs)
    return read_logits(model, inputs["input_ids"], inputs["attention_mask"])


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"
