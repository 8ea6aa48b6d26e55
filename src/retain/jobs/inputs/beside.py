"""What lies beside the tuned weights: its tokenizer or image processor, compared with the base's, and which is used.

Both models must be given the same input. By default that is the base's; where the other is needed, `--tokenizer tuned`
takes it for both. Every difference is told.
"""

from __future__ import annotations

from typing import NamedTuple

from retain.data.preprocess import Preprocessor
from retain.errors import InputError
from retain.hf.models.positions import Positions
from retain.hf.models.tokenizers import TokenizerDifference, compare_tokenizers
from retain.jobs.inputs.model_sources import TOKENIZER_FILES
from retain.jobs.inputs.models import ModelSpec
from retain.recipe import TunedModelOptions
from retain.records.paths import expanded

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


class Chosen(NamedTuple):
    """The preprocessor that both models get.

    Attributes:
        preprocessor: of the base, or of the tuned model.
        notes: what differs between the two, for the record.
        hint: a sentence that names the flag, for refusals of a missing chat template; empty where it would not help.
    """

    preprocessor: Preprocessor
    notes: tuple[str, ...] = ()
    hint: str = ""


def choose_preprocessor(recipe: TunedModelOptions, base: ModelSpec, positions: Positions) -> Chosen:
    """Load the base's preprocessor, compare the one beside the tuned weights with it, and choose.

    Args:
        recipe: names the tuned model, and which tokenizer is to be used.
        base: how the base is loaded.
        positions: those of both models.

    Raises:
        InputError: the tokenizer that was asked for is not there, or the two cannot both be right.
    """
    asked = recipe.tokenizer == "tuned" and base.reads_text
    other, trouble = _beside(base.at(recipe.tuned, "tuned"), positions)
    if asked and other is None:
        reason = f" that can be read ({trouble})" if trouble else ""
        raise InputError(f"tokenizer: no tokenizer lies beside {recipe.tuned}{reason}; leave --tokenizer tuned out.")
    own = _or_none(base, positions) if asked else base.preprocessor(positions)
    if own is None and other is not None:
        return Chosen(other, ("Both models were given the tuned model's tokenizer (--tokenizer tuned).",))
    if own is not None and other is not None:
        return _chosen(recipe, own, other)
    is_here = expanded(recipe.tuned).is_dir()  # most adapters on the hub bring none
    note = f"What lies beside the tuned model was not compared with the base's tokenizer: {trouble}"
    return Chosen(own or base.preprocessor(positions), (note,) if trouble and is_here else ())


def _chosen(recipe: TunedModelOptions, own: Preprocessor, other: Preprocessor) -> Chosen:
    if not own.reads_text:
        same = own.identity() == other.identity()
        note = "The image processor beside the tuned model has other settings than the base's, which both were given."
        return Chosen(own, () if same else (note,))
    difference = compare_tokenizers(own.tokenizer, other.tokenizer)
    if difference.is_none:
        return Chosen(own)
    if difference.conflicts and recipe.tokenizer is None:
        raise InputError(
            f"tuned: the tokenizer beside {recipe.tuned} is not the base's: it {difference.sentences[0]}, so the same "
            "input would mean two things. Give the base that it was tuned from; or say which tokenizer is right for "
            "both models with --tokenizer base (or tuned)."
        )
    told = f"The tokenizer beside the tuned model {_joined(difference.sentences)}."
    if recipe.tokenizer == "tuned":
        return Chosen(other, (f"{told} Both models were given the tuned model's (--tokenizer tuned).",))
    hint = _template_hint(recipe, difference)
    return Chosen(own, (f"{told} Both models were given the base's; --tokenizer tuned gives both the other.",), hint)


def _template_hint(recipe: TunedModelOptions, difference: TokenizerDifference) -> str:
    if difference.has_template != (False, True):
        return ""
    return (
        f"The tokenizer beside {recipe.tuned} has a chat template, and the base's has none: --tokenizer tuned gives "
        "both models that one."
    )


def _beside(tuned: ModelSpec, positions: Positions) -> tuple[Preprocessor | None, str]:
    """The preprocessor beside the tuned weights, or None and the reason where there is one that cannot be read."""
    folder = expanded(tuned.source)
    files = TOKENIZER_FILES if tuned.reads_text else _PROCESSOR_FILES
    if folder.is_dir() and not any((folder / name).is_file() for name in files):
        return None, ""
    try:
        return tuned.preprocessor(positions), ""
    except InputError as error:
        return None, str(error)


def _or_none(base: ModelSpec, positions: Positions) -> Preprocessor | None:
    try:
        return base.preprocessor(positions)
    except InputError:
        return None


def _joined(sentences: list[str]) -> str:
    *first, last = sentences
    return f"{', '.join(first)} and {last}" if first else last
