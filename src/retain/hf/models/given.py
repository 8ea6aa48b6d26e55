"""Arguments of the Python functions that are to be a loaded model, or another value that one of them makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedTokenizerBase

from retain.errors import InputError


def unwrapped(model: Any) -> Any:
    """The model without the wrappers of data parallelism and of `torch.compile`, with which it shares its weights."""
    while isinstance(model, nn.Module):
        children = dict(model.named_children())  # not getattr, which a PeftModel passes on to what it holds
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif "_orig_mod" in children:
            model = children["_orig_mod"]
        else:
            break
    return model


def ensure_model(given: Any, name: str = "model") -> Any:
    """Refuse what is no loaded model.

    Returns:
        The model itself, where it was given inside a wrapper.

    Raises:
        InputError: it is the path of one, its name, or something else.
    """
    ensure(given, nn.Module, name, "give a loaded model, as AutoModelForCausalLM.from_pretrained makes one")
    return unwrapped(given)


def tokenizer_of(given: Any) -> Any:
    """The tokenizer of a processor that reads text and images; what is given where it holds none.

    Tokenizers with code of their own (QWen, ChatGLM) keep their rules under that name.
    """
    within = getattr(given, "tokenizer", None)
    return within if isinstance(within, PreTrainedTokenizerBase) else given


def ensure(given: Any, kind: type, name: str, cure: str) -> None:
    """Refuse what is not of a kind.

    Args:
        given: the argument.
        kind: what it should be.
        name: of the argument.
        cure: what to give.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(given, kind):
        found = repr(str(given)) if isinstance(given, str | Path) else type(given).__name__
        raise InputError(f"{name}: {found} was given; {cure}.")
