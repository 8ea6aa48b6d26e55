"""Examples: prompts with the completion to learn, as text or as a conversation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

from retain.data.family import Head
from retain.data.item import DataItem, columns_of, shared, shared_fields_last
from retain.data.texts import paragraphs
from retain.data.tokens import encode_example


class Message(BaseModel):
    """One turn of a conversation, in the shape that chat templates take."""

    model_config = ConfigDict(frozen=True, extra="allow")

    role: Literal["system", "user", "assistant", "tool", "developer"]
    content: str


class Example(DataItem):
    """A prompt and the completion to give; only the completion is trained on.

    Either two strings, used as they are, or two lists of messages, rendered by the tokenizer's chat template.
    """

    model_config = ConfigDict(extra="forbid")

    form: ClassVar[str] = "completion"
    columns: ClassVar[tuple[str, ...]] = ("prompt", "completion")
    trains: ClassVar[Head | None] = "causal-lm"

    prompt: str | tuple[Message, ...]
    completion: str | tuple[Message, ...]

    @classmethod
    def parse(cls, row: dict[str, Any], folder: Path = Path()) -> Self:
        """Make an example of a row `{"prompt", "completion"}` or `{"messages": […]}`; other keys are ignored.

        Of a conversation the last message, the assistant's, is the completion and everything before it the prompt.

        Raises:
            ValueError: in one sentence, what is wrong with the row.
        """
        del folder
        if "messages" in row:
            messages = row["messages"]
            if not isinstance(messages, list) or len(messages) < 2:
                raise ValueError('"messages" must be a list of at least two messages, the last one the assistant\'s')
            if not isinstance(messages[-1], dict) or messages[-1].get("role") != "assistant":
                raise ValueError('the last of "messages" must have the role "assistant": it is what is learned')
            return cls.checked({"prompt": messages[:-1], "completion": messages[-1:], **shared(row)})
        missing = [f'"{key}"' for key in cls.columns if key not in row]
        if missing:
            raise ValueError(
                f"{' and '.join(missing)} missing (found {columns_of(row)}); "
                'give "prompt" and "completion", or "messages"'
            )
        return cls.checked({"prompt": row["prompt"], "completion": row["completion"], **shared(row)})

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if isinstance(self.prompt, str) != isinstance(self.completion, str):
            raise ValueError("prompt and completion must both be text or both be lists of messages")
        if not self.completion_text.strip():
            raise ValueError("the completion is empty, so there is nothing to learn")
        return self

    @model_serializer(mode="wrap")
    def _serialised(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return shared_fields_last(self, handler)

    @property
    def is_chat(self) -> bool:
        """True where the tokenizer's chat template applies."""
        return not isinstance(self.prompt, str)

    @property
    def prompt_text(self) -> str:
        """The prompt as plain text, for reports and contamination checks."""
        return _plain(self.prompt)

    @property
    def completion_text(self) -> str:
        """The completion as plain text."""
        return _plain(self.completion)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of prompt and completion without roles, one for each turn."""
        return (*_contents(self.prompt), *_contents(self.completion))

    @property
    def full_text(self) -> str:
        """All turns, one below the other."""
        return "\n".join(self.texts)

    @property
    def trained_texts(self) -> tuple[str, ...]:
        """The prompt, prompt and completion together, and each turn with its paragraphs."""
        parts = (part for turn in self.texts for part in paragraphs(turn))
        return (self.prompt_text, self._joined, *self.texts, *parts)

    def measured_texts(self, *, prompts_differ: bool) -> tuple[str, ...]:
        """The prompt; with the completion where prompts say little by themselves."""
        return (self.prompt_text if prompts_differ and self.prompt_text.strip() else self._joined,)

    @property
    def question_texts(self) -> tuple[str, ...]:
        """The prompt, of a conversation what the user says."""
        if isinstance(self.prompt, str):
            return (self.prompt,)
        return tuple(turn.content for turn in self.prompt if turn.role == "user")

    @property
    def for_calibration(self) -> DataItem:
        """The example itself, which is read as it is learned."""
        return self

    def calibration_tokens(self, tokenizer: Any, max_length: int) -> list[list[int]]:
        """One sequence, as in training."""
        return [list(encode_example(tokenizer, self, max_length).ids)]

    @property
    def _joined(self) -> str:
        return f"{self.prompt_text} {self.completion_text}"


def _contents(part: str | tuple[Message, ...]) -> list[str]:
    return [part] if isinstance(part, str) else [turn.content for turn in part]


def _plain(part: str | tuple[Message, ...]) -> str:
    return part if isinstance(part, str) else "\n".join(f"{turn.role}: {turn.content}" for turn in part)
