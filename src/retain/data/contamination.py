"""Contamination: data that are measured, and stand in what is trained on or calibrated on too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from retain.data.collector import without_collector
from retain.data.item import DataItem
from retain.data.texts import file_hash, folded, paragraphs, quoted, words_of

SHORTEST_NEEDLE = 12
"""Questions with fewer characters occur in other texts by chance."""


@without_collector()
def find_overlaps(
    train: Sequence[DataItem],
    test: Sequence[DataItem],
    keep: Mapping[str, Sequence[DataItem]],
    held_out_text: str,
    gone: Mapping[str, Sequence[DataItem]] | None = None,
) -> list[str]:
    """Find data sets that share items with the training data.

    Images are the same if their files hold the same bytes; a corrupted image counts as the image. A test item is
    shared if its prompt was trained on; where prompts say little by themselves (most of the training's are alike or
    empty), if prompt and completion were. A retention item is shared if its question, or question and right answer,
    is a turn, a paragraph or a complete example of the training data; a paragraph of held-out text likewise.

    Args:
        train: items that are trained on.
        test: items of the task that are measured.
        keep: items of each retention suite by its name.
        held_out_text: text on which drift is measured.
        gone: items of each suite of what should be gone: what is gone in the wording trained on may be there in others.

    Returns:
        One sentence for each data set that shares items, with how many and one of them.
    """
    measured = {"test": _marked(test, prompts_differ=prompts_differ(train))}
    for name, items in keep.items():
        measured[f"retention suite {name!r}"] = _marked(items, prompts_differ=True)
    for name, items in (gone or {}).items():
        measured[f"gone suite {name!r}"] = _marked(items, prompts_differ=True)
    measured["held_out_text"] = [(quoted(text), {folded(text)}) for text in paragraphs(held_out_text)]
    sought_at_all = {mark for sought in measured.values() for _, marks in sought for mark in marks}
    trained = _found(train, sought_at_all)
    problems = []
    for name, sought in measured.items():
        shared = [label for label, marks in sought if not marks.isdisjoint(trained)]
        if shared:
            problems.append(
                f"train and {name} share {len(shared)} of {len(sought)} items, for instance {shared[0]}; "
                "what is measured must not be trained on: remove them from one side."
            )
    return problems


def find_contained(
    calibration: Sequence[DataItem],
    test: Sequence[DataItem],
    keep: Mapping[str, Sequence[DataItem]],
    held_out_text: str,
    gone: Mapping[str, Sequence[DataItem]] | None = None,
) -> dict[int, str]:
    """Find calibration texts that contain something that is measured.

    Calibration data are not trained on, but directions taken from the very items that are measured would flatter the
    result. Questions, prompts and paragraphs of held-out text are looked for within the texts, case and space folded;
    images are the same if their files hold the same bytes.

    Args:
        calibration: texts or images to calibrate on.
        test: items of the task that are measured.
        keep: items of each retention suite by its name.
        held_out_text: text on which drift is measured.
        gone: items of each suite of what should be gone.

    Returns:
        By index of the calibration text, a sentence that says what it holds.
    """
    measured = {"test": test} | {f"retention suite {name!r}": items for name, items in keep.items()}
    measured |= {f"gone suite {name!r}": items for name, items in (gone or {}).items()}
    numbered = [(name, number, item) for name, items in measured.items() for number, item in enumerate(items, 1)]
    labelled = [
        (f"{label_of(number, item, text)} of the {name}", text)
        for name, number, item in numbered
        for text in item.question_texts
    ]
    labelled += [(f"{quoted(text)} of the reference", text) for text in paragraphs(held_out_text)]
    needles = [(label, needle) for label, text in labelled if len(needle := folded(text)) >= SHORTEST_NEEDLE]
    images = {
        file_hash(path): f"{quoted(path)} of the {name}"
        for name, _, item in numbered
        if (path := item.image_file) is not None
    }
    hays = {index: folded(item.full_text) for index, item in enumerate(calibration) if item.image_file is None}
    everything = "\n".join(hays.values())  # folded text has no line breaks, so none is found across two texts
    needles = [(label, needle) for label, needle in needles if needle in everything]
    found: dict[int, str] = {}
    for index, item in enumerate(calibration):
        if item.image_file is not None:
            hit = images.get(file_hash(item.image_file))
        else:
            hay = hays[index]
            hit = next((label for label, needle in needles if needle in hay), None)
        if hit is not None:
            found[index] = f"it holds {hit}"
    return found


def find_contradictions(keep: Mapping[str, Sequence[DataItem]], gone: Mapping[str, Sequence[DataItem]]) -> list[str]:
    """A sentence for each pair of suites by which the same question should be answered alike, and not at all.

    Args:
        keep: items of each retention suite by its name.
        gone: items of each suite of what should be gone by its name.
    """
    kept = {name: _answered(items) for name, items in keep.items()} if gone else {}
    found = []
    for name, items in gone.items():
        asked = _answered(items)
        for other, marks in kept.items():
            if shared := [label for mark, label in asked.items() if mark in marks]:
                found.append(
                    f"gone suite {name!r} and retention suite {other!r} share {len(shared)} questions and answers, for "
                    f"instance {shared[0]}; what should be gone cannot be kept too: remove them from one side."
                )
    return found


def _answered(items: Sequence[DataItem]) -> dict[str, str]:
    """Marks of each question with a right answer (of an image or a text to label, of it alone), and its label."""
    found: dict[str, str] = {}
    for number, item in enumerate(items, 1):
        texts = item.measured_texts(prompts_differ=True)
        for mark in _marks(item, texts[1:] or texts):
            found.setdefault(mark, label_of(number, item, texts[0]))
    return found


def prompts_differ(train: Sequence[DataItem]) -> bool:
    """True where prompts identify their items: those of the training data are not mostly alike or empty."""
    prompts: set[str] = set()
    for item in train:
        if (prompt := item.prompt_text) is not None:
            prompts.add(folded(prompt))
            if len(prompts) > len(train) / 2:
                return True
    return False


def _found(train: Sequence[DataItem], sought: set[str]) -> set[str]:
    """The marks of the training data that are among those that are sought; of millions of rows few are kept."""
    return {mark for item in (train if sought else ()) for mark in _marks(item, item.trained_texts) if mark in sought}


def _marks(item: DataItem, texts: Iterable[str]) -> Iterable[str]:
    """The marks by which an item is recognised: the hash of its image's file, or its folded texts."""
    if item.image_file is not None:
        return [file_hash(item.image_file)]
    return [" ".join(words) for words in words_of(tuple(texts))]


def _marked(items: Sequence[DataItem], *, prompts_differ: bool) -> list[tuple[str, set[str]]]:
    """Each item's label for messages and its marks."""
    marked = []
    for number, item in enumerate(items, 1):
        texts = item.measured_texts(prompts_differ=prompts_differ)
        marked.append((label_of(number, item, texts[0]), set(_marks(item, texts))))
    return marked


def label_of(number: int, item: DataItem, text: str) -> str:
    """An item in a message: a quotation, or the number alone where its texts are withheld."""
    return f"item {number}" if item.withheld else quoted(text)
