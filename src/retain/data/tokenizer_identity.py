"""A hash of all that a tokenizer does: two of one identity read a text and write one back alike."""

from __future__ import annotations

import hashlib
import json
from typing import Any

SWITCHES = (
    *("add_bos_token", "add_eos_token", "bos_token_id", "eos_token_id", "clean_up_tokenization_spaces"),
    *("do_lower_case", "legacy", "split_special_tokens"),
)
"""What decides beside the rules, such as the tokens that begin a text and end an answer."""

OF_A_CALL = ("truncation", "padding")
"""Parts of the rules that a call leaves behind."""


def tokenizer_identity(tokenizer: Any) -> str:
    """A hash of the vocabulary, the chat template, the rules, the switches, and a text as the tokenizer splits it.

    What only fills batches up is not in it: it is masked everywhere.
    """
    parts = {
        "class": type(tokenizer).__name__,
        "template": tokenizer.chat_template,
        "words": sorted(tokenizer.get_vocab().items()),
        "split": tokenizer.encode("A b\n c, 12."),
        "rules": _rules(tokenizer),
        "switches": {name: getattr(tokenizer, name, None) for name in SWITCHES},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _rules(tokenizer: Any) -> str:
    """The rules of a tokenizer of the `tokenizers` library; of any other its special tokens and its pieces."""
    if (fast := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        rules = {name: part for name, part in json.loads(fast.to_str()).items() if name not in OF_A_CALL}
        return json.dumps(rules, sort_keys=True)
    pieces = getattr(getattr(tokenizer, "sp_model", None), "serialized_model_proto", bytes)
    return f"{tokenizer.all_special_ids} {hashlib.sha256(pieces()).hexdigest()}"
