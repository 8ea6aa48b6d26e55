"""Servers that speak the protocol in different dialects, each with the same toy model of eight tokens behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass

WORDS = 8


def log_probability(before: list[int], token: int) -> float:
    """Of the toy model: each token depends on the one before it."""
    weights = [1 + ((3 * (before[-1] if before else 0) + 5 * word) % 7) for word in range(WORDS)]
    return math.log(weights[token] / sum(weights))


def most_likely(before: list[int], bias: dict[int, float] | None = None) -> int:
    bias = bias or {}
    return max(range(WORDS), key=lambda word: (log_probability(before, word) + bias.get(word, 0.0), -word))


@dataclass
class Dialect:
    """What a server has and what it lacks.

    Attributes:
        ids: how token ids as a prompt are taken: read, refused, or read as text.
        echo: whether prompts come back with log-probabilities; `at_least` 1 refuses to write nothing.
        prompt_logprobs: vLLM's field.
        bias: whether logit_bias is obeyed; `raw` whether log-probabilities are those without it.
        numbers: how tokens are named: "id" of llama.cpp, "text", or "token_id" on request.
        chat: whether conversations are answered; `completions` whether anything else is.
        strict: unknown fields are refused.
        room: longer prompts are cut without a word.
        models: names.
    """

    ids: str = "read"
    echo: bool = False
    at_least: int = 0
    prompt_logprobs: bool = False
    bias: bool = False
    raw: bool = True
    numbers: str = "text"
    chat: bool = True
    completions: bool = True
    strict: bool = False
    room: int | None = None
    models: tuple[str, ...] = ("toy",)

    def __call__(self, asked):
        path, body = asked.path, asked.body
        if path == "/v1/models":
            return asked.json({"data": [{"id": name} for name in self.models]})
        known = {"model", "prompt", "messages", "max_tokens", "temperature", "logprobs", "echo", "logit_bias", "seed"}
        if self.strict and (unknown := body.keys() - known):
            return asked.json({"detail": f"Unexpected fields: {sorted(unknown)}"}, 422)
        if path == "/v1/completions" and self.completions:
            return self.complete(asked, body)
        if path == "/v1/chat/completions" and self.chat:
            tokens = [len(turn["content"]) % WORDS for turn in body["messages"]]
            text = str(most_likely(tokens))
            choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "length"}
            return asked.json({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 1}})
        return asked.json({"error": "Not Found"}, 404)

    def complete(self, asked, body):
        given = body["prompt"]
        if isinstance(given, list) and self.ids == "refused":
            return asked.json({"detail": "prompt must be a string."}, 400)
        text = isinstance(given, str) or self.ids == "as text"
        prompt = [ord(letter) % WORDS for letter in str(given)] if text else list(given)
        prompt = prompt[-self.room :] if self.room else prompt
        if body["max_tokens"] < self.at_least:
            return asked.json({"error": {"message": "max_tokens must be at least 1"}}, 400)
        bias = {int(token): value for token, value in (body.get("logit_bias") or {}).items()} if self.bias else {}
        written = []
        for _ in range(max(body["max_tokens"], 0 if self.echo and body.get("echo") else 1)):
            written.append(most_likely(prompt + written, bias))
        repeated = prompt if self.echo and body.get("echo") else []
        choice = {"index": 0, "text": "".join(map(str, [*repeated, *written])), "finish_reason": "length"}
        if body.get("logprobs") is not None:
            choice["logprobs"] = self.scored(prompt, repeated, written, bias, body)
        if self.prompt_logprobs and body.get("prompt_logprobs") is not None:
            entries = [{str(t): {"logprob": log_probability(prompt[:k], t)}} for k, t in enumerate(prompt)]
            choice["prompt_logprobs"] = [None, *entries[1:]]
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(written)}
        return asked.json({"choices": [choice], "usage": usage})

    def scored(self, prompt, repeated, written, bias, body):
        full = [*(repeated or []), *written]
        start = [] if repeated else prompt
        values = [self.value(start + full[:k], token, bias) for k, token in enumerate(full)]
        tops = [self.top(start + full[:k], bias, int(body["logprobs"])) for k in range(len(full))]
        if self.numbers == "id":
            content = [
                {"id": t, "token": str(t), "logprob": v, "top_logprobs": [{"id": k, "logprob": p} for k, p in top]}
                for t, v, top in zip(full, values, tops, strict=True)
            ]
            return {"content": content}
        numbered = self.numbers == "token_id" and body.get("return_tokens_as_token_ids")
        name = (lambda token: f"token_id:{token}") if numbered else str
        if repeated:
            values[0] = None
        tops = [{name(k): p for k, p in top} for top in tops]
        return {"tokens": [name(t) for t in full], "token_logprobs": values, "top_logprobs": tops}

    def value(self, before, token, bias):
        return log_probability(before, token) if self.raw or not bias.get(token) else -1e-9

    def top(self, before, bias, count):
        listed = sorted(((self.value(before, k, bias), k) for k in range(WORDS)), reverse=True)[:count]
        return [(k, value) for value, k in listed]
