"""From texts to statistics: what a run is calibrated on, read or written by the base, summed up once and kept."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from retain.data.overlap import find_contained
from retain.data.sources import read_passages
from retain.data.tokens import encode_passage, pad
from retain.errors import InputError
from retain.evaluation.scoring import padding_id
from retain.evaluation.suites import Suites
from retain.hf.describe import model_hash
from retain.recipe import CalibrateRecipe, Calibrating
from retain.statistics import Statistics, collect
from retain.statistics.findings import findings
from retain.workflow.models import load_model, load_tokenizer
from retain.workflow.passages import PARTS, Passages, read_calibration
from retain.workflow.prepare import output_problem, read_suites
from retain.workflow.self_written import cut_to, write_self


@dataclass(frozen=True)
class Calibration:
    """How statistics are made for a model: what all parts of the job share."""

    model: Any
    tokenizer: Any
    recipe: Calibrating
    max_length: int
    suites: Suites
    folder: Path
    progress: Progress

    def statistics(
        self,
        needed: Sequence[str],
        passages: Mapping[str, Passages],
        targets: Mapping[str, Any],
        sample_norm: Any,
        *,
        named: bool = False,
    ) -> dict[str, Statistics]:
        """Statistics of each set of texts that is needed, from their folder where they are there already.

        Args:
            needed: "learn" and "keep", or one of them.
            passages: texts by name; the base writes those that are missing.
            targets: which layers, as PEFT's LoraConfig takes them.
            sample_norm: as in `retain.statistics.collect`.
            named: call the folders by their set's name alone, not by what they hold.
        """
        hashed = model_hash(self.model)
        made = {}
        for name in needed:
            rows = self._rows(passages[name]) if name in passages else self._written(hashed)
            what = [hashed, rows, sorted(targets.items()), sample_norm, self.recipe.calibrate_precision]
            key = hashlib.sha256(json.dumps(what, default=str).encode()).hexdigest()
            made[name] = self._collect(
                name, rows, self.folder / (name if named else f"{name}-{key[:12]}"), targets, sample_norm
            )
        return made

    def _rows(self, passages: Passages) -> list[list[int]]:
        order = list(passages)
        random.Random(0).shuffle(order)  # noqa: S311 -- which texts are used, not a secret
        rows = [row for part in order for row in encode_passage(self.tokenizer, part, self.max_length)]
        return cut_to(rows, self.recipe.calibrate_tokens)

    def _written(self, hashed: str) -> list[list[int]]:
        """What the base writes, without what is measured."""
        reading = [self.tokenizer.chat_template, self.tokenizer.encode("A b\n c, 12."), str(self.model.dtype)]
        made_of = [hashed, reading, self.recipe.calibrate_seed, self.recipe.calibrate_batch_size, self.max_length]
        key = hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()
        rows = write_self(
            self.model,
            self.tokenizer,
            self.recipe.calibrate_tokens,
            seed=self.recipe.calibrate_seed,
            batch_size=self.recipe.calibrate_batch_size,
            max_length=self.max_length,
            file=self.folder / f"self-{key[:12]}.jsonl",
            progress=self.progress,
        )
        texts = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        measured = find_contained(texts, self.suites.task, self.suites.keep, self.suites.reference)
        return [row for index, row in enumerate(rows) if index not in measured]

    def _collect(
        self, name: str, rows: list[list[int]], folder: Path, targets: Mapping[str, Any], sample_norm: Any
    ) -> Statistics:
        batches = _batches(rows, self.recipe.calibrate_batch_size, padding_id(self.tokenizer))
        bar = self.progress.add_task(f"the base reads what to {name}", total=len(batches))

        def tick(part: int, parts: int, done: int) -> None:
            self.progress.update(bar, total=parts * len(batches), completed=part * len(batches) + done)

        return collect(
            self.model,
            batches,
            targets=targets,
            dtype=self.recipe.calibrate_precision,
            sample_norm=sample_norm,
            memory_limit=self.recipe.memory_bytes,
            folder=folder,
            name=name,
            tick=tick,
        )


def _batches(rows: Sequence[Sequence[int]], size: int, pad_id: int) -> list[dict[str, torch.Tensor]]:
    ordered = sorted(rows, key=len)
    return [
        {
            "input_ids": torch.tensor(pad(part, pad_id)),
            "attention_mask": torch.tensor(pad([[1] * len(row) for row in part], 0)),
        }
        for part in (ordered[start : start + size] for start in range(0, len(ordered), size))
    ]


def calibrate(recipe: CalibrateRecipe, progress: Progress) -> tuple[dict[str, Statistics], list[str]]:
    """Make statistics as `retain calibrate` does, in `learn` and `keep` under the output.

    Returns:
        The statistics by set, and what speaks against trusting them.

    Raises:
        InputError: with every problem of recipe, data and model.
    """
    problems: list[str] = []
    suites = read_suites(recipe, problems)
    train = read_passages(recipe.train, problems) if recipe.train else []
    needed = [name for name in PARTS if name == "keep" or recipe.train or recipe.calibrate_learn]
    passages = read_calibration(recipe, needed, train, suites, problems)
    problems += output_problem(Path(recipe.output))
    if problems:
        raise InputError(problems)
    tokenizer = load_tokenizer(recipe.model, trust_remote_code=recipe.trust_remote_code)
    model = load_model(
        recipe.model, recipe.dtype, attention=recipe.attention, trust_remote_code=recipe.trust_remote_code
    )
    job = Calibration(model, tokenizer, recipe, recipe.max_length, suites, Path(recipe.output), progress)
    targets = {"target_modules": _named(recipe.target_modules)}
    made = job.statistics(needed, passages, targets, recipe.sample_norm, named=True)
    return made, findings(made)


def _named(text: str) -> str | list[str]:
    return [part.strip() for part in text.split(",")] if "," in text else text
