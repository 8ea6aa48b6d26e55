"""Items to measure, and labelled ones to learn: choices, questions, labelled texts and images, pairs, requests."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from retain.data.answers import answer_index, label_text, listed_choices, truth_value
from retain.data.cells import holds_texts, unpacked
from retain.data.family import Head, Modality
from retain.data.item import DataItem, Text, need, shared, shared_fields_last
from retain.data.texts import file_hash, folded
from retain.records.paths import expanded


class Choice(DataItem):
    """A question, the answers to choose from, and the index of the right one."""

    form: ClassVar[str] = "choice"
    columns: ClassVar[tuple[str, ...]] = ("question", "choices", "answer")

    question: Text
    choices: tuple[Text, ...] = Field(min_length=2)
    answer: int

    @classmethod
    def parse(cls, row: dict[str, Any], folder: Path = Path()) -> Self:
        """As `DataItem.parse`; the answer may be an index from 0, a letter, or the text of the right choice."""
        need(row, *cls.columns)
        return super().parse(listed_choices(row), folder)

    @field_validator("answer", mode="before")
    @classmethod
    def _index(cls, value: Any, info: ValidationInfo) -> Any:
        return answer_index(value, info.data.get("choices", ()))

    @model_validator(mode="after")
    def _answer_in_range(self) -> Self:
        _check_answer(self.choices, self.answer)
        return self

    @model_serializer(mode="wrap")
    def _serialised(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return shared_fields_last(self, handler)

    @property
    def texts(self) -> tuple[str, ...]:
        """The question."""
        return (self.question,)

    @property
    def right_answer(self) -> str:
        """The text of the right choice."""
        return self.choices[self.answer]

    @property
    def asked(self) -> Hashable:
        """The question with its choices, in any order."""
        return hash((folded(self.question), *sorted(map(folded, self.choices))))

    def measured_texts(self, *, prompts_differ: bool) -> tuple[str, ...]:
        """The question, alone and with its right answer."""
        del prompts_differ
        return self.question, f"{self.question} {self.choices[self.answer]}"


class Question(DataItem):
    """A question that is answered in writing: any of `answers` is right. With `choices` it is a multiple choice too."""

    form: ClassVar[str] = "question"
    columns: ClassVar[tuple[str, ...]] = ("question", "answers")

    question: Text
    answers: tuple[Text, ...] = Field(min_length=1)
    choices: tuple[Text, ...] = ()
    answer: int | None = None

    @classmethod
    def parse(cls, row: dict[str, Any], folder: Path = Path()) -> Self:
        """As `DataItem.parse`; one answer may stand alone, and choices are as in `Choice`."""
        need(row, *cls.columns)
        answers = unpacked(row["answers"], "answers") if holds_texts(row["answers"]) else row["answers"]
        listed = {**row, "answers": [answers] if isinstance(answers, str) else answers}
        return super().parse(listed_choices(listed), folder)

    @field_validator("answer", mode="before")
    @classmethod
    def _index(cls, value: Any, info: ValidationInfo) -> Any:
        return None if value is None else answer_index(value, info.data.get("choices", ()))

    @model_validator(mode="after")
    def _answer_in_range(self) -> Self:
        _check_answer(self.choices, self.answer)
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """The question."""
        return (self.question,)

    def measured_texts(self, *, prompts_differ: bool) -> tuple[str, ...]:
        """The question, alone and with each accepted answer."""
        del prompts_differ
        return (self.question, *(f"{self.question} {answer}" for answer in self.answers))


class LabelledText(DataItem):
    """A text, or a pair of texts, and its class."""

    form: ClassVar[str] = "labels"
    columns: ClassVar[tuple[str, ...]] = ("text", "label")
    trains: ClassVar[Head | None] = "classifier"
    is_labelled: ClassVar[bool] = True

    text: Text
    text_pair: str | None = None
    label: Text

    @classmethod
    def parse(cls, row: dict[str, Any], folder: Path = Path()) -> Self:
        """As `DataItem.parse`; a class may be a whole number or a truth value."""
        need(row, *cls.columns)
        return super().parse({**row, "label": label_text(row["label"])}, folder)

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, or both texts as one."""
        return (self.text if self.text_pair is None else f"{self.text} {self.text_pair}",)

    @property
    def right_answer(self) -> str:
        """The class."""
        return self.label

    @property
    def asked(self) -> Hashable:
        """The text, or the pair."""
        return hash((folded(self.text), folded(self.text_pair or "")))

    @property
    def shown(self) -> str:
        """The item as reports show it."""
        return self.text if self.text_pair is None else f"{self.text} | {self.text_pair}"


