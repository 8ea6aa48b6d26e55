"""The predictions of a model that is no model of transformers: many requests at a time, results in the items' order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from retain.data.preprocess import Preprocessor
from retain.data.tokens import Encoded
from retain.errors import InputError
from retain.evaluate.encode import Tick
from retain.evaluate.input_hash import InputHash
from retain.evaluate.suites.suite import Settings
from retain.evaluate.tasks.predictor import Predictor
from retain.evaluate.written import Extent, Written, opens, read_answer, read_answer_text
from retain.served.model import LanguageModel, Prompt, Reply

Row = TypeVar("Row")
Value = TypeVar("Value")


@dataclass
class TokenCounts:
    """Prompts whose tokens a server counts otherwise than this machine: (here, there)."""

    checked: int = 0
    unlike: list[tuple[int, int]] = field(default_factory=list)

    def note(self, here: int, there: int | None) -> None:
        """Note one prompt."""
        if there is not None:
            self.checked += 1
            self.unlike += [(here, there)] if here != there else []


@dataclass(frozen=True)
class ServedPredictor:
    """One served model under given settings; see `Predictor`.

    Attributes:
        model: behind its server, or in a file.
        preprocessor: makes the inputs.
        settings: the same for both sides.
        vocabulary: the number of tokens that the model chooses among.
        ends: tokens that end an answer.
        concurrency: requests at a time; the results do not depend on it.
        counts: notes how the server counts the tokens of prompts.
        tick: receives the number of sequences just done.
    """

    model: LanguageModel
    preprocessor: Preprocessor
    settings: Settings
    vocabulary: int
    ends: tuple[int, ...]
    concurrency: int = 8
    counts: TokenCounts = field(default_factory=TokenCounts)
    tick: Tick = lambda _: None

    @property
    def tokenizer(self) -> Any:
        """The tokenizer on this machine."""
        return self.preprocessor.tokenizer

    @property
    def uncounted(self) -> ServedPredictor:
        """The same, for work that does not count as progress."""
        return replace(self, tick=lambda _: None)

    @property
    def class_names(self) -> list[str]:
        """None: a language model has no classes."""
        return []

    def nll(self, rows: Sequence[Encoded]) -> list[float]:
        """Negative log-likelihood in nats of the scored part of each sequence."""
        return [-sum(values) for values in self.readings(rows)]

    def readings(self, rows: Sequence[Encoded]) -> list[list[float]]:
        """The log-probability of each scored token of each sequence, in nats."""
        return self._each(lambda row: self.model.likelihoods(row.ids, row.start), rows)

    def generate(self, prompts: Sequence[Encoded], max_new_tokens: int, *, extent: Extent = "whole") -> list[Written]:
        """Greedy answers to prompts."""
        asked = list(zip(prompts, map(self.prompt, prompts), strict=True))
        replies = self._each(lambda pair: self.model.write(pair[1], max_new_tokens, self.ends), asked)
        return [self._read(row, reply, extent) for row, reply in zip(prompts, replies, strict=True)]

    def log_probabilities(self, items: Sequence[Any]) -> Tensor:
        """Refused.

        Raises:
            InputError: always.
        """
        raise InputError(f"{len(items)} items are to be put into classes, but a served language model only writes.")

    def features(self, items: Sequence[Any], *, by_base: bool = False) -> Tensor:
        """Refused.

        Raises:
            InputError: always.
        """
        del by_base
        raise InputError(f"{len(items)} items' features are wanted, which no server shows.")

    def prompt(self, row: Encoded) -> Prompt:
        """A prompt in all forms in which a server may want it.

        Raises:
            InputError: the server renders conversations itself, and this one is cut.
        """
        if self.model.can.writing[:1] == ("chat",):
            if row.messages is None:
                raise InputError(f"{self.model.name} answers conversations only, and this prompt is none.")
            if row.prompt_cut:
                raise InputError(
                    f"a conversation has more tokens than --max-length leaves, and {self.model.name} renders "
                    "conversations itself, so it cannot be cut; raise --max-length, or leave such items out."
                )
        text = self.tokenizer.decode(list(row.ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        turns = None if row.messages is None else [_plain(turn) for turn in row.messages]
        return Prompt(row.ids, str(text), turns, row.arguments)

    def _read(self, row: Encoded, reply: Reply, extent: Extent) -> Written:
        self.counts.note(len(row.ids), reply.prompt_tokens)
        opened = opens(self.tokenizer, row.ids)
        if reply.ids is None:
            return read_answer_text(reply.text, ended=reply.ended, opened=opened, extent=extent)
        return read_answer(self.tokenizer, reply.ids, self.ends, opened=opened, extent=extent)

    def _each(self, ask: Callable[[Row], Value], rows: Sequence[Row]) -> list[Value]:
        """The answer to each row, several asked at a time; the first error ends all."""
        threads = ThreadPoolExecutor(max(1, self.concurrency))
        places = {threads.submit(ask, row): place for place, row in enumerate(rows)}
        found: dict[int, Value] = {}
        try:
            for done in as_completed(places):
                found[places[done]] = done.result()
                self.tick(1)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # who asks last need not be waited for
        return [found[place] for place in range(len(rows))]


@dataclass(frozen=True)
class NotingPredictor:
    """A predictor whose inputs are hashed item by item, so that sides that run differently can be shown to be alike.

    Attributes:
        inner: predicts.
        input_hash: covers every sequence, in the items' order.
    """

    inner: Predictor
    input_hash: InputHash = field(default_factory=InputHash)

    @property
    def preprocessor(self) -> Preprocessor:
        """That of the side."""
        return self.inner.preprocessor

    @property
    def settings(self) -> Settings:
        """Those of the side."""
        return self.inner.settings

    @property
    def tokenizer(self) -> Any:
        """That of the side."""
        return self.inner.tokenizer

    @property
    def uncounted(self) -> NotingPredictor:
        """The same, for work that does not count as progress."""
        return replace(self, inner=self.inner.uncounted)

    @property
    def class_names(self) -> list[str]:
        """Those of the side."""
        return self.inner.class_names

    @property
    def vocabulary(self) -> int:
        """That of the side."""
        return self.inner.vocabulary

    def nll(self, rows: Sequence[Encoded]) -> list[float]:
        """As the side's."""
        for row in rows:
            self.input_hash.add(ids=torch.tensor(row.ids), start=torch.tensor(row.start))
        return self.inner.nll(rows)

    def generate(self, prompts: Sequence[Encoded], max_new_tokens: int, *, extent: Extent = "whole") -> list[Written]:
        """As the side's."""
        for row in prompts:
            self.input_hash.add(ids=torch.tensor(row.ids), limit=torch.tensor(max_new_tokens))
        return self.inner.generate(prompts, max_new_tokens, extent=extent)

    def log_probabilities(self, items: Sequence[Any]) -> Tensor:
        """As the side's."""
        return self.inner.log_probabilities(items)

    def features(self, items: Sequence[Any], *, by_base: bool = False) -> Tensor:
        """As the side's."""
        return self.inner.features(items, by_base=by_base)


def _plain(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn as the protocol has it: the arguments of calls as JSON text, no keys of the training data."""
    plain = {key: value for key, value in turn.items() if key not in {"weight", "train"}}
    if not plain.get("tool_calls"):
        return plain
    calls = []
    for call in plain["tool_calls"]:
        function = dict(call.get("function", call))
        given = function.get("arguments", {})
        function["arguments"] = given if isinstance(given, str) else json.dumps(given)
        calls.append({**call, "function": function})
    return {**plain, "tool_calls": calls}
