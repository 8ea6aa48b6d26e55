"""What merging an adapter into a quantised base loses of its effect, on the user's own held-out text.

A merged weight has to be quantised again, and an update that is smaller than a step of the quantisation is rounded
away. Two divergences tell: of the tuned model from its base, which is the effect, and of the merged model from the
tuned one, which is what merging changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from retain.data.preprocess import Preprocessor
from retain.evaluate.held_out import read_windows, windows_of
from retain.evaluate.pair import Pair
from retain.evaluate.suites.suite import Settings
from retain.events import Events
from retain.hf.models.inference import padding_id

ADVICE = (
    "Serve the adapter on its base as it is, which loses nothing; or merge it into the unquantised base and serve that "
    "unquantised, which rounds no update away."
)
"""What to do instead of merging into a quantised base."""

HARMLESS = 0.05
"""A divergence of a merged model below this share of the effect is told as small."""


@dataclass(frozen=True)
class MergeLoss:
    """Two divergences on held-out text, in nats per token.

    Attributes:
        effect: KL(base ‖ tuned), the adapter's effect.
        lost: KL(tuned ‖ merged), what merging changed.
        tokens: predicted tokens that both are means over.
    """

    effect: float
    lost: float
    tokens: int

    @property
    def share(self) -> float:
        """What merging changed, as a share of the effect; above 1 it changed more than the adapter did."""
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


def merge_loss(
    pair: Pair, merged: Any, preprocessor: Preprocessor, texts: Mapping[str, str], settings: Settings, events: Events
) -> MergeLoss | None:
    """Measure what a merged model lost; None where there is no held-out text, or the model reads none.

    Args:
        pair: base and tuned model, not merged.
        merged: the model that the adapter was merged into.
        preprocessor: reads for all three.
        texts: held-out text by domain.
        settings: how it is read.
        events: receives the progress.
    """
    if not texts or not preprocessor.reads_text:
        return None
    windows, pad_id = windows_of(preprocessor, texts, settings), padding_id(preprocessor.tokenizer)
    effect = read_windows(pair, windows, pad_id, events, "the effect that is merged")
    lost = read_windows(Pair(merged, pair.tuned_model), windows, pad_id, events, "what merging lost of it")
    tokens = sum(effect.tokens)
    return MergeLoss(sum(effect.kl) / tokens, sum(lost.kl) / tokens, tokens) if tokens else None
