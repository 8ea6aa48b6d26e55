"""Recomputation of a layer's input: autograd often keeps it already, in another form.

A layer that learns needs its input x in the backward pass. But x is mostly the output of a norm, of a gate or of an
activation, whose own backward pass keeps the tensors that x was computed from. Then these are kept (the same memory,
counted once) and x is recomputed when it is needed: one elementwise pass instead of T·n numbers a layer.

The origin of x is read off the graph that autograd has recorded, so it is right for this very pass, whatever the model
is called. An x of unknown origin is kept as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu
from torch.utils.weak import WeakTensorKeyDictionary

FULL = torch.float32.itemsize
"""Bytes of a number that is not rounded to 16 bits."""

DEAR_ON_A_CPU = frozenset({"GeluBackward0", "SiluBackward0"})
"""Activations that are kept on a CPU: their recomputation took 5 % of a BERT's step there, where memory is cheap."""

MOST_STEPS = 4
"""Operations that are followed back at most."""


def _itself(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Kept:
    """The tensors to keep for the backward pass, and the function that computes x from them.

    Attributes:
        tensors: for `ctx.save_for_backward`.
        recompute: computes x from them.
    """

    tensors: tuple[Tensor, ...] = ()
    recompute: Callable[..., Tensor] = _itself


def keep(x: Tensor) -> Kept:
    """Choose what to keep of x for the backward pass, at the least memory.

    Args:
        x: any tensor.

    Returns:
        The tensors that autograd keeps already where x is the output of a norm, a gate or an activation; else x. An x
        that was written to since, as by a hook that steers a model, is no longer that output.
    """
    if torch._C._autograd._top_saved_tensors_default_hooks(False) is not None:  # noqa: SLF001, FBT003 -- no public one
        return Kept((x,))  # hooks that move or count saved tensors get x itself
    if not x.is_inference() and x._version:  # noqa: SLF001 -- torch has no public name for it
        return Kept((x,))  # without a graph, its writing is not recorded
    if x.grad_fn is not None and x.device.type == "cpu" and x.grad_fn.name() in DEAR_ON_A_CPU:
        return Kept((x,))
    known = _KNOWN.get(x)  # type: ignore[no-untyped-call]  # torch's
    if known is None:
        found = _origin(x.grad_fn, MOST_STEPS)
        if found is None or any(tensor.device != x.device for tensor in found.tensors):
            return Kept((x,))
        tensors = tuple(tensor.detach() for tensor in found.tensors)
        known = Kept(tensors, Recomputation(found.recompute, x.shape))
        _KNOWN[x] = known
    known.recompute.readers += 1
    return known  # type: ignore[no-any-return]  # torch's


_KNOWN = WeakTensorKeyDictionary()
"""Inputs alive that were seen already, never written over: q, k and v read one, and it is recomputed once for all."""


class Recomputation:
    """Recomputes x for the first of its readers, and drops it after the last, or when the backward pass ends.

    Args:
        make: computes x from the tensors that were kept.
        shape: of x.
    """

    def __init__(self, make: Callable[..., Tensor], shape: torch.Size) -> None:
        self.make, self.shape = make, shape
        self.readers = self.served = 0
        self.made: Tensor | None = None

    def __call__(self, *tensors: Tensor) -> Tensor:
        """x, which readers must not write to."""
        x = self.made
        if x is None:
            x = self.made = self.make(*tensors).view(self.shape)
            self.served = 0
            with suppress(RuntimeError):  # not in a backward pass
                torch.autograd.Variable._execution_engine.queue_callback(self._forget)  # noqa: SLF001 -- no public one
        self.served += 1
        if self.served >= self.readers:
            self._forget()
        return x

    def _forget(self) -> None:
        self.made = None


def _origin(node: Any, steps: int) -> Kept | None:
    """The tensors that x was computed from, by the name of its operation in the graph; None where unknown."""
    rule = _RULES.get("" if node is None or steps == 0 else node.name())
    try:
        return None if rule is None or _handled(node) else rule(node, steps)
    except (RuntimeError, AttributeError):  # the tensors are gone or written over, or this torch names them otherwise
        return None


def _handled(node: Any) -> bool:
    """Tell whether hooks handle what an operation keeps (checkpointing, offloading): then it is not there already."""
    operation = type(node)
    if operation not in _SHOWN:
        _SHOWN[operation] = tuple(name for name in dir(operation) if name.startswith("_raw_saved_"))
    kept = [getattr(node, name) for name in _SHOWN[operation]]
    return any(getattr(one, "unpack_hook", _handled) is not None for one in kept)  # an older torch cannot tell


_SHOWN: dict[type, tuple[str, ...]] = {}
"""By the type of an operation: the names under which it shows what it keeps."""


def _product(node: Any, steps: int) -> Kept | None:
    """A gate, a ⊙ b with both kept; or a norm's last step, its frozen weight times what is normalised."""
    a, b = node._saved_self, node._saved_other  # noqa: SLF001 -- autograd's own names for what it keeps
    if a is not None and b is not None:
        return Kept((a, b), torch.mul)
    factor, place = (a, 1) if a is not None else (b, 0)
    if factor is None or factor.requires_grad:
        return None
    inner = _origin(node.next_functions[place][0], steps - 1)
    return None if inner is None else Kept((factor, *inner.tensors), _times(inner.recompute))


def _times(recompute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda factor, *rest: factor * recompute(*rest)


def _cast(node: Any, steps: int) -> Kept | None:
    inner, dtype = _origin(node.next_functions[0][0], steps - 1), node._input_metadata[0].dtype  # noqa: SLF001 -- as above
    return None if inner is None else Kept(inner.tensors, lambda *tensors: inner.recompute(*tensors).to(dtype))


def _layer_norm(node: Any, _: int) -> Kept | None:
    """(h − mean)·(1/deviation)·w + b, with the mean and deviation of the forward pass: right to its last digits.

    Not where these are kept in 16 bits, as on a CPU: x would be right to a few percent only.
    """
    h, mean, deviation = node._saved_input, node._saved_result1, node._saved_result2  # noqa: SLF001 -- as above
    weight, bias = node._saved_weight, node._saved_bias  # noqa: SLF001 -- as above
    if weight is None or bias is None or mean.dtype.itemsize < FULL:
        return None
    dtype = h.dtype

    def recompute(h: Tensor, mean: Tensor, deviation: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.addcmul(bias.to(mean.dtype), (h - mean).mul_(deviation), weight.to(mean.dtype)).to(dtype)

    return Kept((h, mean, deviation, weight, bias), recompute)


def _gelu(node: Any, _: int) -> Kept:
    shape = str(node._saved_approximate)  # noqa: SLF001 -- as above
    return Kept((node._saved_self,), lambda h: gelu(h, approximate=shape))  # noqa: SLF001 -- as above


def _silu(node: Any, _: int) -> Kept:
    return Kept((node._saved_self,), torch.nn.functional.silu)  # noqa: SLF001 -- as above


_RULES: dict[str, Callable[[Any, int], Kept | None]] = {
    "MulBackward0": _product,
    "ToCopyBackward0": _cast,
    "NativeLayerNormBackward0": _layer_norm,
    "GeluBackward0": _gelu,
    "SiluBackward0": _silu,
}
"""By the name of an operation in autograd's graph. ReLU needs none: it keeps its output, which is x."""
