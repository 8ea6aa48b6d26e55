"""Self-generated text: the base writes it, so that what it knows can be kept without its old data.

Every second sequence is written freely from the token that begins a text; where the tokenizer has a chat template the
others are answers to varied prompts (`data/self_prompts.txt`), with the prompts. Both stand in one batch: a step of a
model that writes costs little more for many sequences than for few. The sampling is seeded, and the text is kept in a
file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from retain.data.preprocess import padded, padded_batches
from retain.data.tokens import cut_to, encode_question, start_ids
from retain.errors import InputError
from retain.evaluate.generate import end_tokens
from retain.events import SILENT, Events
from retain.hf.models.given import ensure_model
from retain.hf.models.inference import device_of, evaluating, padding_id
from retain.hf.models.placement import random_states_kept
from retain.hf.models.positions import UNLIMITED, Positions, positions_of
from retain.hf.models.sides import base_view
from retain.jobs.state_files import rewrite
from retain.records.manifest import changed
from retain.records.reading import parse_json
from retain.train.regularise.given_texts import given_tokenizer

VERSION = 3
"""Increased whenever the same model and seed would write another text than before."""

NEW_TOKENS = 128
SHORTEST = 8
TEMPERATURE = 1.0
TOP_P = 0.95


def generate_texts(
    model: Any,
    tokenizer: Any,
    tokens: int,
    *,
    seed: int,
    batch_size: int,
    max_length: int,
    file: Path,
    events: Events,
    positions: Positions = UNLIMITED,
) -> list[list[int]]:
    """Generate sequences of token ids, `tokens` in all; read them from `file` where they are written already.

    An interrupted generation goes on after its last batch. The same model, seed and sizes give the same text on the
    same machine.

    Args:
        model: a causal language model; adapters on it should be off.
        tokenizer: its tokenizer.
        tokens: number of tokens, prompts included; the last sequence is cut.
        seed: of the sampling.
        batch_size: sequences in a batch.
        max_length: longest sequence.
        file: JSONL of {batch, ids, text}.
        events: receives the progress.
        positions: those of the model; a prompt takes half of them at most.
    """
    rows = _rows(file)
    task = events.task("the base writes what it knows", total=tokens, done=min(tokens, _count(rows)))
    longest = max_length if positions.limit is None else min(max_length, positions.limit)
    prompts = _chat_prompts(tokenizer, max(longest // 2, 1))
    number = max((row["batch"] for row in rows), default=-1) + 1
    barren = 0
    while _count(rows) < tokens and barren < 8:
        starts = _starts(tokenizer, prompts, number, batch_size)
        room = max(longest - max(map(len, starts)), 1)
        written = _write(model, tokenizer, starts, seed * 1_000_003 + number, min(NEW_TOKENS, room))
        kept = [ids[:max_length] for ids in written if len(ids) >= SHORTEST]
        rows += [{"batch": number, "ids": ids, "text": tokenizer.decode(ids)} for ids in kept]
        barren = 0 if kept else barren + 1
        number += 1
        rewrite(file, "".join(json.dumps(row) + "\n" for row in rows))
        task.update(done=min(tokens, _count(rows)))
    return cut_to([row["ids"] for row in rows], tokens)


def self_generated(
    model: Any, tokenizer: Any, tokens: int = 16384, *, seed: int = 0, batch_size: int = 16, max_length: int = 512
) -> list[dict[str, torch.Tensor]]:
    """Batches of self-generated text for `sc_lora(…, keep=…)`, where there are no old data.

    Args:
        model: a causal language model; adapters on it are switched off meanwhile.
        tokenizer: its tokenizer.
        tokens: number of tokens, prompts included.
        seed: of the sampling.
        batch_size: sequences in a batch.
        max_length: longest sequence.

    Returns:
        `input_ids` and `attention_mask`, each int64 (B, T).

    Raises:
        InputError: what is given is no model or no tokenizer, or no token is asked for.

    Examples:
        >>> keep = retain.self_generated(base, tokenizer, tokens=64, max_length=16, seed=0)
        >>> sum(int(batch["attention_mask"].sum()) for batch in keep) <= 64
        True
    """
    model = ensure_model(model)
    tokenizer = given_tokenizer(tokenizer)
    if tokens < 1:
        raise InputError(f"tokens: {tokens}; give at least one.")
    with tempfile.TemporaryDirectory() as folder, base_view(model):
        rows = generate_texts(
            model,
            tokenizer,
            tokens,
            seed=seed,
            batch_size=batch_size,
            max_length=max_length,
            file=Path(folder) / "written.jsonl",
            events=SILENT,
            positions=positions_of(model),
        )
    return padded_batches(rows, batch_size, padding_id(tokenizer))


def _rows(file: Path) -> list[dict[str, Any]]:
    """The rows that are written already; none where one of them is damaged, for nothing is to be made up."""
    if not file.is_file() or changed(file):
        return []
    try:
        rows = [parse_json(line, str(file)) for line in file.read_bytes().splitlines()]
    except InputError:
        return []
    return rows if all(_is_row(row) for row in rows) else []


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("batch"), int) or not isinstance(row.get("ids"), list):
        return False
    return all(isinstance(token, int) and token >= 0 for token in row["ids"])


def _count(rows: list[dict[str, Any]]) -> int:
    return sum(len(row["ids"]) for row in rows)


def _chat_prompts(tokenizer: Any, max_length: int) -> list[list[int]]:
    if not getattr(tokenizer, "chat_template", None):
        return []
    lines = files("retain.data").joinpath("self_prompts.txt").read_text(encoding="utf-8").splitlines()
    try:
        return [list(encode_question(tokenizer, line, max_length).ids) for line in lines]
    except InputError:  # the template does not take one message, so all is written freely
        return []


def _starts(tokenizer: Any, prompts: list[list[int]], number: int, batch_size: int) -> list[list[int]]:
    """The beginnings of a batch: every second one is a prompt, in turn; the others hold nothing."""
    places = range(number * batch_size, (number + 1) * batch_size)
    free = start_ids(tokenizer)
    return [prompts[place // 2 % len(prompts)] if prompts and place % 2 else free for place in places]


def _write(model: Any, tokenizer: Any, starts: list[list[int]], seed: int, new_tokens: int) -> list[list[int]]:
    pad_id = padding_id(tokenizer)
    inputs, mask = padded(starts, pad_id, left=True, device=device_of(model))
    ends = end_tokens(model, tokenizer)
    with evaluating(model), random_states_kept():
        torch.manual_seed(seed)
        sequences = model.generate(
            input_ids=inputs,
            attention_mask=mask,
            max_new_tokens=new_tokens,
            do_sample=True,
            temperature=TEMPERATURE,
            top_p=TOP_P,
            top_k=0,
            num_beams=1,
            pad_token_id=pad_id,
            eos_token_id=ends or None,
        )
    return [
        start + _until_end(row, ends)
        for start, row in zip(starts, sequences[:, inputs.shape[1] :].tolist(), strict=True)
    ]


def _until_end(ids: list[int], ends: Collection[int]) -> list[int]:
    """The generated ids up to their end token, without padding."""
    for position, token in enumerate(ids):
        if token in ends:
            return ids[: position + 1]
    return ids
