"""A tensor that is computed from others, and hands on what is written into it.

PEFT's hot swapping, LoftQ and others write into `lora_A[name].weight.data`. Where that weight is put together from two
parts, the write would be lost without a word.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Take = Callable[[Tensor], None]
"""Takes the values of the whole."""

_COPYING = frozenset({"__reduce_ex__", "__deepcopy__"})

_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]  # a descriptor of C


class WrittenThrough(Tensor):
    """Such a tensor. What is computed from it is ordinary; `.data`, slices and other views of it are like it.

    Its NumPy arrays can be read and not written: NumPy tells nobody what is written into an array.
    """

    receiver: Take
    whole: Tensor | None
    """The tensor of which this one is a view; None for the tensor itself."""
    unswappable: weakref.ref[Tensor]

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Compute as ever, and hand on what was written."""
        del types
        named = kwargs or {}
        if getattr(func, "__name__", "") in _COPYING and isinstance(args[0], cls):  # a copy, or a file, is ordinary
            return func(args[0].as_subclass(Tensor), *args[1:], **named)
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 -- as torch's own subclasses do
            ours = [one for one in _flat((*args, *named.values())) if isinstance(one, cls) and hasattr(one, "whole")]
            before = [_writes(one) for one in ours]
            result = func(*args, **named)
            written = [one for one, count in zip(ours, before, strict=True) if count != _writes(one)]
            if func == _SET_DATA and args[0] in ours:
                written.append(args[0])
            for one in written:
                one.receiver((one if one.whole is None else one.whole).as_subclass(Tensor).detach())
            return _viewed(result, ours) if ours else result


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield value


def _writes(tensor: Tensor) -> int:
    """How often a tensor was written into, as torch counts; of an inference tensor it keeps no count."""
    return -1 if tensor.is_inference() else tensor._version  # noqa: SLF001 -- torch has no other name for it


def _viewed(result: Any, ours: Sequence[WrittenThrough]) -> Any:
    """The result, in which every view of one of our tensors hands on as that does."""
    if isinstance(result, np.ndarray):  # writes into it could not be handed on, so it takes none
        result.setflags(write=False)
        return result
    if type(result) in (list, tuple):
        return type(result)(_viewed(one, ours) for one in result)
    if not isinstance(result, Tensor) or hasattr(result, "whole"):
        return result
    source = next((one for one in ours if _share(one, result)), None)
    if source is None:
        return result
    return _marked(result, source if source.whole is None else source.whole, source.receiver)


def _share(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors lie in the same memory."""
    if one.layout != torch.strided or other.layout != torch.strided or one.device != other.device:
        return False
    return bool(one.untyped_storage()._cdata == other.untyped_storage()._cdata)  # noqa: SLF001 -- torch compares so


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
