"""A served side as the record has it: which server, how it was asked, and what is to be borne in mind."""

from __future__ import annotations

from collections.abc import Sequence

from retain.records.served_record import ServedSide
from retain.served.model import ServedModel

LIKELIHOODS = {
    "echo": "by the prompt, repeated with the log-probability of each token",
    "prompt_logprobs": "by prompt_logprobs",
    "forced": "token by token: a bias makes the server write the given token, which comes with its unbiased "
    "log-probability",
    "logits": "from the logits",
    None: "",
}
WRITINGS = {
    "ids": "to token ids, rendered here",
    "text": "to text, rendered here and split into tokens there",
    "chat": "to messages, rendered there",
}


def served_record(model: ServedModel, cautions: Sequence[str]) -> ServedSide:
    """A served side as the record has it."""
    known = model.store.about
    return ServedSide(
        address=str(known["address"]),
        model=model.name,
        server=model.can.server,
        fingerprint=str(known["fingerprint"]),
        likelihood=LIKELIHOODS[model.can.likelihood],
        writing=WRITINGS[model.can.writing[0]],
        context=model.can.context,
        cautions=tuple(cautions),
    )
