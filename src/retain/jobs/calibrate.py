"""From texts to statistics: what a run is calibrated on, read or written by the base, summed up once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import Progress

from retain.activations import Statistics, collect
from retain.activations.findings import findings
from retain.data.contamination import find_contained, item_content, passage_text
from retain.data.items import LabelledImage
from retain.data.preprocess import ImagePreprocessor, Preprocessor, labels_of
from retain.data.rows import Rows, read_rows
from retain.data.tokens import encode_passage
from retain.errors import InputError
from retain.evaluate.suites.suite import Suites
from retain.hf.models.describe import model_hash
from retain.hf.models.head import is_classifier
from retain.hf.models.inference import padding_id
from retain.jobs.inputs.calibration_texts import PARTS, TOKENS_PER_IMAGE, Passages, read_calibration
from retain.jobs.inputs.families import family_of
from retain.jobs.inputs.models import load_model, load_preprocessor
from retain.jobs.inputs.prepare import APART, apart_hashes, read_suites
from retain.jobs.run_folder import output_problem
from retain.jobs.self_generated import VERSION, batched, cut_to, generate_texts
from retain.recipe import CalibrateRecipe, CalibrationOptions
from retain.records.files import write_text


@dataclass(frozen=True)
class Calibration:
    """How statistics are made for a model: what all parts of the job share."""

    model: Any
    preprocessor: Preprocessor
    recipe: CalibrationOptions
    max_length: int
    suites: Suites
    folder: Path
    progress: Progress
    weights: str
    notes: list[str] = field(default_factory=list)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, of a model that reads text."""
        return getattr(self.preprocessor, "tokenizer", None)

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
            sample_norm: as in `retain.activations.collect`.
            named: call the folders by their set's name alone, not by what they hold.
        """
        hashed = self._model_key()
        made = {}
        for name in needed:
            rows = self.rows(passages.get(name))
            named_rows = [item_content(row) if isinstance(row, LabelledImage) else row for row in rows]
            what = [hashed, named_rows, sorted(targets.items()), sample_norm, self.recipe.calibrate_precision]
            key = hashlib.sha256(json.dumps(what, default=str).encode()).hexdigest()
            made[name] = self._collect(
                name, rows, self.folder / (name if named else f"{name}-{key[:12]}"), targets, sample_norm
            )
        return made

    def rows(self, passages: Passages | None) -> list[Any]:
        """Token ids of each passage, or the images; None: what the base writes itself."""
        if passages is None:
            return self._written(self._model_key())
        if isinstance(self.preprocessor, ImagePreprocessor):
            return list(passages)[: max(1, self.recipe.calibrate_tokens // TOKENS_PER_IMAGE)]
        return self._rows(passages)

    def _model_key(self) -> str:
        """Names the model as it computes: weights, configuration, attention, code for generation."""
        config = self.model.config
        generation = getattr(self.model, "generation_config", None)
        parts = [config.to_json_string(), config._attn_implementation, str(generation), str(self.model.dtype)]  # noqa: SLF001 -- transformers has no public name for it
        return hashlib.sha256(json.dumps([self.weights, *parts]).encode()).hexdigest()

    def _rows(self, passages: Passages) -> list[list[int]]:
        if is_classifier(self.model):  # reads a whole text between its own marks, as it does when it is trained
            texts = [passage_text(part) for part in passages]
            rows = self.tokenizer(texts, truncation=True, max_length=self.max_length)["input_ids"]
        else:
            kept = [part for part in passages if not isinstance(part, LabelledImage)]
            rows = [row for part in kept for row in encode_passage(self.tokenizer, part, self.max_length)]
        return cut_to(rows, self.recipe.calibrate_tokens)

    def _written(self, hashed: str) -> list[list[int]]:
        """What the base writes, without what is measured."""
        words = sorted(self.tokenizer.get_vocab().items())
        reading = [VERSION, self.tokenizer.chat_template, self.tokenizer.encode("A b\n c, 12."), words]
        made_of = [hashed, reading, self.recipe.calibrate_seed, self.recipe.calibrate_batch_size, self.max_length]
        key = hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()
        rows = generate_texts(
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
        measured = find_contained(
            texts, self.suites.task_items, self.suites.keep_items, self.suites.held_out_text_joined
        )
        if measured:
            self.notes.append(
                f"keep: {len(measured)} of {len(rows)} passages that the base wrote held what is measured; they were "
                "left out."
            )
        return [row for index, row in enumerate(rows) if index not in measured]

    def _collect(self, name: str, rows: Any, folder: Path, targets: Mapping[str, Any], sample_norm: Any) -> Statistics:
        size = self.recipe.calibrate_batch_size
        if isinstance(self.preprocessor, ImagePreprocessor):
            batches = [self.preprocessor.batch(rows[start : start + size]) for start in range(0, len(rows), size)]
        else:
            batches = batched(rows, size, padding_id(self.tokenizer))
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
            known_hash=self.weights,
        )


def calibrate(recipe: CalibrateRecipe, progress: Progress) -> tuple[dict[str, Statistics], list[str]]:
    """Make statistics as `retain calibrate` does, in `learn` and `keep` under the output.

    Returns:
        The statistics by set, and what speaks against trusting them.

    Raises:
        InputError: with every problem of recipe, data and model.
    """
    problems: list[str] = []
    suites = read_suites(recipe, problems)
    train = read_rows(recipe.train, problems) if recipe.train else Rows("completion", [])
    family = family_of(train.form if recipe.train else None, suites)
    if family != "causal-lm" and recipe.writes_itself:
        problems.append("calibrate_keep: only a language model can write what is to be kept itself; give data.")
    needed = [name for name in PARTS if name == "keep" or recipe.train or recipe.calibrate_learn]
    passages = read_calibration(recipe, needed, train.items, suites, problems)
    problems += output_problem(Path(recipe.output))
    if problems:
        raise InputError(problems)
    preprocessor = load_preprocessor(
        recipe.model, family, recipe.max_length, trust_remote_code=recipe.trust_remote_code
    )
    model = load_model(
        recipe.model,
        recipe.dtype,
        family=family,
        labels=labels_of(train.items),
        attention=recipe.attention,
        trust_remote_code=recipe.trust_remote_code,
    )
    job = Calibration(
        model, preprocessor, recipe, recipe.max_length, suites, Path(recipe.output), progress, model_hash(model)
    )
    targets = {"target_modules": _named(recipe.target_modules)}
    made = job.statistics(needed, passages, targets, recipe.sample_norm, named=True)
    write_text(Path(recipe.output) / APART, json.dumps(apart_hashes(suites), indent=1) + "\n")
    return made, [*job.notes, *findings(made)]


def _named(text: str) -> str | list[str]:
    return [part.strip() for part in text.split(",")] if "," in text else text
