"""The base of all items: one row of data that checks itself and answers what others need to know of it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError

from retain.data.family import Head, Modality
from retain.data.sentences import sentences_of
from retain.data.texts import content_hash, folded, is_blank
from retain.data.tokens import text_windows


def _visible(text: str) -> str:
    if is_blank(text):
        raise ValueError("is empty" if not text else "has no visible character")
    return text


Text = Annotated[str, AfterValidator(_visible)]
"""Text with at least one visible character."""


class DataItem(BaseModel):
    """One row of data. A subclass is a form: its columns, its checks, and what differs from the answers given here.

    Attributes:
        form: name of the form.
        columns: keys by which a row is recognised.
        modality: what a model must read.
        trains: the head that is trained on such items; None for items that are only measured.
        is_labelled: true where the item has a `label`, its class.
        withheld: true where no text of the item may be shown.
        group: what the item belongs together with (one article, one image): the independent unit of the statistics.
        condition: domain, style or corruption, by which scores are broken down; `domain` is read as `condition`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    form: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    modality: ClassVar[Modality] = "text"
    trains: ClassVar[Head | None] = None
    is_labelled: ClassVar[bool] = False
    withheld: ClassVar[bool] = False

    group: str | None = None
    condition: str | None = None

    @classmethod
    def parse(cls, row: dict[str, Any], folder: Path = Path()) -> Self:
        """Make an item of a row; other keys are ignored.

        Args:
            row: values by column.
            folder: what paths in the row are relative to.

        Raises:
            ValueError: in one sentence, what is wrong with the row.
        """
        del folder
        need(row, *cls.columns)
        return cls.checked({**row, **shared(row)})

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Self:
        """Make an item of its fields.

        Raises:
            ValueError: in one sentence, what is wrong with them.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ValueError("; ".join(sentences_of(error.errors()))) from error

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that the item consists of, without answers to choose from."""
        raise NotImplementedError

    @property
    def image_file(self) -> str | None:
        """Path of the item's image, where it has one."""
        return None

    @property
    def is_chat(self) -> bool:
        """True where the tokenizer's chat template applies."""
        return False

    @property
    def prompt_text(self) -> str | None:
        """The prompt of an example to learn, as plain text; None for other items."""
        return None

    @property
    def full_text(self) -> str:
        """The item as one text, as it is hashed and tokenised in calibration."""
        return " ".join(self.texts)

    @property
    def trained_texts(self) -> tuple[str, ...]:
        """Texts that a model has seen once it is trained on this item."""
        return self.measured_texts(prompts_differ=True)

    def measured_texts(self, *, prompts_differ: bool) -> tuple[str, ...]:
        """Texts that a model must not have been trained on when this item is measured, the one to quote first.

        Args:
            prompts_differ: true where the prompts of the training data differ, so that a prompt identifies its item.
        """
        del prompts_differ
        return self.texts

    @property
    def question_texts(self) -> tuple[str, ...]:
        """Texts that no calibration text may contain when this item is measured."""
        return self.texts

    @property
    def right_answer(self) -> str | None:
        """The right answer of an item that has a single one; None where several may be right, or nobody knows."""
        return None

    @property
    def asked(self) -> Hashable:
        """What the item asks: equal for items that a model cannot tell apart but by their answers."""
        return hash(tuple(map(folded, self.texts)))

    def content(self) -> str:
        """The item as JSON, for hashes."""
        return self.model_dump_json(exclude_none=True)

    @property
    def for_calibration(self) -> DataItem:
        """The item as a model reads it in calibration: its text alone, unless its form is read as it is."""
        return PlainText(text=self.full_text)

    def calibration_tokens(self, tokenizer: Any, max_length: int) -> list[list[int]]:
        """Token ids of the item in calibration and replay, in sequences of at most `max_length`.

        Raises:
            InputError: the tokenizer's chat template is missing or refuses.
        """
        return text_windows(tokenizer, self.full_text, max_length)


class PlainText(DataItem):
    """A text without an answer or a label, for calibration and replay."""

    form: ClassVar[str] = "text"
    columns: ClassVar[tuple[str, ...]] = ("text",)

    text: Text

    @property
    def texts(self) -> tuple[str, ...]:
        """The text."""
        return (self.text,)

    @property
    def for_calibration(self) -> DataItem:
        """The text itself."""
        return self


def items_hash(items: Iterable[DataItem]) -> str:
    """A hash of the content of items, the same wherever their images lie."""
    return content_hash(item.content() for item in items)


def labels_of(items: Iterable[Any]) -> list[str]:
    """The classes of labelled items, in order of their names."""
    return sorted({item.label for item in items if item.is_labelled})


def modality_of_items(items: Sequence[DataItem]) -> Modality:
    """The modality of items of one form; text where there are none."""
    return items[0].modality if items else "text"


def shared_fields_last(item: DataItem, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
    """An item's values with group and condition last. The order of fields decides hashes, which must stay."""
    values = handler(item)
    return {name: values[name] for name in sorted(values, key=lambda name: name in DataItem.model_fields)}


def need(row: dict[str, Any], *keys: str) -> None:
    """Refuse a row that lacks a key.

    Raises:
        ValueError: in one sentence, what is missing and what is there.
    """
    missing = [f'"{key}"' for key in keys if key not in row]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing or empty (found {columns_of(row)})")


def columns_of(row: dict[str, Any]) -> str:
    """The keys of a row, for messages."""
    return ", ".join(f'"{key}"' for key in row) or "nothing"


def shared(row: dict[str, Any]) -> dict[str, str | None]:
    """The group and condition of a row as text; `domain` is another word for condition."""
    if "group" not in row and "condition" not in row and "domain" not in row:
        return {"group": None, "condition": None}
    values = {"group": row.get("group"), "condition": row.get("condition", row.get("domain"))}
    return {key: None if value is None else _name(value) for key, value in values.items()}


def _name(value: Any) -> str:
    """A group's name; pandas writes a whole number as 1.0 where another row has none."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
