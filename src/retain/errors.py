"""The errors a user of retain can meet: each says what was asked, what was found and what to try.

Every error that is the user's to mend derives from `RetainError`; anything else that escapes is a defect of ours.
The command line turns `InputError` into exit code 2 and every other `RetainError` into exit code 1.
"""

from __future__ import annotations

from collections.abc import Sequence


class RetainError(Exception):
    """Base of all errors raised on purpose."""


class InputError(RetainError):
    """The recipe, the data or the model cannot be used as asked. Holds every problem found, not only the first.

    Attributes:
        problems: one sentence a problem, each naming the place (field, file and line, module) and the cure.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class TargetError(InputError, ValueError, TypeError):
    """A module that an adapter was asked to change cannot be changed by it, or none matches.

    Also a `ValueError` and a `TypeError`, the kinds that PEFT raises for the same mistakes, so that callers who
    already catch those keep working.
    """


class MergeError(RetainError, ValueError):
    """Merging would give a wrong or irreversible model (tied weights, a base that cannot be rewritten)."""


class TrainingError(RetainError):
    """Training ran and cannot go on: a loss that is not finite, for instance."""
