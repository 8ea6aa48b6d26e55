"""What a layer's input can be made of again: autograd often keeps it already, in another form.

A layer that learns needs its input x in the backward pass. But x is mostly the output of a norm, of a gate or of an
activation, whose own backward pass keeps what x was made of. Then that is kept (the same memory, counted once) and x is
made again when it is needed: one elementwise pass instead of T·n numbers a layer.

What x was made of is read off the graph that autograd has recorded, so it is the truth of this very pass, whatever the
model is called. What is not known here is kept as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu
from torch.utils.weak import WeakTensorKeyDictionary

MOST_STEPS = 4
"""Operations that are followed back at most."""


def _itself(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Kept:
    """What to keep for the backward pass, and how x is made of it.

    Attributes:
        tensors: for `ctx.save_for_backward`.
        again: makes x of them.
    """

    tensors: tuple[Tensor, ...] = ()
    again: Callable[..., Tensor] = _itself


def keep(x: Tensor) -> Kept:
    """How to have x again in the backward pass, at the least memory.

    Args:
        x: any tensor.

    Returns:
        What autograd keeps already where x is the output of a norm, a gate or an activation; else x itself.
    """
    if torch._C._autograd._top_saved_tensors_default_hooks(False) is not None:  # noqa: SLF001, FBT003 -- no public one
        return Kept((x,))  # whoever moves or counts saved tensors gets the plain one
    known: Kept | None = _KNOWN.get(x)  # type: ignore[no-untyped-call]  # torch's
    if known is None:
        found = _made_of(x.grad_fn, x.dtype, MOST_STEPS)
        if found is None or any(tensor.device != x.device for tensor in found.tensors):
            return Kept((x,))
        tensors = tuple(tensor.detach() for tensor in found.tensors)
        known = _KNOWN[x] = Kept(tensors, Again(found.again, x.shape))
    if isinstance(known.again, Again):
        known.again.readers += 1
    return known


_KNOWN = WeakTensorKeyDictionary()
"""Inputs alive that were seen already: q, k and v read one, and it is made again once for all of them."""


class Again:
    """Makes x again for the first of its readers, and lets go of it after the last.

    Args:
        make: makes x of what was kept.
        shape: of x.
    """

    def __init__(self, make: Callable[..., Tensor], shape: torch.Size) -> None:
        self.make, self.shape = make, shape
        self.readers = self.served = 0
        self.made: Tensor | None = None

    def __call__(self, *tensors: Tensor) -> Tensor:
        """x, which readers must not write to."""
        x = self.make(*tensors).view(self.shape) if self.made is None else self.made
        self.served = (self.served + 1) % self.readers
        self.made = x if self.served else None
        return x


def _made_of(node: Any, dtype: torch.dtype, steps: int) -> Kept | None:
    """The rule for the operation that made x, by its name in the graph; None where there is none."""
    rule = _RULES.get("" if node is None or steps == 0 else node.name())
    try:
        return None if rule is None else rule(node, dtype, steps)
    except RuntimeError:  # what was kept is gone, or was written over since
        return None


def _product(node: Any, dtype: torch.dtype, steps: int) -> Kept | None:
    """A gate, a ⊙ b with both kept; or a norm's last step, its frozen weight times what is normalised."""
    a, b = node._saved_self, node._saved_other  # noqa: SLF001 -- autograd's own names for what it keeps
    if a is not None and b is not None:
        return Kept((a, b), torch.mul)
    factor, place = (a, 1) if a is not None else (b, 0)
    if factor is None or factor.requires_grad:
        return None
    inner = _made_of(node.next_functions[place][0], dtype, steps - 1)
    return None if inner is None else Kept((factor, *inner.tensors), _times(inner.again))


def _times(again: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda factor, *rest: factor * again(*rest)


def _cast(node: Any, dtype: torch.dtype, steps: int) -> Kept | None:
    inner = _made_of(node.next_functions[0][0], dtype, steps - 1)
    return None if inner is None else Kept(inner.tensors, lambda *tensors: inner.again(*tensors).to(dtype))


def _layer_norm(node: Any, dtype: torch.dtype, _: int) -> Kept | None:
    """(h − mean)·(1/deviation)·w + b, with the mean and deviation of the forward pass: right to its last digits."""
    h, mean, deviation = node._saved_input, node._saved_result1, node._saved_result2  # noqa: SLF001 -- as above
    weight, bias = node._saved_weight, node._saved_bias  # noqa: SLF001 -- as above
    if weight is None or bias is None:
        return None

    def again(h: Tensor, mean: Tensor, deviation: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.addcmul(bias.to(mean.dtype), (h - mean).mul_(deviation), weight.to(mean.dtype)).to(dtype)

    return Kept((h, mean, deviation, weight, bias), again)


def _gelu(node: Any, _: torch.dtype, __: int) -> Kept:
    shape = str(node._saved_approximate)  # noqa: SLF001 -- as above
    return Kept((node._saved_self,), lambda h: gelu(h, approximate=shape))  # noqa: SLF001 -- as above


def _silu(node: Any, _: torch.dtype, __: int) -> Kept:
    return Kept((node._saved_self,), torch.nn.functional.silu)  # noqa: SLF001 -- as above


_RULES: dict[str, Callable[[Any, torch.dtype, int], Kept | None]] = {
    "MulBackward0": _product,
    "ToCopyBackward0": _cast,
    "NativeLayerNormBackward0": _layer_norm,
    "GeluBackward0": _gelu,
    "SiluBackward0": _silu,
}
"""By the name of an operation in autograd's graph. ReLU needs none: it keeps its output, which is x."""
