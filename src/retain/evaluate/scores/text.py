"""The similarity of a written answer and the expected one."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

import regex
import sacrebleu

QUOTES = "\"'`“”‘’«»"
ENDINGS = ".,;:!?…。"

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts written without spaces between words."""

_UNIT = regex.compile(rf"[{UNSPACED}]\p{{M}}*|[\p{{L}}\p{{M}}\p{{N}}--[{UNSPACED}]]+", regex.VERSION1)
_SPACED = rf"[\p{{L}}\p{{M}}\p{{N}}--[{UNSPACED}]]"
_EDGE = rf"(?<!{_SPACED}(?={_SPACED}))"
_NUMBER_BEFORE = r"(?<!\.)(?<!\d,)(?<!(?:^|[^\p{L}\p{N}])[-−])"
_NUMBER_AFTER = r"(?![.,]\d)"


def chrf(answer: str, expected: str) -> float:
    """chrF2, 0–100: F-score of character n-grams up to 6, recall weighted twice as much, white space left out.

    Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT 2015; computed by sacrebleu's
    `sentence_chrf` with its defaults.
    """
    return float(sacrebleu.sentence_chrf(answer, [expected]).score)


def rouge_l(answer: str, expected: str) -> float:
    """ROUGE-L, 0 … 1: F-measure of the longest common subsequence of words; 0 where one of the texts has no word.

    F = 2PR/(P + R), P = LCS/words of the answer, R = LCS/words of the expected text. (Lin, "ROUGE: A Package for
    Automatic Evaluation of Summaries", 2004, with β = 1.) Computed by rouge-score without stemming, on the words of
    `words`: its own tokenizer knows ASCII letters and digits only and would find no word in most languages. On ASCII
    text the two agree.
    """
    return float(_rouge().score(expected, answer)["rougeL"].fmeasure)


def words(text: str) -> list[str]:
    """Runs of letters, marks and digits of any script, NFKC, case folded; of unspaced scripts each character."""
    return list(_UNIT.findall(unicodedata.normalize("NFKC", text).casefold()))


def contains(answer: str, expected: str) -> bool:
    """True where the expected answer stands in the written one as entire words, both in normal form.

    "art" does not stand in "party". Scripts without spaces have no word boundary: there any place will do. A number
    must stand whole: "5" stands neither in "1.5" nor in "1,500" nor in "-5". What the sentence says of the answer is
    not read: "not Paris" contains "Paris". An empty expected answer stands in an empty one only.
    """
    whole, part = normal_form(answer), normal_form(expected)
    if not part:
        return not whole
    before = _NUMBER_BEFORE if part[0].isdigit() else ""
    after = _NUMBER_AFTER if part[-1].isdigit() else ""
    pattern = before + _EDGE + regex.escape(part) + _EDGE + after
    return regex.search(pattern, whole, flags=regex.VERSION1) is not None


def exact_match(answer: str, expected: str) -> bool:
    """True where two answers have the same normal form."""
    return normal_form(answer) == normal_form(expected)


def normal_form(text: str) -> str:
    """Unicode NFKC, case folded, white space collapsed, without quotes around it and punctuation or quotes at its end.

    Articles, inner punctuation and signs in front (−5, .5) stay: they carry meaning in some language or task. What
    would leave nothing is not taken off: "?" stays "?".
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.rstrip(f"{ENDINGS}{QUOTES} ").lstrip(f"{QUOTES} ") or folded


class _Words:
    """`words` as rouge-score asks for it."""

    def tokenize(self, text: str) -> list[str]:
        """Split a text into words."""
        return words(text)


@cache
def _rouge() -> Any:
    from rouge_score import rouge_scorer  # noqa: PLC0415  (slow to import: it brings nltk, of which nothing is used)

    return rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False, tokenizer=_Words())
