"""Items in batches, and the check that a model reads an item alike whatever stands beside it.

A shorter item of a batch is filled up with padding, which a model must ignore. Attention does, by its mask; a recurrent
network that has none reads padding on the left as text, and a convolution looks into it. A batch of unequal lengths
against its items alone shows it for any model. Such a model is then given batches of one length, or single items where
even those of one length are mixed (transformers' RWKV writes otherwise in any batch).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from retain.data.batches import Batching
from retain.data.preprocess import Preprocessor, padded
from retain.evaluate.alike import differ
from retain.evaluate.encode import log_probabilities
from retain.evaluate.generate import NEUTRAL, read_logits
from retain.evaluate.input_hash import InputHash
from retain.hf.models.head import is_classifier
from retain.hf.models.inference import device_of, evaluating, padding_id

PROBES = (3, 7, 24)
"""Tokens of the rows that are read together and alone."""

WRITTEN = 3
"""Tokens that are written after each row: the first, and those that rest on what the model kept of the text."""


def batching_of(model: Any, preprocessor: Preprocessor) -> Batching:
    """The items that a language model may read together: any, only those of one length, or none.

    Args:
        model: a causal language model.
        preprocessor: its own; it says which token is padding and how many the model may read.
    """
    rows = _rows(model, preprocessor)
    if len({len(row) for row in rows}) < len(PROBES):  # the model has positions for next to nothing
        return "padded"
    if not _mixes(model, preprocessor, rows):
        return "padded"
    return "single" if _mixes(model, preprocessor, [row[: PROBES[0]] for row in rows]) else "one length"


def _mixes(model: Any, preprocessor: Preprocessor, rows: Sequence[Sequence[int]]) -> bool:
    """Tell whether a model predicts or writes otherwise for rows together than for each alone."""
    filling, few = padding_id(preprocessor.tokenizer), rows[:-1]
    together, alone = _predicted(model, rows, filling), [_predicted(model, [row], filling) for row in few]
    if differ(together, torch.cat(alone), model):
        return True
    if not getattr(model, "can_generate", lambda: False)():
        return False
    try:
        many = _written(model, rows, filling)
        ones = [_written(model, [row], filling) for row in few]
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
        return False  # a model that cannot write at all fails where it is to write, and not where it need not
    for step in range(WRITTEN):  # rows that wrote the same so far are at the same place
        same = [k for k, one in enumerate(ones) if torch.equal(many.tokens[k, :step], one.tokens[0, :step])]
        rest = [k for k in range(len(rows)) if k not in same]
        if not same:
            return False
        read = many.logits[[*same, *rest], step]
        if differ(read, torch.stack([ones[k].logits[0, step] for k in same]), model):
            return True
    return False


def _predicted(model: Any, rows: Sequence[Sequence[int]], filling: int) -> Tensor:
    """Logits (rows, words) after the last token of each row, padded on the right."""
    logits = read_logits(model, *padded(rows, filling, device=device_of(model)))
    return torch.stack([row[len(ids) - 1] for row, ids in zip(logits, rows, strict=True)]).double().cpu()


class Written(NamedTuple):
    """Tokens (rows, steps) that a model wrote, and its logits (rows, steps, words) at each."""

    tokens: Tensor
    logits: Tensor


def _written(model: Any, rows: Sequence[Sequence[int]], filling: int) -> Written:
    """The first tokens that a model writes after each row, padded on the left as in `write_answers`."""
    inputs, mask = padded(rows, filling, left=True, device=device_of(model))
    with evaluating(model):
        made = model.generate(
            input_ids=inputs,
            attention_mask=mask,
            max_new_tokens=WRITTEN,
            pad_token_id=filling,
            eos_token_id=None,
            output_logits=True,
            return_dict_in_generate=True,
            **NEUTRAL,
        )
    return Written(made.sequences[:, inputs.shape[1] :].cpu(), torch.stack(made.logits, dim=1).double().cpu())


def mixes_items(
    read: Callable[[Sequence[str], int], Tensor], preprocessor: Preprocessor, text: str, model: Any
) -> bool:
    """Tell whether a classifier or an encoder reads a text otherwise beside a longer one.

    Args:
        read: from texts and the size of a batch to a vector for each.
        preprocessor: makes the inputs.
        text: some text of the data.
        model: that is read.
    """
    short = text[: max(len(text) // 4, 1)]
    texts = [short, f"{text} {text}"]
    if len({min(length, preprocessor.room()) for length in preprocessor.lengths(texts)}) < 2:
        return False
    return differ(read(texts, 2), read([short], 1), model)


def head_batching(model: Any, preprocessor: Preprocessor, items: Sequence[Any]) -> Batching:
    """The items that a classifier may read together: any, or only those of one length; found out with the first text.

    Args:
        model: with a classification head, trained or not.
        preprocessor: makes its inputs.
        items: of the data.
    """
    if not preprocessor.reads_text or not items:
        return "padded"

    def read(texts: Sequence[str], size: int) -> Tensor:
        return log_probabilities(model, preprocessor, texts, size, lambda _: None, InputHash())

    return "one length" if mixes_items(read, preprocessor, items[0].texts[0], model) else "padded"


def training_batches_told(model: Any, preprocessor: Preprocessor, items: Sequence[Any], batch_size: int) -> list[str]:
    """A note where what a model learns from a row depends on the rows beside it, which are filled up on the right.

    Args:
        model: as it is trained.
        preprocessor: makes its inputs.
        items: that it learns.
        batch_size: rows in a batch.
    """
    if batch_size == 1 or not preprocessor.reads_text or not items:
        return []
    if is_classifier(model):
        mixed = head_batching(model, preprocessor, items) != "padded"
    else:
        rows, filling = _rows(model, preprocessor), padding_id(preprocessor.tokenizer)
        few = len({len(row) for row in rows}) < len(PROBES)
        with evaluating(model):
            alone = [_predicted(model, [row], filling) for row in rows[:-1]]
            mixed = not few and differ(_predicted(model, rows, filling), torch.cat(alone), model)
    note = (
        "This model reads a row otherwise beside a longer one (padding counts as text for it, or a batch is mixed), so "
        "what it learned from a row depends on the rows beside it; --batch-size 1 trains on each row as it is measured."
    )
    return [note] if mixed else []


def _rows(model: Any, preprocessor: Preprocessor) -> list[list[int]]:
    """Rows of unequal length, of tokens spread over the vocabulary."""
    words = int(model.get_input_embeddings().weight.shape[0])
    special = set(preprocessor.tokenizer.all_special_ids)
    generator = torch.Generator().manual_seed(0)
    ids = [int(i) for i in torch.randperm(min(words, 2**20), generator=generator)[:4096] if int(i) not in special]
    ids = ids or list(range(words))
    most = max(preprocessor.room() - WRITTEN, 1)
    lengths = [min(length, most) for length in PROBES]
    return [[ids[(7 * place + k) % len(ids)] for k in range(length)] for place, length in enumerate(lengths)]
