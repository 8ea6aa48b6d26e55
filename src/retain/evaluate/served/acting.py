"""Is the adapter acting where it is served? The served model against adapter and base here, on the same texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from retain.data.tokens import Encoded
from retain.evaluate.generate import NEUTRAL, read_logits
from retain.evaluate.served.predictor import ServedPredictor
from retain.evaluate.written import read_answer
from retain.events import Events
from retain.hf.models.inference import device_of, evaluating
from retain.records.served_record import Acting, ActingCheck
from retain.served.model import LanguageModel
from retain.stats.nearer import Nearness, more_by_luck, nearness

PROMPTS = 24
"""Prompts that are read and answered."""

TOKENS = 12
"""Tokens of an answer."""

SURE = 0.01
"""Level of the exact tests."""

HALF = 0.5
"""Noise that still lets an effect be seen: half of it. It is derived from the adapter and not from a type: 16 bits,
8 bits and a good 4-bit quantisation stay below it for an adapter worth serving, and where they do not, its effect is
not what is served."""

OFF = 0.6
"""Distance from the way between base and adapter, in units of the effect, from which on something lies off it. A part
of the update, of a lower rank, lies at w on the way and √(w(1 − w)) ≤ ½ beside it, where the parts act independently;
what lies beside it by more than twice of what is missing on it is noise."""

NEXT_TO_NOTHING = 3e-3
"""Nats a token below which an effect is no larger than two programs' rounding of one model in 32 bits."""

OTHER_MODEL = 0.5
"""Distance, in standard deviations of the log-probabilities of the text itself, from which on what is read there is
another model's reading, since three quarters of what makes a token likely or not is left; twice that where the exact
test finds it nearer to the adapter all the same, as it does a coarse quantisation of it."""

FEWEST = 7
"""Prompts with which the exact test can say anything at its level: 2⁻⁷ < 1 %."""


@dataclass(frozen=True)
class Reference:
    """What a model of transformers does with prompts.

    Attributes:
        answers: the tokens that it writes to each.
    """

    answers: tuple[tuple[int, ...], ...]


def written_here(model: Any, prompts: Sequence[Encoded], ends: Sequence[int], events: Events, label: str) -> Reference:
    """The first tokens of a model's greedy answers."""
    task = events.task(label, total=len(prompts))
    answers = []
    with evaluating(model):
        for row in prompts:
            ids = torch.tensor([row.ids], device=device_of(model))
            made = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=TOKENS,
                eos_token_id=list(ends) or None,
                pad_token_id=next(iter(ends), 0),
                **NEUTRAL,
            )
            answers.append(tuple(made[0, len(row.ids) :].tolist()))
            task.advance()
    return Reference(tuple(answers))


def continued(prompts: Sequence[Encoded], *references: Reference) -> list[Encoded]:
    """Each prompt with each reference's answer, which is what is read; answers of nothing are left out."""
    return [
        Encoded((*row.ids, *answer), len(row.ids))
        for place, row in enumerate(prompts)
        for answer in dict.fromkeys(reference.answers[place] for reference in references)
        if answer
    ]


def read_here(model: Any, rows: Sequence[Encoded]) -> list[list[float]]:
    """The log-probability of each scored token in nats."""
    found = []
    with evaluating(model):
        for row in rows:
            ids = torch.tensor([row.ids], device=device_of(model))
            values = read_logits(model, ids, torch.ones_like(ids))[0, row.start - 1 : -1].double().log_softmax(-1)
            found.append(values.gather(1, ids[0, row.start :, None])[:, 0].tolist())
    return found


def check_acting(
    served: LanguageModel,
    predictor: ServedPredictor,
    prompts: Sequence[Encoded],
    base: tuple[Reference, Sequence[Sequence[float]]],
    adapter: tuple[Reference, Sequence[Sequence[float]]],
    rows: Sequence[Encoded],
) -> ActingCheck:
    """Compare a served model with base and adapter.

    Args:
        served: the model that is to be the adapter.
        predictor: asks it.
        prompts: what is answered.
        base: its answers to the prompts, and its reading of the rows.
        adapter: the same of the adapter.
        rows: prompts with answers, as `continued` makes them.
    """
    written = predictor.generate(prompts, TOKENS)
    texts = [
        [read_answer(predictor.tokenizer, answer, predictor.ends).text for answer in reference.answers]
        for reference, _ in (adapter, base)
    ]
    told = [(one, other, now.text) for one, other, now in zip(*texts, written, strict=True)]
    telling = [(one, other, now) for one, other, now in told if one != other]
    counts = {
        "prompts": len(prompts),
        "answers": len(told),
        "same_answers": sum(one == now for one, _, now in told),
        "telling": len(telling),
        "as_adapter": sum(one == now for one, _, now in telling),
        "as_base": sum(other == now for _, other, now in telling),
    }
    if served.can.likelihood is None:
        return judged_by_answers(counts)
    readings = predictor.readings(rows)
    found = nearness(*(_by_prompt(rows, read) for read in (readings, adapter[1], base[1])))
    return judged_by_readings(found, counts, sum(map(len, readings)))


