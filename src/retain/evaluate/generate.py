"""Log-likelihoods of given text, and greedy generation, of one model at a time in eval mode."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

from retain.data.batches import Batching, in_batches
from retain.data.chat_template import turn_end
from retain.data.preprocess import padded
from retain.data.tokens import IGNORED, Encoded, pad
from retain.evaluate.continuing import families, family_nll, goes_on_alike, in_family_batches
from retain.evaluate.input_hash import InputHash
from retain.evaluate.opening import WHOLE, opening_of
from retain.evaluate.scores.token_distributions import shifted_nll
from retain.evaluate.shares import ALONE, Share
from retain.evaluate.written import Extent, Written, opens, read_answer
from retain.hf.models.describe import prepends_tokens
from retain.hf.models.inference import device_of, evaluating, padding_id

NEUTRAL: dict[str, Any] = {
    "do_sample": False,
    "temperature": None,
    "top_p": None,
    "top_k": None,
    "num_beams": 1,
    "min_length": 0,
    "min_new_tokens": None,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "sequence_bias": None,
    "guidance_scale": None,
}
"""Greedy decoding and nothing else, whatever a model's own generation settings say."""

Tick = Callable[[int], None]
"""Called with the number of sequences just done, to report progress."""


def score_nll(
    model: torch.nn.Module,
    rows: Sequence[Encoded],
    pad_id: int,
    batch_size: int,
    tick: Tick = lambda _: None,
    input_hash: InputHash | None = None,
    *,
    batching: Batching = "padded",
    share: Share = ALONE,
) -> list[float]:
    """Negative log-likelihood in nats of each row's scored part, given what precedes it, summed over its tokens.

    Rows are batched by length (less padding), in the same batches for every model; the input hash covers them. Where
    rows begin alike, as the options of a question do, the beginning is read once; see `retain.evaluate.continuing`.
    `batching` says which may be together, `share` which batches this process runs.
    """
    sums: dict[int, float] = {}
    device = device_of(model)
    batches = in_batches([len(row.ids) for row in rows], batch_size, batching)
    if input_hash is not None:
        for chosen in batches:
            inputs, mask = padded([rows[index].ids for index in chosen], pad_id)
            labels = torch.tensor(pad([rows[index].labels for index in chosen], IGNORED))
            input_hash.add(input_ids=inputs, attention_mask=mask, labels=labels)

    def read(some: Sequence[Encoded]) -> list[float]:
        return _whole_nll(model, some, pad_id, device)

    alike, alone = families(rows) if batching == "padded" else ([], [])
    tokens = batch_size * max((len(row.ids) for row in rows), default=0)
    if alike and all(share.everywhere(goes_on_alike(model, alike, rows, pad_id, read, tokens))):
        batches = [[alone[k] for k in chosen] for chosen in in_batches([len(rows[k].ids) for k in alone], batch_size)]
        for place, batch in enumerate(in_family_batches(alike, tokens)):
            if share.owns(place):
                sums |= family_nll(model, batch, rows, pad_id, tokens)
            tick(sum(len(family.places) for family in batch))
    for place, chosen in enumerate(batches):
        if share.owns(place):
            sums |= dict(zip(chosen, read([rows[index] for index in chosen]), strict=True))
        tick(len(chosen))
    return share.joined(sums)


def _whole_nll(model: torch.nn.Module, rows: Sequence[Encoded], pad_id: int, device: torch.device) -> list[float]:
    """The negative log-likelihoods of one batch of rows, each read from its beginning."""
    inputs, mask = padded([row.ids for row in rows], pad_id, device=device)
    labels = torch.tensor(pad([row.labels for row in rows], IGNORED), device=device)
    first = max(min(row.start for row in rows) - 1, 0)  # no logits are needed before this position
    nll, _ = shifted_nll(read_logits(model, inputs, mask, first), labels[:, first:])
    sums: list[float] = nll.double().sum(dim=1).tolist()
    return sums


def read_logits(model: torch.nn.Module, inputs: torch.Tensor, mask: torch.Tensor, first: int = 0) -> torch.Tensor:
    """Logits (B, T − first, V) of the positions from `first` on; the output head skips the others where it can."""
    body: Any = getattr(model, "get_base_model", lambda: model)()
    length = inputs.shape[1]
    options: dict[str, Any] = {}
    if first and "logits_to_keep" in inspect.signature(body.forward).parameters and not prepends_tokens(model):
        # By index and not by number: a slice is not contiguous, and bfloat16 products of it are ten times slower.
        options["logits_to_keep"] = torch.arange(first, length, device=inputs.device)
    with evaluating(model):
        logits: torch.Tensor = model(input_ids=inputs, attention_mask=mask, use_cache=False, **options).logits
    return logits[:, first - length :]  # the last ones: an adapter may have put virtual tokens before the text


def write_answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    batch_size: int,
    tick: Tick = lambda _: None,
    input_hash: InputHash | None = None,
    *,
    extent: Extent = "whole",
    batching: Batching = "padded",
    share: Share = ALONE,
) -> list[Written]:
    """Generate each prompt's greedy continuation up to an end token or a length, and read it as an answer.

    What all prompts begin with, as a chat's system message, is read once; see `retain.evaluate.opening`.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer.
        prompts: token ids.
        max_new_tokens: longest answer.
        batch_size: prompts in a batch, of like length.
        tick: called with the number of prompts just done.
        input_hash: covers the prompts, and the tokens that end an answer: these may differ from model to model.
        extent: the part of an answer that is scored.
        batching: which items may be together.
        share: the batches that this process runs.
    """
    answers: dict[int, Written] = {}
    pad_id = padding_id(tokenizer)
    device, ends = device_of(model), end_tokens(model, tokenizer)
    if input_hash is not None and prompts:
        input_hash.add(max_new_tokens=torch.tensor(max_new_tokens), eos=torch.tensor(ends, dtype=torch.long))

    def write(inputs: dict[str, Any], tokens: int, **told: Any) -> Any:
        with evaluating(model):
            return model.generate(
                **inputs, max_new_tokens=tokens, pad_token_id=pad_id, eos_token_id=ends or None, **NEUTRAL, **told
            )

    def logits(inputs: dict[str, Any], tokens: int) -> Sequence[torch.Tensor]:
        found: Sequence[torch.Tensor] = write(inputs, tokens, output_logits=True, return_dict_in_generate=True).logits
        return found

    opening = opening_of(model, prompts, pad_id, logits) if batching == "padded" else WHOLE
    if not all(share.everywhere(bool(opening.tokens))):
        opening = WHOLE
    for place, chosen in enumerate(in_batches([len(prompt) for prompt in prompts], batch_size, batching)):
        ids = [prompts[index] for index in chosen]
        if input_hash is not None:
            inputs, mask = padded(ids, pad_id, left=True)
            input_hash.add(input_ids=inputs, attention_mask=mask)
        tick(len(chosen))
        if not share.owns(place):
            continue
        given = opening.inputs(ids, pad_id, device)
        sequences = write(given, max_new_tokens)
        for index, written in zip(chosen, sequences[:, given["input_ids"].shape[1] :].tolist(), strict=True):
            opened = opens(tokenizer, prompts[index])
            answers[index] = read_answer(tokenizer, written, ends, opened=opened, extent=extent)
    return share.joined(answers)


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end an answer: the tokenizer's, those of the model's own settings, and the chat template's."""
    own = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    given = own if isinstance(own, (list, tuple)) else [own]
    return sorted({int(token) for token in (*given, tokenizer.eos_token_id, turn_end(tokenizer)) if token is not None})
