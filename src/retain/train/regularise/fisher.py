"""The diagonal Fisher information of a base on text or images to keep: which weights its predictions there rest on.

F_ij = E_x E_{y ~ p(y|x)} [(∂ log p(y|x) / ∂W_ij)²], with labels y drawn from the base itself: the true Fisher, not the
empirical one, whose labels are those of the data. It is a mean over predictions: the positions of text, the items of a
classifier. The tokens of a sequence are drawn independently, given the sequence as it stands, so that the expected
square of their summed gradient is the sum of the squares: one backward pass of a sequence estimates the Fisher of
all its positions without bias.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from retain.errors import InputError, TrainingError
from retain.hf.models.given import ensure_model
from retain.hf.models.lm_head import logits_of
from retain.hf.models.sides import base_view, eval_mode
from retain.hf.models.trained_parts import ParameterPart, Part, trained_parts
from retain.hf.tuners.base_weight import at_least_float32
from retain.train.regularise.callback import check_batches
from retain.train.regularise.divergence import Batch, Divergence, attention_of, placed
from retain.train.regularise.tensor_file import read_tensors, write_tensors

SCHEMA = "retain.fisher/1"


def drawn_labels(log_p: Tensor, generator: torch.Generator) -> Tensor:
    """A label for each distribution, drawn from it.

    Args:
        log_p: (…, classes), log-probabilities.
        generator: on the CPU, so that the same numbers are drawn for every device.

    Returns:
        int64 (…).
    """
    rising = log_p.double().exp().cumsum(-1)
    chance = torch.rand(log_p.shape[:-1], generator=generator, dtype=torch.float64).to(rising.device)
    found = torch.searchsorted(rising, chance.unsqueeze(-1) * rising[..., -1:], right=True)
    return found.squeeze(-1).clamp(max=log_p.shape[-1] - 1)


def weight_gradient(x: Tensor, g: Tensor) -> Tensor:
    """∂/∂W = Σ_t g_t x_tᵀ of a linear layer y = W x from its inputs and the gradient of its outputs.

    Args:
        x: (…, n).
        g: (…, m).

    Returns:
        (m, n), in float32 or better.
    """
    return at_least_float32(g).reshape(-1, g.shape[-1]).T @ at_least_float32(x).reshape(-1, x.shape[-1])


@dataclass(frozen=True)
class Fisher:
    """The diagonal Fisher information of the weights that a model trains.

    Attributes:
        diagonal: F by the name of a layer or parameter of the base, of the shape of its weight.
        predictions: positions, or items of a classifier, that it is a mean over.
    """

    diagonal: Mapping[str, Tensor]
    predictions: int

    @property
    def unreached(self) -> list[str]:
        """The names of parts on which no prediction rests, so that nothing holds them."""
        return [name for name, values in self.diagonal.items() if not bool(values.any())]

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that tell it from another: of the names, and of the sum of each part's bytes."""
        sums = {name: int(values.view(torch.uint8).sum(dtype=torch.int64)) for name, values in self.diagonal.items()}
        return hashlib.sha256(json.dumps([sums, self.predictions], sort_keys=True).encode()).hexdigest()[:12]

    def save(self, path: str | Path) -> None:
        """Write it as safetensors.

        Raises:
            InputError: a file is there that retain did not write.
        """
        write_tensors(path, self.diagonal, SCHEMA, {"predictions": str(self.predictions)})

    @classmethod
    def load(cls, path: str | Path) -> Fisher:
        """Read what `save` wrote.

        Raises:
            InputError: it is damaged, or another kind of file.
        """
        held, told = read_tensors(path, SCHEMA, "Fisher information", "it is measured again")
        return cls(held, int(told["predictions"]))


def fisher_diagonal(
    model: nn.Module,
    batches: Sequence[Batch],
    *,
    teacher: nn.Module | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    on_row: Callable[[int, int], None] | None = None,
) -> Fisher:
    """Measure the diagonal Fisher information of a base, of all weights that its model trains.

    Each sequence (or image) is put through the base alone, forwards and backwards. Over a quantised base it is that of
    the weights as they are dequantised. Modes and requires_grad flags are given back.

    Args:
        model: with adapters, as it will be trained.
        batches: model inputs whose predictions must stay, such as `text_batches` makes; labels are not read.
        teacher: the base as a second model, where it is not inside: full fine-tuning, PiSSA and the like.
        seed: of the labels that are drawn.
        dtype: in which F is kept. It is summed in float32 or better. bfloat16 has the range of float32, and rounding to
            it is small beside the error of the estimate, about √(2 / sequences) of each entry.
        on_row: told how many of how many sequences are done.

    Returns:
        F of each part, on the device of its weight.

    Raises:
        InputError: the model has no distribution, no base, or no weights that it trains; or nothing reached them.
        TrainingError: F is not finite.

    Examples:
        >>> fisher = retain.fisher_diagonal(model, retain.text_batches(tokenizer, texts))
        >>> fisher.predictions > 0
        True
    """
    model, rows = ensure_model(model), [row for batch in check_batches(batches, "ewc") for row in _rows(batch)]
    Divergence(teacher).check(model)
    parts, predictions = trained_parts(model), 0
    with _base_of(model, teacher) as base, _squares(base, parts, teacher) as (sums, finish):
        for number, row in enumerate(rows):
            generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
            predictions += _backward(base, placed(base, row), generator)
            finish()
            if on_row is not None:
                on_row(number + 1, len(rows))
    if not any(bool(total.any()) for total in sums.values()):
        raise InputError("ewc: the predictions on the text to keep rest on none of the weights that are trained.")
    diagonal = {}
    for part in parts:  # one after another, so that never two whole copies are held
        mean = sums.pop(part.name) / max(1, predictions)
        if not bool(torch.isfinite(mean).all()):
            raise TrainingError(f"the Fisher information of {part.name} is not finite: try --dtype float32.")
        diagonal[part.name] = mean.to(dtype).contiguous()
    return Fisher(diagonal, predictions)


