"""Items beside examples and choices: questions with written answers, labelled texts and images, pairs, requests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from retain.data.examples import need, shared, validated

Text = Annotated[str, Field(min_length=1)]


class _Item(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    group: str | None = None
    condition: str | None = None


class Question(_Item):
    """A question that is answered in writing: any of `answers` is right. With `choices`, it is also put as a choice."""

    question: Text
    answers: tuple[Text, ...] = Field(min_length=1)
    choices: tuple[Text, ...] = ()
    answer: int | None = None

    @model_validator(mode="after")
    def _whole(self) -> Question:
        if self.choices and (self.answer is None or not 0 <= self.answer < len(self.choices)):
            raise ValueError(f"answer is {self.answer}, but there are {len(self.choices)} choices (counted from 0)")
        if len(set(self.choices)) < len(self.choices):
            raise ValueError("two choices are the same text")
        return self


class LabelledText(_Item):
    """A text, or a pair of texts, and its class."""

    text: Text
    text_pair: str | None = None
    label: Text


class LabelledImage(_Item):
    """A image file and its class. `corruption` = (kind, severity 1 to 5, seed) corrupts it when it is read."""

    image: Text
    label: Text
    corruption: tuple[str, int, int] | None = None


class Match(_Item):
    """Two texts that belong together: the query must find its match among all matches of the suite."""

    query: Text
    match: Text


class Request(_Item):
    """A request to a chat model: one that it should refuse, or (harmful false) one that it should not."""

    prompt: Text
    harmful: bool


def parse_question(row: dict[str, Any]) -> Question:
    """Make a question of a row `{"question","answers"}`, with `choices` and `answer` where it is also a choice.

    Raises:
        ValueError: in one sentence, what is wrong with the row.
    """
    need(row, "question", "answers")
    answers = row["answers"]
    return validated(Question, {**row, **shared(row), "answers": [answers] if isinstance(answers, str) else answers})


def parse_labelled_text(row: dict[str, Any]) -> LabelledText:
    """Make a labelled text of a row `{"text","label"}`, with `text_pair` where two texts are judged together.

    Raises:
        ValueError: in one sentence, what is wrong with the row.
    """
    need(row, "text", "label")
    return validated(LabelledText, {**row, **shared(row), "label": _label(row["label"])})


def parse_labelled_image(row: dict[str, Any], folder: Path) -> LabelledImage:
    """Make a image of a row `{"image","label"}`; a relative path is relative to `folder`.

    Raises:
        ValueError: in one sentence, what is wrong with the row, or that there is no such file.
    """
    need(row, "image", "label")
    if not isinstance(row["image"], str) or not row["image"]:
        raise ValueError('"image" must be the path of a image')
    path = Path(row["image"]).expanduser()
    path = path if path.is_absolute() else folder / path
    if not path.is_file():
        raise ValueError(f"there is no image {path}")
    return validated(LabelledImage, {**shared(row), "image": str(path), "label": _label(row["label"])})


def parse_match(row: dict[str, Any]) -> Match:
    """Make a pair of a row `{"query","match"}`.

    Raises:
        ValueError: in one sentence, what is wrong with the row.
    """
    need(row, "query", "match")
    return validated(Match, {**row, **shared(row)})


def parse_request(row: dict[str, Any]) -> Request:
    """Make a request of a row `{"prompt","harmful"}`.

    Raises:
        ValueError: in one sentence, what is wrong with the row.
    """
    need(row, "prompt", "harmful")
    if not isinstance(row["harmful"], bool):
        raise ValueError('"harmful" must be true or false')  # noqa: TRY004  (what is wrong with a row is a ValueError)
    return validated(Request, {**row, **shared(row)})


def _label(value: Any) -> Any:
    """A class as text; data sets give numbers too."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
