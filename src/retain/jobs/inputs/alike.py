"""Make two models answer under the same conditions: one dtype, one set of end tokens, room for every token.

What stays unlike is told.
"""

from __future__ import annotations

from typing import Any

from retain.data.preprocess import Preprocessor
from retain.hf.models.describe import base_tensors
from retain.hf.models.head import head_names
from retain.hf.models.sides import root_of
from retain.hf.models.tokenizers import highest_id
from retain.hf.models.vocabulary import give_rows, rows_of


def common_dtype(base: Any, tuned: Any) -> str | None:
    """The dtype that holds the values of both models exactly, where they have two; None where they have one."""
    names = {str(model.dtype).removeprefix("torch.") for model in (base, tuned)}
    return "float32" if len(names) > 1 else None


def share_ends(base: Any, tuned: Any) -> list[str]:
    """Let both models end an answer at the tokens of either; a note where they had others.

    Args:
        base: its generation settings are changed.
        tuned: likewise.
    """
    settings = [getattr(model, "generation_config", None) for model in (base, tuned)]
    ends = [_listed(getattr(one, "eos_token_id", None)) for one in settings]
    if None in settings or ends[0] == ends[1]:
        return []
    both = sorted({*ends[0], *ends[1]})
    for one in settings:
        one.eos_token_id = both  # type: ignore[union-attr]  # None was told apart above
    return [
        (
            f"The generation settings of base and tuned model name other end tokens ({_some(ends[0])} and "
            f"{_some(ends[1])}); an answer of either ended at any of them."
        )
    ]


def make_room(model: Any, preprocessor: Preprocessor) -> list[str]:
    """Give a model rows for the tokens of a tokenizer that it has no embeddings for; a note where it lacked some."""
    rows = rows_of(model)
    if rows is None or not preprocessor.reads_text or (needed := highest_id(preprocessor.tokenizer) + 1) <= rows:
        return []
    give_rows(model, needed)
    return [
        f"The base has embeddings of {rows} tokens, and the tokenizer {needed}; each new one is the mean of the base's."
    ]


def vocabulary_notes(base: Any, tuned: Any) -> list[str]:
    """A note where the two models predict vocabularies of different sizes."""
    one, other = rows_of(base), rows_of(tuned)
    if one is None or other is None or one == other:
        return []
    told = f"The base has embeddings of {one} tokens and the tuned model of {other}"
    return [f"{told}; on held-out text their predictions are compared over the first {min(one, other)}."]


def build_notes(base: Any, tuned: Any) -> list[str]:
    """A note where two whole models are built of different weights: the one was not made by training the other.

    Args:
        base: the base.
        tuned: the model that is taken for its tune.
    """
    sides = [_shapes(base), _shapes(tuned)]
    other = sorted(name for name in sides[0].keys() | sides[1].keys() if sides[0].get(name) != sides[1].get(name))
    if not other:
        return []
    some = f"{len(other)} differ in name or size, {other[0]} first"
    told = f"Base and tuned model are built of different weights ({some})"
    return [f"{told}, so the one was not made by training the other: is this its base?"]


def _shapes(model: Any) -> dict[str, tuple[Any, ...]]:
    """The sizes of a model's weights by name, whatever its vocabulary and its number of classes."""
    head, rows = tuple(head_names(model)), rows_of(model)
    return {
        name: tuple("tokens" if size == rows else size for size in tensor.shape)
        for name, tensor in base_tensors(root_of(model))
        if not (head and name.startswith(head))
    }


def _listed(ends: Any) -> list[int]:
    found = ends if isinstance(ends, (list, tuple)) else [ends]
    return sorted({int(one) for one in found if one is not None})


def _some(ends: list[int]) -> str:
    return ", ".join(map(str, ends)) or "none"
