"""The data of a recipe as one value, and the hashes by which its parts are known."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from retain.data.family import Family
from retain.data.item import DataItem, items_hash, labels_of
from retain.data.near_duplicates import find_near_duplicates
from retain.data.near_images import find_near_images
from retain.data.row_limit import Sample, of_read
from retain.data.sample import looked_at
from retain.data.texts import content_hash
from retain.evaluate.suites.suite import Suite, Suites
from retain.jobs.inputs.calibration_texts import Texts, text_hashes
from retain.records.paths import expanded
from retain.records.reading import read_json_mapping

APART = "apart.json"
"""A file beside second moments: hashes of the measured data that were kept out of them."""


@dataclass(frozen=True)
class Data:
    """The data of a recipe, read and free of contamination.

    Attributes:
        train: items to learn.
        suites: items that are measured and reported.
        family: the class that the model is loaded as.
        texts: texts to calibrate on, to replay and to retain, by "learn" and "keep".
        statistics: hashes of the data behind second moments that were made before.
        control: the part of suites and held-out text that certifies a budget; none of it is in `suites`.
        everything: suites and control data together, as they were read: no calibration text may hold any of it.
        notes: remarks on how the training rows were read, as clauses.
        sample: which rows `train` was made of, where not all were read.
    """

    train: Sequence[DataItem]
    suites: Suites
    family: Family = "causal-lm"
    texts: Mapping[str, Texts] = field(default_factory=dict)
    statistics: Mapping[str, str] = field(default_factory=dict)
    control: Suites = field(default_factory=Suites)
    everything: Suites = field(default_factory=Suites)
    notes: tuple[str, ...] = ()
    sample: Sample | None = None

    @property
    def rows(self) -> int:
        """How many rows there are to learn, read or not."""
        return len(self.train) if self.sample is None else self.sample.total

    @property
    def labels(self) -> list[str]:
        """The classes to learn, for a classifier."""
        return labels_of(self.train)

    @cached_property
    def looked_at(self) -> list[int]:
        """The training items that are tokenised before a run: all of a few."""
        return looked_at(self.train)

    @cached_property
    def hashes(self) -> dict[str, str]:
        """A hash of the content of each part, for the provenance; of second moments, that of their data."""
        train = {"train": items_hash(self.train)}
        given = {f"calibrate:{name}": value for name, value in self.statistics.items()}
        control = {f"control:{name}": value for name, value in suite_hashes(self.control).items()}
        return train | text_hashes(self.texts) | given | suite_hashes(self.suites) | control

    @cached_property
    def everything_hashes(self) -> dict[str, str]:
        """A hash of each part of `everything`."""
        return suite_hashes(self.everything)

    @cached_property
    def near_duplicates(self) -> list[str]:
        """A warning for each measured part that the training data nearly repeat."""
        whole = self.everything
        images = find_near_images(self.train, whole.task_items, whole.keep_items)
        numbers = None if self.sample is None else self.sample.numbers
        texts = find_near_duplicates(
            self.train, whole.task_items, whole.keep_items, whole.held_out_text_joined, numbers
        )
        return [
            sentence if self.sample is None else f"{of_read('train', self.sample)}: {sentence}"
            for sentence in (*images, *texts)
        ]


def suite_hash(suite: Suite) -> str:
    """A hash of all that a suite measures by: its task type, the options of that, items and bank."""
    options = json.dumps(dict(suite.options), sort_keys=True, default=str)
    asked = [suite.part] if suite.part == "gone" else []  # more is asked of it
    return content_hash([suite.task_type, options, items_hash(suite.items), items_hash(suite.bank), *asked])


def suite_hashes(suites: Suites, of: Callable[[Suite], str] = suite_hash) -> dict[str, str]:
    """A hash of each part that is measured; parts that are missing are left out."""
    hashes = {"test" if suite.part == "task" else f"{suite.part}:{suite.name}": of(suite) for suite in suites.all}
    return hashes | ({"held_out_text": content_hash([suites.held_out_text_joined])} if suites.held_out_text else {})


def apart_hashes(suites: Suites) -> dict[str, str]:
    """A hash of the items of each part alone, without its options: calibration data are kept apart from these."""
    return suite_hashes(suites, lambda suite: items_hash([*suite.items, *suite.bank]))


def not_apart(folder: str, suites: Suites) -> list[str]:
    """A note for each suite from which given second moments were not kept apart, as far as their folder tells."""
    path = expanded(folder) / APART
    known = read_json_mapping(path) if path.is_file() else {}
    return [
        f"the statistics in {folder} were not kept apart from {name}: what is measured may have been calibrated on."
        for name, value in apart_hashes(suites).items()
        if known.get(name) != value
    ]
