"""What the files of a model lack, and what they hold beyond it, as transformers counts both when it loads them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from retain.data.family import Family
from retain.hf.models.head import head_names

_LAYER_NUMBER = re.compile(r"\.\d+\.")


def missing_weights(model: Any, family: Family, missing: Iterable[str]) -> str | None:
    """The weights that nothing gives and that may not be random, and why that may be; None where all are there.

    Args:
        model: loaded.
        family: what it was loaded as.
        missing: names of its weights that its files do not hold.
    """
    lacking = [name for name in sorted(missing) if _must_be_there(model, family, name)]
    if not lacking:
        return None
    some = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
    return (
        f"{some}, which would be random: it is cut off, or was saved as another kind of model than "
        f"{type(model).__name__}. Take a whole copy."
    )


def _must_be_there(model: Any, family: Family, name: str) -> bool:
    """True of all that predicts text; elsewhere of the stacked layers: heads are new and poolers not read."""
    stacked = any(part.isdecimal() for part in name.split(".")) and not name.startswith(tuple(head_names(model)))
    return family == "causal-lm" or stacked


def layers_left_over(present: Iterable[str], unexpected: Iterable[str]) -> str | None:
    """The first weight of a file that is like one of the model's, of another layer; None where there is none.

    Args:
        present: names of the model's weights.
        unexpected: names in the file that the model has no place for.
    """
    kinds = {_LAYER_NUMBER.sub(".*.", name) for name in present}
    return next((name for name in sorted(unexpected) if _LAYER_NUMBER.sub(".*.", name) in kinds), None)
