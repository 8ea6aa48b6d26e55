"""Rows as others write them, made rows of ours: Alpaca, ShareGPT, choices with letters, SQuAD, images of `datasets`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from retain.data.cells import unpacked
from retain.data.numbers import is_mark

Row = Mapping[str, Any]

ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
"""The prompts of Stanford Alpaca (Taori et al., 2023), of a row with an input and of one without."""

TURNS = ("conversations", "conversation", "messages")
"""Columns that hold turns; `messages` is ours."""

ALPACA_WAYS = (("instruction", "output"), ("instruction", "response"))
"""Columns of Alpaca and of Dolly rows."""

ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bot", "model", "bard", "bing", "claude"), "assistant"),
    **dict.fromkeys(("system", "tool", "developer")),
    **dict.fromkeys(("observation", "function_response"), "tool"),
}
"""Speakers of ShareGPT, and what chat templates call them; None where the word is the same."""


class Shape(NamedTuple):
    """Rows as others write them.

    Attributes:
        form: the form of the rows that are made.
        fits: whether a row is of this shape.
        translate: makes a row of ours, or raises ValueError with a clause.
    """

    form: str
    fits: Callable[[Row], bool]
    translate: Callable[[Row], dict[str, Any]]


def shape_of_row(row: Row) -> Shape | None:
    """The shape of others that a row has; None where there is none that is known."""
    return next((shape for shape in SHAPES if shape.fits(row)), None)


def _is_alpaca(row: Row) -> bool:
    return "prompt" not in row and any(all(name in row for name in way) for way in ALPACA_WAYS)


def _from_alpaca(row: Row) -> dict[str, Any]:
    """Alpaca (instruction, input, output) and Dolly (instruction, context, response)."""
    for key in ("history", "system", "images", "tools"):
        if row.get(key):
            raise ValueError(f'"{key}" is no column of Alpaca rows that is read; write the row as "messages"')
    given = row.get("input", row.get("context"))
    parts = {"instruction": row["instruction"], "input": given}
    for name, value in parts.items():
        if value is not None and not isinstance(value, str):
            raise ValueError(f'"{name}" must be text')
    if not (row["instruction"] or "").strip():
        raise ValueError('"instruction" is empty')
    template = ALPACA_WITH_INPUT if given and given.strip() else ALPACA
    used = {"instruction", "input", "context", "output", "response", "text"}
    completion = row["output"] if "output" in row else row["response"]
    return {**_rest(row, used), "prompt": template.format(**parts), "completion": completion}


def _is_sharegpt(row: Row) -> bool:
    if "prompt" in row and "completion" in row and "messages" not in row:
        return False
    name = next((name for name in TURNS if isinstance(row.get(name), (list, str))), None)
    if name == "messages":
        turns = row[name]
        return isinstance(turns, str) or any(isinstance(turn, Mapping) and "from" in turn for turn in turns)
    return name is not None and is_turns(row[name])


def is_turns(value: Any) -> bool:
    """True for a list, also one that was written as JSON into one cell of a table."""
    return isinstance(value, list) or (isinstance(value, str) and value.lstrip().startswith("["))


def _from_sharegpt(row: Row) -> dict[str, Any]:
    """ShareGPT: turns of from and value; `conversations` of role and content are renamed only."""
    turns = _turns(row)
    if turns is None:
        raise ValueError('"messages" must be a list of messages')
    name, found = turns
    messages = [_message(turn, number) for number, turn in enumerate(found, start=1)]
    return {**_rest(row, {name}), "messages": messages}


def _message(turn: Any, number: int) -> dict[str, Any]:
    if not isinstance(turn, Mapping):
        raise ValueError(f"turn {number} must be an object with from and value")  # noqa: TRY004  (of a row)
    if "from" not in turn:
        return dict(turn)
    speaker = str(turn["from"]).lower()
    if speaker not in ROLES:
        raise ValueError(
            f"turn {number} is from {turn['from']!r}; known are {', '.join(ROLES)} (write tool calls as "
            '"messages" with "tool_calls")'
        )
    if "value" not in turn:
        raise ValueError(f'turn {number} has no "value"')
    return {**_rest(turn, {"from", "value"}), "role": ROLES[speaker] or speaker, "content": turn["value"]}


def _turns(row: Row) -> tuple[str, Sequence[Any]] | None:
    """The column of turns and the turns, also those that were written as JSON into one cell of a table."""
    for name in TURNS:
        value = row.get(name)
        if isinstance(value, list):
            return name, value
        if isinstance(value, str) and is_turns(value):
            return name, list(unpacked(value, name))
    return None


def _is_keyed_choice(row: Row) -> bool:
    """ARC, CommonsenseQA, OpenBookQA: the right choice's label is the `answerKey`, the question a `question_stem`."""
    return "choices" in row and "answers" not in row and bool({"answerKey", "question_stem"} & set(row))


def _from_keyed_choice(row: Row) -> dict[str, Any]:
    """The columns are renamed only; `retain.data.answers` reads the choices and the answer."""
    return {{"answerKey": "answer", "question_stem": "question"}.get(name, name): value for name, value in row.items()}


def _is_picture(row: Row) -> bool:
    return isinstance(row.get("image"), Mapping)


def _from_picture(row: Row) -> dict[str, Any]:
    """An image of `datasets`, which is a file beside the rows or lies within them."""
    path = row["image"].get("path")
    if row["image"].get("bytes") is not None or not isinstance(path, str):
        raise ValueError(
            '"image" lies within the file; save the images as files, in folders named after their classes or beside a '
            "table of image, label"
        )
    return {**row, "image": path}


def _is_squad(row: Row) -> bool:
    answers = row.get("answers")
    return "question" in row and isinstance(answers, Mapping) and "text" in answers


def _from_squad(row: Row) -> dict[str, Any]:
    """SQuAD: the answers are unpacked, each once."""
    return {**row, "answers": list(dict.fromkeys(row["answers"]["text"]))}


SHAPES = (
    Shape("completion", _is_sharegpt, _from_sharegpt),
    Shape("completion", _is_alpaca, _from_alpaca),
    Shape("choice", _is_keyed_choice, _from_keyed_choice),
    Shape("images", _is_picture, _from_picture),
    Shape("question", _is_squad, _from_squad),
)


UNREAD = ("context", "passage")
"""Columns that a question may need and that no form reads."""

UNSEEN = ("image", "images", "audio", "audios", "video", "videos")
"""Columns without which a question or a prompt may say nothing, and which no language model reads here."""


def unseen_reason(row: Row, read: Collection[str] = ()) -> str:
    """A clause for a row that asks something, of whose question a part would be dropped; nothing for any other.

    Args:
        row: its columns are renamed and its shape translated.
        read: the columns that its form reads: an image with a class may have a prompt beside it.
    """
    unread = [name for name in UNREAD if name not in read and row.get(name)]
    found = unread[0] if unread and "question" in row else None
    if found is not None:
        return (
            f'has "{found}", which the model would not see; write it into "question" (in a suite file: '
            f'question: "{{{{ {found} }}}}\\n\\n{{{{ question }}}}"), or leave that column out'
        )
    if not any(name in row for name in ("question", "prompt", "messages")):
        return ""
    unseen = (name for name in UNSEEN if name not in read and row.get(name))
    found = next((name for name in unseen if not is_mark(row[name])), None)
    if found is None:
        return ""
    return (
        f'has "{found}", which the model would not see: text alone is read here; leave out the rows with images, sound '
        f"or films (or, where none is asked about, give the column another name: --columns other={found})"
    )


def _rest(row: Row, used: set[str]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in used}
