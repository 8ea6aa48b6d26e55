"""How near a written answer comes to the expected one."""

from __future__ import annotations

import unicodedata

import sacrebleu

QUOTES = "\"'`“”‘’«»"
ENDINGS = ".,;:!?…。"


def chrf(answer: str, expected: str) -> float:
    """chrF2, 0–100: F-score of character n-grams up to 6, recall weighted twice as much, white space left out.

    Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015; computed by sacrebleu's
    `sentence_chrf` with its defaults.
    """
    return float(sacrebleu.sentence_chrf(answer, [expected]).score)


def exact_match(answer: str, expected: str) -> bool:
    """Whether two answers are the same once both are put in normal form."""
    return normal_form(answer) == normal_form(expected)


def normal_form(text: str) -> str:
    """Unicode NFKC, case folded, white space collapsed, without quotes around it and punctuation or quotes at its end.

    Articles, inner punctuation and signs in front (−5, .5) stay: they carry meaning in some language or task. What
    would leave nothing is not taken off: "?" stays "?".
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.rstrip(f"{ENDINGS}{QUOTES} ").lstrip(f"{QUOTES} ") or folded
