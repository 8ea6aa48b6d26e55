"""What a language model's teacher says, kept: its most likely tokens where something is learned, all others as one.

Of each learned position stand the K most likely tokens, their log-probabilities at the temperature T, and that of all
other tokens together: p = (p₁, …, p_K, 1 − Σ p). The student's q is put together in the same way, so that
KL(p ‖ q) = Σ_k p_k (log p_k − log q_k) + p_rest (log p_rest − log q_rest). Putting tokens together can only lower a KL
(the log-sum inequality): it is the whole KL where the student shares the rest out as the teacher does, or K = V − 1.
A student that only renormalised over the K would be told to put nothing on any other token; here the rest keeps its
probability.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from retain.errors import InputError
from retain.train.regularise.tensor_file import read_tensors, write_tensors

SCHEMA = "retain.teacher-tokens/1"


@dataclass(frozen=True)
class Likely:
    """The most likely tokens of some positions.

    Attributes:
        tokens: (N, K), their ids, int32.
        log_p: (N, K), nats, float32.
        log_rest: (N,), of all other tokens together; −∞ where there are none.
    """

    tokens: Tensor
    log_p: Tensor
    log_rest: Tensor

    @classmethod
    def of(cls, logits: Tensor, top: int, temperature: float = 1.0) -> Likely:
        """Those of logits (N, V): the `top` most likely, V − 1 at most."""
        scaled = logits.detach().float() / temperature
        values, tokens = scaled.topk(min(top, scaled.shape[-1] - 1))
        whole = scaled.logsumexp(-1)
        return cls(tokens.to(torch.int32), values - whole[:, None], _rest(scaled, tokens) - whole)

    @classmethod
    def joined(cls, parts: Sequence[Likely]) -> Likely:
        """Those of several sets of positions, one after the other."""
        columns = zip(*((one.tokens, one.log_p, one.log_rest) for one in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))

    def kl(self, logits: Tensor, temperature: float = 1.0) -> Tensor:
        """Mean of T²·KL(these ‖ softmax(logits/T)) over the positions, nats, with the gradient of the logits (N, V)."""
        device = logits.device
        scaled = torch.promote_types(logits.dtype, torch.float32)
        student, tokens = logits.to(scaled) / temperature, self.tokens.to(device, torch.int64)
        whole = student.logsumexp(-1)
        log_q = student.gather(-1, tokens) - whole[:, None]
        log_p, log_rest = self.log_p.to(device, scaled), self.log_rest.to(device, scaled)
        rest = torch.where(log_rest.isneginf(), 0.0, log_rest.exp() * (log_rest - (_rest(student, tokens) - whole)))
        value: Tensor = (log_p.exp() * (log_p - log_q)).sum(-1) + rest
        return temperature**2 * value.mean()


def _rest(scaled: Tensor, tokens: Tensor) -> Tensor:
    """The log-sum-exp over all tokens but some."""
    return scaled.scatter(-1, tokens.to(torch.int64), -torch.inf).logsumexp(-1)


class TeacherTokens:
    """A teacher's most likely tokens at the learned positions of a training set, found by each row's inputs and labels.

    Args:
        keys: of each row, by `row_key`, in the order of the positions.
        counts: learned positions of each row.
        likely: of all positions, one row after the other.
        vocabulary: tokens that teacher and student both have; rows of no token beyond are left out of both.
        temperature: T that they were kept at.

    Raises:
        InputError: there are not as many positions as counted.
    """

    def __init__(
        self, keys: Sequence[str], counts: Sequence[int], likely: Likely, *, vocabulary: int, temperature: float = 1.0
    ) -> None:
        if len(keys) != len(counts) or sum(counts) != len(likely.log_rest):
            raise InputError(
                f"teacher: {len(keys)} rows with {sum(counts)} learned positions, and {len(likely.log_rest)} kept; "
                "give one for each."
            )
        self.vocabulary, self.temperature = vocabulary, temperature
        self._likely, self._keys, self._counts = likely, list(keys), list(counts)
        starts = [0, *torch.tensor(self._counts).cumsum(0).tolist()]
        self._places = {key: slice(starts[row], starts[row + 1]) for row, key in enumerate(keys)}

    def of(self, inputs: Mapping[str, Tensor]) -> Likely:
        """Those of a batch's rows, in the order of its learned positions.

        Raises:
            InputError: the teacher did not see one of the rows.
        """
        keys = [row_key(inputs, row) for row in range(len(inputs["input_ids"]))]
        if missing := sum(key not in self._places for key in keys):
            raise InputError(
                f"teacher: {missing} of the {len(keys)} rows of a batch are none that it was asked for; give it as a "
                "model, without teacher_top."
            )
        places = [self._places[key] for key in keys]
        whole = self._likely
        parts = [Likely(whole.tokens[at], whole.log_p[at], whole.log_rest[at]) for at in places]
        return Likely.joined(parts)

    def save(self, path: str | Path) -> None:
        """Write it as safetensors.

        Raises:
            InputError: a file is there that retain did not write.
        """
        rows = torch.tensor([list(bytes.fromhex(key)) for key in self._keys], dtype=torch.uint8)
        tensors = {"keys": rows, "counts": torch.tensor(self._counts), **vars(self._likely)}
        told = {"temperature": repr(self.temperature), "vocabulary": str(self.vocabulary)}
        write_tensors(path, tensors, SCHEMA, told)

    @classmethod
    def load(cls, path: str | Path) -> TeacherTokens:
        """Read what `save` wrote.

        Raises:
            InputError: it is damaged, or another kind of file.
        """
        held, told = read_tensors(path, SCHEMA, "teacher's tokens", "the teacher is asked again")
        keys = [bytes(row.tolist()).hex() for row in held["keys"]]
        likely = Likely(held["tokens"], held["log_p"], held["log_rest"])
        vocabulary, temperature = int(told["vocabulary"]), float(told["temperature"])
        return cls(keys, held["counts"].tolist(), likely, vocabulary=vocabulary, temperature=temperature)


def row_key(inputs: Mapping[str, Tensor], row: int) -> str:
    """A hash of a row's tokens and of which are learned, whatever stands beside it in the batch: no padding counts."""
    mask = inputs.get("attention_mask")
    kept = slice(None) if mask is None else mask[row].detach().cpu().bool()
    digest = hashlib.sha256()
    for name in ("input_ids", "labels"):
        digest.update(inputs[name][row].detach().cpu().to(torch.int64)[kept].contiguous().numpy().tobytes())
    return digest.hexdigest()
