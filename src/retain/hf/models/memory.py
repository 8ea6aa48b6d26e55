"""Out of memory: known by whatever was raised, and told with what to try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from retain.errors import OutOfMemoryError

_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
"""Words of torch's errors that are no class of their own: of the CPU's allocator, of MPS, of XPU."""

_CURES = {
    "loading": "--quantization 4bit (a quarter of 16 bits) or 8bit, --dtype bfloat16, or --device-map auto, which "
    "spreads the layers over all devices, memory and disk",
    "measuring": "a smaller --evaluation-batch-size, fewer --held-out-tokens or a smaller --max-length, --quantization "
    "4bit, or --device-map auto",
    "calibrating": "a smaller --calibrate-batch-size, --memory-limit, which bounds the sums, --quantization 4bit, or "
    "--device-map auto",
    "training": "a smaller --batch-size with --training.gradient_accumulation_steps, --training.gradient_checkpointing "
    "true, a smaller --max-length, --quantization 4bit, or --device-map auto",
}
"""What to try, by what was done."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on whichever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


@contextmanager
def telling_memory(doing: str) -> Iterator[None]:
    """Turn running out of memory inside the context into a sentence with what to try; other errors pass.

    Args:
        doing: loading, measuring, calibrating or training.

    Raises:
        OutOfMemoryError: memory ran out.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        found = next((one for one in _causes(error) if is_out_of_memory(one)), None)
        if found is None:
            raise
        words = " ".join(str(found).split()).partition(" If reserved")[0][:200]
        raise OutOfMemoryError(
            f"out of memory while {doing}{f' ({words})' if words else ''}. Try {_CURES[doing]}."
        ) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was raised from: somebody may have taken the first for another fault."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__