def judged_by_readings(found: Nearness, counts: dict[str, int], tokens: int) -> ActingCheck:
    """The answer from log-probabilities.

    Args:
        found: where the served model lies between adapter and base.
        counts: of the written answers, by field of the record.
        tokens: that were read.
    """
    acting, sentence = _acting(found)
    written = f" {counts['same_answers']} of {counts['answers']} greedy answers are the adapter's, letter by letter."
    return ActingCheck(
        verdict=acting,
        sentence=sentence + written,
        tokens=tokens,
        effect=found.effect,
        to_adapter=found.to_first,
        to_base=found.to_second,
        share=found.share,
        rest=found.rest if math.isfinite(found.rest) else None,
        nearer_adapter=found.nearer_first,
        nearer_base=found.nearer_second,
        p_adapter=found.p_first,
        p_base=found.p_second,
        **counts,
    )


def _acting(found: Nearness) -> tuple[Acting, str]:
    kind = _kind(found)
    far = (
        f"|served − adapter| is {found.to_first:.3g} nats a token, |served − base| {found.to_second:.3g}, the "
        f"adapter's own effect {found.effect:.3g}; {found.nearer_first} prompts are nearer to the adapter, "
        f"{found.nearer_second} to the base (exact one-sided p {min(found.p_first, found.p_second):.2g})"
    )
    noise = found.to_first / found.effect if found.effect else 0.0
    sentences: dict[Acting, str] = {
        "acts": f"The adapter acts: {far}.",
        "does not act": f"The adapter does not act, the base is served: {far}.",
        "acts in part": f"The adapter acts by {found.share:.0%} of its effect: {far}. A lower rank, another scale "
        "(alpha, rslora) or another checkpoint is served.",
        "acts under noise": f"The adapter acts, under noise of {noise:.0%} of its effect: {far}. A finer quantisation "
        "keeps more of it.",
        "another model": f"What is served is neither the adapter nor its base: {far}.",
        "cannot tell": f"Whether the adapter acts cannot be told: {far}."
        + (" It changes next to nothing on these texts; give others (--test)." if _is_small(found) else ""),
    }
    return kind, sentences[kind]


def _kind(found: Nearness) -> Acting:
    off = found.rest > OFF
    to_adapter, to_base = found.p_first <= SURE, found.p_second <= SURE
    kind: Acting = "cannot tell"
    far = OTHER_MODEL * found.spread * (2 if to_adapter else 1)
    if off and min(found.to_first, found.to_second) > far:
        kind = "another model"
    elif _is_small(found):
        kind = "cannot tell"
    elif to_adapter and found.to_first <= HALF * found.effect:
        kind = "acts"
    elif to_base and (off or found.to_second <= HALF * found.effect):
        kind = "does not act"
    elif not off and 2 * abs(1 - found.share) > found.rest and found.nearer_first + found.nearer_second >= FEWEST:
        kind = "acts in part"
    elif to_adapter:
        kind = "acts under noise"
    return kind


def _is_small(found: Nearness) -> bool:
    return found.effect < NEXT_TO_NOTHING


def judged_by_answers(counts: dict[str, int]) -> ActingCheck:
    """The answer from written answers alone."""
    adapter, base, telling = counts["as_adapter"], counts["as_base"], counts["telling"]
    p_adapter, p_base = more_by_luck(adapter, base), more_by_luck(base, adapter)
    far = (
        f"of {telling} prompts that base and adapter answer differently, {adapter} are answered as by the adapter and "
        f"{base} as by the base; the server gives no log-probabilities, so answers alone tell"
    )
    acting: Acting
    if telling < FEWEST:
        acting, words = "cannot tell", "Base and adapter write the same to almost all prompts, so nothing can be told"
    elif p_adapter <= SURE and 2 * adapter >= telling:
        acting, words = "acts", "The adapter acts"
    elif p_base <= SURE and 2 * base >= telling:
        acting, words = "does not act", "The adapter does not act, the base is served"
    elif 2 * (adapter + base) < telling:
        acting, words = "another model", "What is served answers neither as the adapter nor as its base"
    else:
        acting, words = "cannot tell", "Whether the adapter acts cannot be told"
    return ActingCheck(verdict=acting, sentence=f"{words}: {far}.", p_adapter=p_adapter, p_base=p_base, **counts)


def _by_prompt(rows: Sequence[Encoded], readings: Sequence[Sequence[float]]) -> list[NDArray[np.float64]]:
    """The readings of all answers to one prompt as one: they depend on one another, and the test counts prompts."""
    together: dict[tuple[int, ...], list[float]] = {}
    for row, read in zip(rows, readings, strict=True):
        together.setdefault(row.ids[: row.start], []).extend(read)
    return [np.asarray(one, dtype=np.float64) for one in together.values()]