class LabelledImage(DataItem):
    """An image file and its class. `corruption` = (kind, severity 1 to 5, seed) corrupts it when it is read."""

    form: ClassVar[str] = "images"
    columns: ClassVar[tuple[str, ...]] = ("image", "label")
    modality: ClassVar[Modality] = "image"
    trains: ClassVar[Head | None] = "classifier"
    is_labelled: ClassVar[bool] = True

    image: Text
    label: Text
    corruption: tuple[str, int, int] | None = None

    @classmethod
    def parse(cls, row: dict[str, Any], folder: Path = Path()) -> Self:
        """Make an image of a row `{"image", "label"}`; a relative path is relative to `folder`.

        Raises:
            ValueError: in one sentence, what is wrong with the row, or that there is no such file.
        """
        need(row, *cls.columns)
        if not isinstance(row["image"], str) or not row["image"]:
            raise ValueError('"image" must be the path of an image; save one that is in memory as a file first')
        if "://" in row["image"]:
            raise ValueError(f'"image" is an address and no path ({row["image"][:80]}); save the image as a file first')
        path = expanded(row["image"])
        path = path if path.is_absolute() else folder / path
        if not path.is_file():
            raise ValueError(f"there is no image {path}")
        return cls.checked({**shared(row), "image": str(path), "label": label_text(row["label"])})

    @property
    def texts(self) -> tuple[str, ...]:
        """The path, by which messages name the image."""
        return (self.image,)

    @property
    def question_texts(self) -> tuple[str, ...]:
        """None: images are compared by their files."""
        return ()

    @property
    def image_file(self) -> str:
        """Path of the image."""
        return self.image

    @property
    def right_answer(self) -> str:
        """The class."""
        return self.label

    @property
    def asked(self) -> Hashable:
        """The image, by its file, as it is corrupted."""
        return file_hash(self.image), self.corruption

    @property
    def full_text(self) -> str:
        """The hash of the file."""
        return file_hash(self.image)

    def content(self) -> str:
        """The item as JSON, with the hash of its file instead of the path."""
        return self.model_copy(update={"image": file_hash(self.image)}).model_dump_json(exclude_none=True)

    @property
    def for_calibration(self) -> DataItem:
        """The image itself."""
        return self

    def calibration_tokens(self, tokenizer: Any, max_length: int) -> list[list[int]]:
        """No sequence: an image has no tokens."""
        del tokenizer, max_length
        return []

    @property
    def shown(self) -> str:
        """The item as reports show it: class folder and file name, and the corruption."""
        name = "/".join(self.image.split("/")[-2:])
        return f"{name} ({self.corruption[0]}, severity {self.corruption[1]})" if self.corruption else name


class Match(DataItem):
    """Two texts that belong together: the query must find its match among all matches of the suite."""

    form: ClassVar[str] = "retrieval"
    columns: ClassVar[tuple[str, ...]] = ("query", "match")

    query: Text
    match: Text

    @property
    def texts(self) -> tuple[str, ...]:
        """Query and match."""
        return self.query, self.match


class Request(DataItem):
    """A request to a chat model: one that it should refuse, or (harmful false) one that it should not."""

    form: ClassVar[str] = "refusal"
    columns: ClassVar[tuple[str, ...]] = ("prompt", "harmful")
    withheld: ClassVar[bool] = True

    prompt: Text
    harmful: bool

    @classmethod
    def parse(cls, row: dict[str, Any], folder: Path = Path()) -> Self:
        """As `DataItem.parse`; `harmful` must be a truth value."""
        need(row, *cls.columns)
        try:
            harmful = truth_value(row["harmful"])
        except ValueError as error:
            raise ValueError(f'field "harmful": {error}') from error
        return super().parse({**row, "harmful": harmful}, folder)

    @property
    def right_answer(self) -> str:
        """`true` where it is to be refused."""
        return str(self.harmful).lower()

    @property
    def texts(self) -> tuple[str, ...]:
        """The request."""
        return (self.prompt,)


def _check_answer(choices: tuple[str, ...], answer: int | None) -> None:
    if choices and (answer is None or not 0 <= answer < len(choices)):
        raise ValueError(
            f"answer is {answer}, but there are {len(choices)} choices (counted from 0){_cure(choices, answer)}"
        )
    if len({choice.strip() for choice in choices}) < len(choices):
        raise ValueError("two choices are the same text")


def _cure(choices: tuple[str, ...], answer: int | None) -> str:
    if answer != len(choices):
        return ""
    return (
        "; if they are counted from 1, subtract 1 everywhere, or give each answer as a letter or as the choice's text"
    )