def _rows(batch: Batch) -> Iterator[dict[str, Tensor]]:
    """The rows of a batch, each alone and without its padding."""
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    mask = attention_of(inputs)
    for row in range(min(len(value) for value in inputs.values())):
        alone = {name: value[row : row + 1] for name, value in inputs.items()}
        if mask is not None:
            own = mask[row].bool()
            alone = {name: v[:, own] if v.shape[1:2] == own.shape else v for name, v in alone.items()}
            if not bool(own.any()):
                continue
        yield alone


def _backward(base: nn.Module, row: Mapping[str, Tensor], generator: torch.Generator) -> int:
    """Put one row through the base and back from labels that are drawn; the number of its predictions."""
    device = next(iter(row.values())).device
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        log_p = at_least_float32(logits_of(base, row)).log_softmax(-1)
        labels = drawn_labels(log_p.detach(), generator)
        if log_p.requires_grad:
            torch.autograd.backward(log_p.gather(-1, labels.unsqueeze(-1)).sum())
    return labels.numel()


@contextmanager
def _base_of(model: nn.Module, teacher: nn.Module | None) -> Iterator[nn.Module]:
    """The base in eval mode, with no parameter that wants a gradient."""
    base = model if teacher is None else teacher
    flags = [(parameter, parameter.requires_grad) for parameter in base.parameters()]
    with ExitStack() as undo:
        if teacher is None:
            undo.enter_context(base_view(model))
        undo.callback(lambda: [parameter.requires_grad_(wanted) for parameter, wanted in flags])
        base.requires_grad_(requires_grad=False)
        undo.enter_context(eval_mode(base))
        yield base


@contextmanager
def _squares(
    base: nn.Module, parts: Iterable[Part], teacher: nn.Module | None
) -> Iterator[tuple[dict[str, Tensor], Callable[[], None]]]:
    """Sum the squared gradients of parts of the base; the function that is given ends a row."""
    sums: dict[str, Tensor] = {}
    calls: dict[str, list[Tensor | None]] = {}

    def add(name: str, gradient: Tensor) -> None:
        found = at_least_float32(gradient.detach())
        sums[name] = sums[name].addcmul_(found, found) if name in sums else found.square()

    def finish() -> None:
        """Square what layers that were used several times got in all."""
        for name, gradients in calls.items():
            found = [one for one in gradients if one is not None]
            if found:
                add(name, torch.stack(found).sum(0) if len(found) > 1 else found[0])
        calls.clear()

    with ExitStack() as undo:
        for part in parts:
            if isinstance(part, ParameterPart):
                parameter = part.watched(teacher).requires_grad_()
                hook = parameter.register_post_accumulate_grad_hook(_taking(part.name, add))  # type: ignore[no-untyped-call]  # torch's
                undo.callback(hook.remove)
            else:
                watch = _watching(part.name, calls, add)
                undo.callback(part.watched(teacher).register_forward_hook(watch, with_kwargs=True).remove)
        yield sums, finish
        for part in parts:
            if part.name not in sums:
                sums[part.name] = torch.zeros(part.shape, device=next(base.parameters()).device)


def _taking(name: str, add: Callable[[str, Tensor], None]) -> Callable[[Tensor], None]:
    """A hook that takes a parameter's gradient away when it is complete."""

    def take(parameter: Tensor) -> None:
        if parameter.grad is not None:
            add(name, parameter.grad)
        parameter.grad = None

    return take


def _watching(name: str, calls: dict[str, list[Tensor | None]], add: Callable[[str, Tensor], None]) -> Any:
    """A hook on a layer that finds its weight's gradient from its input and the gradient of its output.

    Of a layer that is used once in a pass the gradient is squared at once; of others all uses are added up first.
    """

    def watch(_layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any], y: Tensor) -> Tensor:
        x: Tensor = args[0] if args else next(iter(kwargs.values()))
        given, leaf = x.detach(), y if y.requires_grad else y.detach().requires_grad_()
        gradients = calls.setdefault(name, [])
        place = len(gradients)
        gradients.append(None)

        def receive(g: Tensor) -> None:
            gradient = weight_gradient(given, g)
            if len(gradients) == 1:
                add(name, gradient)
            else:
                gradients[place] = gradient

        leaf.register_hook(receive)  # type: ignore[no-untyped-call]  # torch's
        return leaf if leaf is y else leaf.clone()  # a leaf may not be written into

    return watch
