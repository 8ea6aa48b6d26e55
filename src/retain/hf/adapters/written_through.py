"""A tensor that is computed from others, and hands on what is written into it.

PEFT's hot swapping, LoftQ and others write into `lora_A[name].weight.data`. Where that weight is put together from two
parts, the write would be lost without a word.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Take = Callable[[Tensor], None]
"""Takes the values of the whole."""

_WRITING = frozenset({"__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__"})
"""Functions that write into their first argument, beside those whose names end with _ and the setter of `.data`."""

_COPYING = frozenset({"__reduce_ex__", "__deepcopy__"})


class WrittenThrough(Tensor):
    """Such a tensor. What is computed from it is ordinary; `.data` and slices of it are like it."""

    receiver: Take
    whole: Tensor | None
    """The tensor of which this one is a slice; None for the tensor itself."""
    unswappable: weakref.ref[Tensor]

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute as ever, and hand on what was written."""
        del types
        into, name = (args[0] if args else None), getattr(func, "__name__", "")
        if name in _COPYING and isinstance(into, cls):  # a copy, or a file, is an ordinary tensor
            return func(into.as_subclass(Tensor), *args[1:], **(kwargs or {}))
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 -- as torch's own subclasses do
            result = func(*args, **(kwargs or {}))
        if not isinstance(into, cls) or not hasattr(into, "whole"):
            return result
        if func == Tensor.data.__get__:  # type: ignore[attr-defined]  # a descriptor of C
            return _marked(result, into.whole, into.receiver)
        if name == "__getitem__" and isinstance(result, Tensor):
            return _marked(result, into if into.whole is None else into.whole, into.receiver)
        if name in _WRITING or func == _SET_DATA or _in_place(name):
            into.receiver((into if into.whole is None else into.whole).as_subclass(Tensor).detach())
        return result


def _in_place(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__") and name != "requires_grad_"


_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]  # a descriptor of C


def written_through(computed: Tensor, take: Take) -> Tensor:
    """A computed tensor that hands on what is written into it, in place or as its `.data`.

    Args:
        computed: it; while a graph is being recorded, or if it is no plain tensor, it comes back as it is.
        take: receives the whole after each write.
    """
    if type(computed) is not Tensor or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]  # torch's
        return computed
    return _marked(computed, None, take)


def _marked(tensor: Tensor, whole: Tensor | None, take: Take) -> Tensor:
    made = tensor.as_subclass(WrittenThrough)
    made.whole, made.receiver = whole, take
    made.unswappable = weakref.ref(made)  # `torch.utils.swap_tensors`, which could not be handed on, refuses these
    return made
