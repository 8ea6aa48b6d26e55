"""What a served side of a measurement was, and whether the adapter acts there."""

from __future__ import annotations

from typing import Literal

from retain.records.base import Record

Acting = Literal["acts", "acts in part", "acts under noise", "does not act", "another model", "cannot tell"]
"""The answer to whether an adapter acts where it is served:

acts              the served model reads and writes as the adapter does here, to within half of the adapter's effect
acts in part      it lies on the line between base and adapter, at another place: a lower rank, another scale
acts under noise  it is nearer to the adapter than to the base, but coarser than half of the adapter's effect
does not act      it is the base
another model     it is neither
cannot tell       the adapter changes too little on these texts, or the texts are too few
"""

ALIKE_WHERE_SERVED = ("preprocessor_hash", "input_hash")
"""The conditions in which two sides must agree of which one is served: it runs elsewhere, on purpose."""


class ActingCheck(Record):
    """The served model against base and adapter in transformers, on the same texts.

    `effect`, `to_adapter` and `to_base` are root mean squares over tokens of the differences of log-probabilities, in
    nats: |adapter − base|, |served − adapter|, |served − base|. `share` is how far along the way from base to adapter
    the served model lies (1: the adapter, 0: the base), `rest` what is left off that way, in units of the effect.
    `nearer_adapter` and `nearer_base` count prompts, `p_adapter` and `p_base` are one-sided exact binomial tests of
    each against the other. `same_answers` of `answers` greedy answers are the adapter's, letter by letter; of
    `telling` prompts, where base and adapter answer differently, `as_adapter` were answered as by the adapter and
    `as_base` as by the base. Figures in nats are null where the server gives no likelihoods.
    """

    verdict: Acting
    sentence: str
    prompts: int
    tokens: int = 0
    effect: float | None = None
    to_adapter: float | None = None
    to_base: float | None = None
    share: float | None = None
    rest: float | None = None
    nearer_adapter: int = 0
    nearer_base: int = 0
    p_adapter: float = 1.0
    p_base: float = 1.0
    answers: int = 0
    same_answers: int = 0
    telling: int = 0
    as_adapter: int = 0
    as_base: int = 0


class ServedSide(Record):
    """One served side: where it was, what it said of itself, and how it was asked.

    `address` and `model` name it, `server` and `fingerprint` are its own words. `likelihood` and `writing` say how the
    log-probabilities of given text and the answers were had; `context` how many tokens it takes. `cautions` are
    differences to what the model's own files say: its template, its tokenizer, its counts.
    """

    address: str
    model: str
    server: str = ""
    fingerprint: str = ""
    likelihood: str = ""
    writing: str = ""
    context: int | None = None
    cautions: tuple[str, ...] = ()
