"""Examples: prompts with the completion to learn, as text or as a conversation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from retain.data.answers import truth_value
from retain.data.cells import holds_turns, unpacked
from retain.data.conversation import Message, check_learned, documents_of, tools_of, turns_of
from retain.data.family import Head
from retain.data.item import DataItem, columns_of, shared, shared_fields_last
from retain.data.numbers import SWITCHES
from retain.data.sentences import found
from retain.data.texts import is_blank, paragraphs
from retain.data.tokens import encode_example

TEMPLATE_KEYS = (*SWITCHES, "reasoning_effort")
"""Keys of a row that are arguments of a chat template, beside tools and documents."""

SYSTEM_KEYS = ("system", "system_prompt")
"""Keys of a row that hold the system's turn of its conversation."""

OWN_KEYS = frozenset(
    {"messages", "prompt", "completion", "group", "condition", "domain", "tools", "functions", "documents"}
    | {"chat_template_kwargs", *TEMPLATE_KEYS}
)


def _text_or_turns(value: Any) -> Any:
    if isinstance(value, str) or (isinstance(value, tuple) and all(isinstance(turn, Message) for turn in value)):
        return value
    raise ValueError(f"expected text or a list of messages, found {found(value)}")


Part = Annotated[str | tuple[Message, ...], BeforeValidator(_text_or_turns)]


class Example(DataItem):
    """A prompt and the completion to give; only the completion is trained on.

    Either two strings, used as they are, or two lists of messages, rendered by the tokenizer's chat template.

    Attributes:
        prompt: what is given.
        completion: what is to be written.
        template_inputs: what the chat template is given beside the messages: tools, documents, its own arguments.
        other_keys: names of further keys of the row, which no template of the model may read.
    """

    model_config = ConfigDict(extra="forbid")

    form: ClassVar[str] = "completion"
    columns: ClassVar[tuple[str, ...]] = ("prompt", "completion")
    trains: ClassVar[Head | None] = "causal-lm"

    prompt: Part
    completion: Part
    template_inputs: dict[str, Any] | None = None
    other_keys: tuple[str, ...] = Field((), exclude=True, repr=False)

    @classmethod
    def parse(cls, row: dict[str, Any], folder: Path = Path()) -> Self:
        """Make an example of a row `{"prompt", "completion"}` or `{"messages": […]}`.

        Of a conversation the last message, the assistant's, is the completion and everything before it the prompt.
        `tools` and other keys that a chat template reads go with it; keys that change nothing are ignored.

        Raises:
            ValueError: in one sentence, what is wrong with the row.
        """
        del folder
        prompt, completion = cls._parts(row)
        values: dict[str, Any] = {"prompt": prompt, "completion": completion, **shared(row)}
        if not isinstance(prompt, str) and not isinstance(completion, str):
            values["template_inputs"] = template_inputs(row) or None
            others = (key for key in row.keys() - OWN_KEYS if key not in SYSTEM_KEYS and row[key] is not None)
            values["other_keys"] = tuple(sorted(others))
        return cls.checked(values)

    @classmethod
    def _parts(cls, row: dict[str, Any]) -> tuple[Any, Any]:
        """The prompt and the completion of a row, lists of messages as turns.

        Raises:
            ValueError: they are missing, or their messages are none.
        """
        if "messages" in row and (row["messages"] is not None or any(row.get(name) is None for name in cls.columns)):
            turns = turns_of(row["messages"], "messages")
            if len(turns) < 2:
                raise ValueError('"messages" must be a list of at least two messages, the last one the assistant\'s')
            return _after_system(row, turns[:-1]), turns[-1:]
        missing = [f'"{key}"' for key in cls.columns if key not in row]
        if missing:
            raise ValueError(
                f"{' and '.join(missing)} missing or empty (found {columns_of(row)}); "
                'give "prompt" and "completion", or "messages"'
            )
        given = (unpacked(row[name], name) if holds_turns(row[name]) else row[name] for name in cls.columns)
        prompt, completion = (
            turns_of(value, name) if isinstance(value, list | tuple) else value
            for name, value in zip(cls.columns, given, strict=True)
        )
        return prompt if isinstance(prompt, str) or prompt is None else _after_system(row, prompt), completion

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if isinstance(self.prompt, str) != isinstance(self.completion, str):
            raise ValueError("prompt and completion must both be text or both be lists of messages")
        if isinstance(self.prompt, str) or isinstance(self.completion, str):
            if is_blank(str(self.completion)):
                raise ValueError("the completion is empty, so there is nothing to learn")
        elif not self.prompt or not self.completion:
            raise ValueError("prompt and completion must each have at least one message")
        else:
            check_learned(self.prompt, self.completion)
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
    def answer_text(self) -> str:
        """The completion as a model would answer: without roles and without reasoning."""
        if isinstance(self.completion, str):
            return self.completion.strip()
        return "\n".join(turn.answer for turn in self.completion if turn.role == "assistant").strip()

    @property
    def calls_tools(self) -> bool:
        """True where the completion calls tools, which each chat template writes in its own way."""
        return not isinstance(self.completion, str) and any(turn.tool_calls for turn in self.completion)

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of prompt and completion without roles, one for each turn."""
        if isinstance(self.prompt, str) and isinstance(self.completion, str):
            return self.prompt, self.completion
        return (*_contents(self.prompt), *_contents(self.completion))

    @property
    def full_text(self) -> str:
        """All turns, one below the other."""
        return "\n".join(self.texts)

    @property
    def trained_texts(self) -> tuple[str, ...]:
        """The prompt, prompt and completion together, and each turn with its paragraphs; each text once."""
        turns = self.texts
        if isinstance(self.prompt, str) and "\n" not in (joined := self._joined):
            return self.prompt, joined, turns[-1]
        parts = [part for turn in turns if "\n" in turn for part in paragraphs(turn)]
        return tuple(dict.fromkeys((self.prompt_text, self._joined, *turns, *parts)))

    def measured_texts(self, *, prompts_differ: bool) -> tuple[str, ...]:
        """The prompt; with the completion where prompts say little by themselves."""
        return (self.prompt_text if prompts_differ and self.prompt_text.strip() else self._joined,)

    @property
    def question_texts(self) -> tuple[str, ...]:
        """The prompt, of a conversation what the user says."""
        if isinstance(self.prompt, str):
            return (self.prompt,)
        return tuple(turn.text for turn in self.prompt if turn.role == "user")

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


def _after_system(row: dict[str, Any], turns: Any) -> Any:
    """Turns behind the system's, where that stands in a column of its own and not among them."""
    said = next((row[key] for key in SYSTEM_KEYS if isinstance(row.get(key), str) and not is_blank(row[key])), None)
    if said is None or not isinstance(turns, tuple) or any(turn.role in ("system", "developer") for turn in turns):
        return turns
    return (Message(role="system", content=said), *turns)


