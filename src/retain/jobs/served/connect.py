"""From a recipe to models behind servers: addresses, the key, what each server can be asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from retain.errors import InputError
from retain.recipe import MeasureRecipe
from retain.records.manifest import file_digest
from retain.served.address import Address
from retain.served.explore import Probe, choose_model, explore
from retain.served.model import ServedModel
from retain.served.store import FOLDER, AnswerStore
from retain.served.transport import Transport

PLACEHOLDERS = frozenset({"", "none", "empty", "no-key", "not-needed"})
"""Values that people give to programs that insist on a key."""


def transport_of(
    recipe: MeasureRecipe, source: str, field: str, environment: Mapping[str, str] = os.environ
) -> Transport:
    """A connection to the server that a field names; nothing is sent yet.

    Raises:
        InputError: it is no address, or the key cannot be one.
    """
    return Transport(
        Address.parse(source, field),
        key=environment.get(recipe.key_variable, "").strip(),
        key_variable=recipe.key_variable,
        seconds=recipe.request_timeout,
        tries=recipe.request_tries,
        connections=recipe.concurrency,
    )


def connect(
    recipe: MeasureRecipe, source: str, name: str | None, field: str, probe: Probe, *, file: Path | None = None
) -> ServedModel:
    """A model behind a server, looked at.

    Args:
        recipe: says how it is asked.
        source: its address.
        name: of the model there; None for the only one.
        field: of the recipe, for refusals.
        probe: a text to look at it with.
        file: the GGUF file, where the server was started for it; it names the model then.

    Raises:
        InputError: the server cannot be reached, has no such model, or answers nothing.
    """
    transport = transport_of(recipe, source, field)
    chosen = choose_model(transport, name, f"{field}_model")
    return ServedModel(transport, chosen, explore(transport, chosen, probe), file=file)


def stored(
    model: ServedModel, recipe: MeasureRecipe, probe: Probe, side: str, *, in_folder: bool = True
) -> ServedModel:
    """The model with its answers kept, in the output folder or in memory only.

    What an earlier process left is used only where the server says and answers the same as then.
    """
    folder = Path(recipe.output) / FOLDER / side if in_folder else None
    return replace(model, store=AnswerStore(folder, about(model, probe)))


def about(model: ServedModel, probe: Probe) -> dict[str, Any]:
    """What tells a server and its model from others, an answer of it among that."""
    can = model.can
    put: Any = list(probe.ids) if "ids" in can.writing else probe.text
    choice = model.reply_in_chat(probe.messages, max_tokens=8) if can.writing[0] == "chat" else model.complete(
        put, max_tokens=8
    )  # fmt: skip
    said = choice.get("text") or (choice.get("message") or {}).get("content")
    return {
        "address": model.transport.address.url if model.file is None else f"{model.file.name}, in llama.cpp here",
        "model": model.name if model.file is None else file_digest(model.file),
        "server": can.server,
        "fingerprint": str(choice.get("fingerprint") or ""),
        "likelihood": can.likelihood,
        "writing": list(can.writing),
        "said": said,
    }


def ensure_separate(tuned: ServedModel, base: ServedModel) -> None:
    """Refuse one served model as both sides.

    Raises:
        InputError: both are the same.
    """
    if (tuned.transport.address.url, tuned.name) == (base.transport.address.url, base.name):
        raise InputError(
            f"base: {base.name} at {base.transport.address.url} is named as the tuned model, too; say --tuned-model "
            "and --base-model."
        )
