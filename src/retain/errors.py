"""The errors a user of retain can meet: each says what was asked, what was found and what to try.

Every error that is the user's to mend derives from `RetainError`; anything else that escapes is a defect of ours.
The command line turns `InputError` into exit code 2 and every other `RetainError` into exit code 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeGuard


def sentence(text: str) -> str:
    """A clause with a full stop at its end; a text that ends as a sentence does stays as it is.

    Args:
        text: not empty.
    """
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a setting is a finite number, before it is compared with one: no text, no None, no truth value."""
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a setting is a whole number, also one of numpy; a truth value is none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def layer_problems(fields: Mapping[str, Any]) -> list[str]:
    """The problems of fields by which a configuration selects layers in PEFT's way, where a value is of another kind.

    PEFT takes some of these for something else: each letter of `modules_to_save="lm_head"` for a name.

    Args:
        fields: by name, of any configuration; others are passed over.
    """
    problems = []
    for name in ("target_modules", "exclude_modules"):
        value = fields.get(name)
        if isinstance(value, str):
            try:
                re.compile(value)
            except re.error as error:
                problems.append(
                    f"{name}={value!r}: this is no regular expression ({error}); give names in a list, as ['q_proj'], "
                    "or an expression for whole names, as '.*q_proj'."
                )
        elif not _is_list_of(value, str):
            problems.append(
                f"{name}={value!r}: give names in a list, as ['q_proj', 'v_proj'], or one regular expression."
            )
    if not _is_list_of(value := fields.get("modules_to_save"), str):
        problems.append(f"modules_to_save={value!r}: give names in a list, as ['lm_head'].")
    if not (is_whole(value := fields.get("layers_to_transform")) or _is_list_of(value, int)):
        problems.append(f"layers_to_transform={value!r}: give the indices of layers, as [0, 1].")
    return problems


def _is_list_of(value: object, kind: type) -> bool:
    """Tell whether a field is left out, or holds several values that are all of a kind."""
    if value is None or not isinstance(value, (list, tuple, set, frozenset)):
        return value is None
    return all(isinstance(one, kind) and not isinstance(one, bool) for one in value)


class RetainError(Exception):
    """Base of all errors raised on purpose.

    Examples:
        >>> issubclass(retain.InputError, retain.RetainError) and issubclass(retain.TrainingError, retain.RetainError)
        True
    """


class InputError(RetainError):
    """The recipe, the data or the model cannot be used as asked. Holds every problem found, not only the first.

    Attributes:
        problems: one sentence a problem, each naming the place (field, file and line, module) and the cure.

    Examples:
        >>> try:
        ...     retain.read_result(Path("nowhere/result.json"))
        ... except retain.InputError as error:
        ...     print(error.problems[0])
        nowhere/result.json: no readable result record: ...
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))


class TargetError(InputError, ValueError, TypeError):
    """A module that an adapter was asked to change cannot be changed by it, or none matches.

    Also a `ValueError` and a `TypeError`, the kinds that PEFT raises for the same mistakes, so that callers who
    already catch those keep working.

    Examples:
        >>> try:
        ...     get_peft_model(base, retain.VeFAConfig(target_modules=["no_such_layer"]))
        ... except retain.TargetError as error:
        ...     print("no_such_layer" in str(error))
        True
    """


class AdapterError(InputError, ValueError):
    """Adapters cannot be combined, or used for the rows of a batch, as asked.

    Also a `ValueError`, which PEFT raises for the same mistakes.
    """


class MergeError(RetainError, ValueError):
    """Merging would give a wrong or irreversible model (tied weights, a base that cannot be rewritten).

    Examples:
        >>> try:
        ...     model.merge_adapter()
        ... except retain.MergeError as error:  # a base whose weights cannot be rewritten
        ...     print(error)
    """


class TrainingError(RetainError):
    """Training ran and cannot go on: a loss that is not finite, for instance.

    Examples:
        >>> try:
        ...     _ = trainer.train()
        ... except retain.TrainingError as error:
        ...     print(f"start again with a smaller learning rate: {error}")
    """


class OutOfMemoryError(RetainError, MemoryError):
    """The memory of a device did not suffice to load, to measure or to train; the text says what to try."""
