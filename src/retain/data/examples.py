"""What one line of data means: something to learn, or something to keep. Plain values that check themselves."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Row = TypeVar("Row", bound=BaseModel)

SHARED = ("group", "condition")
"""Fields that every item may have: what it belongs together with (one article, one image: the independent unit), and
its condition (a domain, a domain), by which scores are broken down. `domain` is read as `condition`."""


class Message(BaseModel):
    """One turn of a conversation, in the shape that chat templates take."""

    model_config = ConfigDict(frozen=True, extra="allow")

    role: Literal["system", "user", "assistant", "tool", "developer"]
    content: str


class Example(BaseModel):
    """Something to learn: a prompt and the completion to give; only the completion is trained on.

    Either two strings, used as they are, or two lists of messages, put into the tokenizer's chat template.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str | tuple[Message, ...]
    completion: str | tuple[Message, ...]
    group: str | None = None
    condition: str | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> Example:
        if isinstance(self.prompt, str) != isinstance(self.completion, str):
            raise ValueError("prompt and completion must both be text or both be lists of messages")
        if not self.completion_text.strip():
            raise ValueError("the completion is empty, so there is nothing to learn")
        return self

    @property
    def is_chat(self) -> bool:
        """Whether the tokenizer's chat template applies."""
        return not isinstance(self.prompt, str)

    @property
    def prompt_text(self) -> str:
        """The prompt as plain text, for reports and for finding overlaps."""
        return _plain(self.prompt)

    @property
    def turns(self) -> tuple[str, ...]:
        """The texts of prompt and completion without roles, one for each turn: what overlaps are looked for in."""
        parts = ([part] if isinstance(part, str) else [turn.content for turn in part] for part in self._parts)
        return tuple(text for part in parts for text in part)

    @property
    def _parts(self) -> tuple[str | tuple[Message, ...], ...]:
        return self.prompt, self.completion

    @property
    def completion_text(self) -> str:
        """The completion as plain text."""
        return _plain(self.completion)


class Choice(BaseModel):
    """Something to keep: a question, the answers to choose from, and the index of the right one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    question: str = Field(min_length=1)
    choices: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=2)
    answer: int
    group: str | None = None
    condition: str | None = None

    @model_validator(mode="after")
    def _answer_in_range(self) -> Choice:
        if not 0 <= self.answer < len(self.choices):
            raise ValueError(f"answer is {self.answer}, but there are {len(self.choices)} choices (counted from 0)")
        if len(set(self.choices)) < len(self.choices):
            raise ValueError("two choices are the same text")
        return self


def parse_example(row: dict[str, Any]) -> Example:
    """Make an example of a row `{"prompt","completion"}` or `{"messages":[…]}`; other keys are ignored.

    Of a conversation the last message, the assistant's, is the completion and everything before it the prompt.

    Raises:
        ValueError: in one sentence, what is wrong with the row.
    """
    if "messages" in row:
        messages = row["messages"]
        if not isinstance(messages, list) or len(messages) < 2:
            raise ValueError('"messages" must be a list of at least two messages, the last one the assistant\'s')
        if not isinstance(messages[-1], dict) or messages[-1].get("role") != "assistant":
            raise ValueError('the last of "messages" must have the role "assistant": it is what is learned')
        return validated(Example, {"prompt": messages[:-1], "completion": messages[-1:], **shared(row)})
    missing = [f'"{key}"' for key in ("prompt", "completion") if key not in row]
    if missing:
        found = ", ".join(f'"{key}"' for key in row) or "nothing"
        raise ValueError(
            f'{" and ".join(missing)} missing (found {found}); give "prompt" and "completion", or "messages"'
        )
    return validated(Example, {"prompt": row["prompt"], "completion": row["completion"], **shared(row)})


def parse_choice(row: dict[str, Any]) -> Choice:
    """Make a multiple-choice item of a row `{"question","choices","answer"}`; other keys are ignored.

    Raises:
        ValueError: in one sentence, what is wrong with the row.
    """
    need(row, "question", "choices", "answer")
    return validated(Choice, {**row, **shared(row)})


def shared(row: dict[str, Any]) -> dict[str, str | None]:
    """The group and condition of a row as text; `domain` is another word for condition."""
    found = {"group": row.get("group"), "condition": row.get("condition", row.get("domain"))}
    return {key: None if value is None else str(value) for key, value in found.items()}


def need(row: dict[str, Any], *keys: str) -> None:
    """Refuse a row that lacks a key.

    Raises:
        ValueError: in one sentence, what is missing and what was found.
    """
    missing = [f'"{key}"' for key in keys if key not in row]
    if missing:
        found = ", ".join(f'"{key}"' for key in row) or "nothing"
        raise ValueError(f"{' and '.join(missing)} missing (found {found})")


def _plain(turns: str | tuple[Message, ...]) -> str:
    return turns if isinstance(turns, str) else "\n".join(f"{turn.role}: {turn.content}" for turn in turns)


def validated(kind: type[Row], row: dict[str, Any]) -> Row:
    """A row as an item.

    Raises:
        ValueError: in one sentence, what is wrong with it.
    """
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        sentences = []
        for problem in error.errors():
            place = ".".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            sentences.append(f'"{place}": {message}' if place else message)
        raise ValueError("; ".join(sentences)) from error
