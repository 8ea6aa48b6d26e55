"""The warning that tells how much of an adapter's update was lost as it was merged into a quantised base."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence


class MergeLossWarning(UserWarning):
    """An adapter was merged into a quantised base; the text says how much of the update that lost."""


def warn_of_loss(parts: Sequence[tuple[float, float]]) -> None:
    """Warn of what quantising again took of an update; nothing is said where nothing quantised was written.

    Args:
        parts: of each layer that was written, ‖W − W'‖² and ‖W − W0‖², as `Original.rounded_away` gives them.
    """
    lost, update = (sum(part[index] for part in parts) for index in (0, 1))
    if update > 0:
        warnings.warn(
            f"Merged into a quantised base, which was quantised again: the weights differ from base and update by "
            f"{math.sqrt(lost / update):.0%} of the update's size. Merge into the unquantised base, or serve the "
            "adapter, to lose nothing.",
            MergeLossWarning,
            stacklevel=5,
        )
