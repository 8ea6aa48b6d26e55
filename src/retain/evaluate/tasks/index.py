"""What a suite searches among features: an index that each side reads for itself, or the base's for both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retain.errors import InputError
from retain.evaluate.suites.suite import Suite

if TYPE_CHECKING:
    from torch import Tensor


def index_of_base(suite: Suite) -> bool:
    """True where the base's features are what is searched, as in an index that was built before the fine-tune."""
    return suite.options.get("index") == "base"


def index_told(suite: Suite) -> list[str]:
    """A remark on a suite whose index is the base's, as a clause; none for any other."""
    told = (
        "what is searched was read by the base, for both sides (index: base), so a loss is that of an index which was "
        "built before the fine-tune"
    )
    return [told] if index_of_base(suite) else []


def check_width(suite: Suite, index: Tensor, queries: Tensor) -> None:
    """Refuse to search the base's index by features of another width.

    Args:
        suite: whose items they are.
        index: features (m, d) that are searched.
        queries: features (n, d) that are asked.

    Raises:
        InputError: the tuned model's features have more or fewer values than the base's.
    """
    if index_of_base(suite) and index.shape[1] != queries.shape[1]:
        raise InputError(
            f"{suite.name}: the tuned model's features have {queries.shape[1]} values and the base's "
            f"{index.shape[1]}, so it cannot search the base's index; leave index: base out of the suite's options."
        )