def template_inputs(row: dict[str, Any]) -> dict[str, Any]:
    """What a row gives the chat template beside its messages.

    Raises:
        ValueError: tools, documents or `chat_template_kwargs` are not what they should be.
    """
    inputs: dict[str, Any] = {key: row[key] for key in TEMPLATE_KEYS if row.get(key) is not None}
    further = row.get("chat_template_kwargs")
    if further is not None and not isinstance(further, dict):
        raise ValueError(f'field "chat_template_kwargs": expected an object, found {found(further)}')
    inputs |= {key: value for key, value in (further or {}).items() if value is not None}
    for key in inputs.keys() & set(SWITCHES):  # a template takes the text "false" for true
        try:
            inputs[key] = truth_value(inputs[key])
        except ValueError as error:
            raise ValueError(f'field "{key}": {error}') from error
    refused = sorted(_RESERVED & inputs.keys())
    if refused:
        raise ValueError(
            f'field "chat_template_kwargs": {", ".join(refused)} cannot be given by a row; a template is given as '
            "--template FILE"
        )
    if tools := tools_of(row):
        inputs["tools"] = tools
    if documents := documents_of(row):
        inputs["documents"] = documents
    return inputs


_RESERVED = frozenset(
    {"messages", "conversation", "chat_template", "add_generation_prompt", "continue_final_message", "tokenize"}
    | {"padding", "truncation", "max_length", "return_tensors", "return_dict", "return_assistant_tokens_mask"}
    | {"tokenizer_kwargs", "sanitize_control_tokens"}
)


def _contents(part: str | tuple[Message, ...]) -> list[str]:
    return [part] if isinstance(part, str) else [turn.text for turn in part]


def _plain(part: str | tuple[Message, ...]) -> str:
    return part if isinstance(part, str) else "\n".join(f"{turn.role}: {turn.text}" for turn in part)
