"""The texts that a server is looked at with, before anything is measured: a probe, and prompts like the items'."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from retain.data.preprocess import Preprocessor
from retain.data.tokens import Encoded, encode_prompt, encode_question
from retain.evaluate.served.looks import Looked, look
from retain.evaluate.suites.suite import Suites
from retain.served.explore import Probe
from retain.served.model import ServedModel

PROBE_TOKENS = 24
"""Tokens of the text that a server is looked at with."""


def probe_of(preprocessor: Preprocessor, suites: Suites) -> Probe:
    """The text that tells a server and its model from others: of the items, or of a list; as tokens, text and message.

    Args:
        preprocessor: the base's.
        suites: what is measured.
    """
    tokenizer = preprocessor.tokenizer
    texts = [text for item in suites.measured_items[:4] for text in item.texts]
    texts += files("retain.data").joinpath("self_prompts.txt").read_text(encoding="utf-8").splitlines()[:2]
    ids = tokenizer.encode(" ".join(texts), add_special_tokens=False)[:PROBE_TOKENS]
    text = str(tokenizer.decode(ids, skip_special_tokens=False))
    messages = [{"role": "user", "content": text}] if getattr(tokenizer, "chat_template", None) else []
    return Probe(tuple(ids), text, messages)


def look_at(tuned: ServedModel, preprocessor: Preprocessor, suites: Suites, probe: Probe) -> Looked:
    """What a server makes of prompts like those of the items, compared with the tokenizer here.

    Args:
        tuned: the served model.
        preprocessor: the base's.
        suites: what is measured.
        probe: one text more.
    """
    tokenizer, room = preprocessor.tokenizer, preprocessor.room(1)
    rows: list[Encoded] = []
    if getattr(tokenizer, "chat_template", None):
        chats: Any = [item for item in suites.measured_items if getattr(item, "is_chat", False)]
        rows = [encode_prompt(tokenizer, item, room) for item in chats[:8]]
        rows += [encode_question(tokenizer, text, room) for text in ("Hello", probe.text, "What is 2 + 2?")]
    texts = [text for item in suites.measured_items[:200] for text in item.texts] + [probe.text]
    return look(tuned, tokenizer, [row for row in rows if not row.prompt_cut], texts)
