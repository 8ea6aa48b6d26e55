"""From texts to second moments: texts are read, or written by the base, put through the model once, and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retain.activations import Statistics, collect
from retain.activations.distributed import processes, rank
from retain.activations.findings import findings
from retain.activations.store import MANIFEST
from retain.data.contamination import find_contained
from retain.data.forms import DEFAULT_FORM, Rows
from retain.data.item import PlainText, labels_of
from retain.data.preprocess import Preprocessor
from retain.data.texts import is_blank
from retain.errors import InputError
from retain.evaluate.suites.suite import Suites
from retain.events import Events
from retain.hf.models.describe import model_hash
from retain.hf.models.head import is_classifier
from retain.jobs.in_turn import InTurn, in_turn
from retain.jobs.inputs.calibration_texts import PARTS, Texts, read_calibration
from retain.jobs.inputs.data import APART, apart_hashes
from retain.jobs.inputs.families import family_of
from retain.jobs.inputs.lengths import positions_for
from retain.jobs.inputs.models import ModelSpec
from retain.jobs.inputs.read import read_suites, read_train
from retain.jobs.launch.together import first_process_first
from retain.jobs.output_place import output_problem
from retain.jobs.run import Run
from retain.jobs.self_generated import VERSION, generate_texts
from retain.recipe import CalibrateRecipe, Recipe
from retain.recipe.module_names import names_or_pattern
from retain.records.files import write_text
from retain.records.lock import output_folder


@dataclass(frozen=True)
class Calibration:
    """Collects second moments for a model.

    Attributes:
        model: the base, without an adapter that is on.
        preprocessor: makes its inputs.
        recipe: names the texts and their amount.
        suites: what is measured; none of it may be in a text that the base writes.
        folder: where the second moments lie, and the texts that the base wrote.
        events: receives the progress.
        weights: the hash of the base's weights.
        notes: receives what a reader of the record should know.
        in_turn: holds the place of a file or folder while it is made, as in `Run`.
    """

    model: Any
    preprocessor: Preprocessor
    recipe: Recipe | CalibrateRecipe
    suites: Suites
    folder: Path
    events: Events
    weights: str
    notes: list[str] = field(default_factory=list)
    in_turn: InTurn = in_turn

    @classmethod
    def of(cls, run: Run, model: Any, weights: str) -> Calibration:
        """The calibration of a run on its base."""
        folder = run.shared / "statistics"
        everything, turn = run.data.everything, run.in_turn
        return cls(model, run.preprocessor, run.recipe, everything, folder, run.events, weights, in_turn=turn)

    def statistics(
        self,
        needed: Sequence[str],
        texts: Mapping[str, Texts],
        targets: Mapping[str, Any],
        sample_norm: Any,
        *,
        named: bool = False,
    ) -> dict[str, Statistics]:
        """Second moments of each set of texts that is needed, from their folder where they are there already.

        Args:
            needed: "learn" and "keep", or one of them.
            texts: texts by name; the base writes those that are missing.
            targets: which layers, as PEFT's LoraConfig takes them.
            sample_norm: as in `retain.activations.collect`.
            named: name the folders by their set alone, without a hash of what they hold.
        """
        made = {}
        for name in needed:
            rows = self.rows(texts.get(name))
            folder = self.folder / (name if named else f"{name}-{self._key(rows, targets, sample_norm)}")
            with self.in_turn(folder, self.events):
                made[name] = self._collect(name, rows, folder, targets, sample_norm)
        return made

    def rows(self, texts: Texts | None) -> list[Any]:
        """Token ids of each text, or the images; for None, text that the base writes."""
        if texts is None:
            return self._written()
        in_windows = not is_classifier(self.model)
        return self.preprocessor.calibration_rows(texts, self.recipe.calibrate_tokens, in_windows=in_windows)

    def _key(self, rows: Sequence[Any], targets: Mapping[str, Any], sample_norm: Any) -> str:
        """A hash of all that second moments depend on, for the name of their folder."""
        contents = [self.preprocessor.row_content(row) for row in rows]
        made_of = [self._model_hash, contents, sorted(targets.items()), sample_norm, self.recipe.calibrate_precision]
        return _short_hash(made_of)

    def key_of(self, *made_of: Any) -> str:
        """A hash of values and of the model as it computes, for the name of what is made of both."""
        return _short_hash([self._model_hash, *made_of])

    @property
    def _model_hash(self) -> str:
        """A hash of the model as it computes: weights, configuration, attention, settings of generation."""
        config = self.model.config
        generation = getattr(self.model, "generation_config", None)
        written = config.to_json_string().replace('"use_cache": false', '"use_cache": true')  # a Trainer turns it off
        parts = [written, config._attn_implementation, str(generation), str(self.model.dtype)]  # noqa: SLF001 -- transformers has no public name for it
        return hashlib.sha256(json.dumps([self.weights, *parts]).encode()).hexdigest()

    def _written(self) -> list[list[int]]:
        """Text that the base writes, without texts that hold what is measured."""
        tokenizer = self.preprocessor.tokenizer
        words = sorted(tokenizer.get_vocab().items())
        preprocessing = [VERSION, tokenizer.chat_template, tokenizer.encode("A b\n c, 12."), words]
        recipe = self.recipe
        made_of = [
            self._model_hash,
            preprocessing,
            recipe.calibrate_seed,
            recipe.calibrate_batch_size,
            self.preprocessor.max_length,
        ]
        file = self.folder / f"self-{_short_hash(made_of)}.jsonl"
        with first_process_first(), self.in_turn(file, self.events):  # the others read its file
            rows = generate_texts(
                self.model,
                tokenizer,
                recipe.calibrate_tokens,
                seed=recipe.calibrate_seed,
                batch_size=recipe.calibrate_batch_size,
                max_length=self.preprocessor.room(),
                file=file,
                events=self.events,
                positions=self.preprocessor.positions,
            )
        written = tokenizer.batch_decode(rows, skip_special_tokens=True)
        texts = {row: PlainText(text=text) for row, text in enumerate(written) if not is_blank(text)}
        contained = find_contained(
            list(texts.values()), self.suites.task_items, self.suites.keep_items, self.suites.held_out_text_joined
        )
        measured = {row for index, row in enumerate(texts) if index in contained}
        if measured:
            self.notes.append(
                f"keep: {len(measured)} of {len(rows)} texts that the base wrote held what is measured; they were "
                "left out."
            )
        return [row for index, row in enumerate(rows) if index not in measured]

    def _collect(self, name: str, rows: Any, folder: Path, targets: Mapping[str, Any], sample_norm: Any) -> Statistics:
        batches = self.preprocessor.row_batches(rows, self.recipe.calibrate_batch_size)[rank() :: processes()]
        task = self.events.task(f"the base reads what to {name}", total=len(batches))

        def tick(part: int, parts: int, done: int) -> None:
            task.update(total=parts * len(batches), done=part * len(batches) + done)

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


def _short_hash(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:12]


def calibrate(recipe: CalibrateRecipe, events: Events) -> tuple[dict[str, Statistics], list[str]]:
    """Collect second moments as `retain calibrate` does, in `learn` and `keep` under the output.

    Returns:
        The second moments by set, and reasons not to trust them.

    Raises:
        InputError: with every problem of recipe, data and model.
    """
    problems: list[str] = []
    suites = read_suites(recipe, problems)
    train = read_train(recipe.train, recipe.columns, problems) if recipe.train else Rows(DEFAULT_FORM, [])
    family = family_of(train.form if recipe.train else None, suites)
    if family != "causal-lm" and recipe.generates_keep_text:
        problems.append("calibrate_keep: only a language model can write what is to be kept itself; give data.")
    needed = [name for name in PARTS if name == "keep" or recipe.train or recipe.calibrate_learn]
    texts = read_calibration(recipe, needed, train.items, suites, problems)
    problems += output_problem(recipe.output)
    spec = ModelSpec.of(recipe, family, labels_of(train.items))
    if not problems:
        problems += spec.loading_problems()
    if problems:
        raise InputError(problems)
    output = Path(recipe.output)
    begun = [name for name in needed if not (output / name / MANIFEST).is_file()]
    with output_folder(output, [APART, *begun]):
        preprocessor, model = spec.preprocessor(positions_for(recipe, spec)), spec.load().model
        job = Calibration(model, preprocessor, recipe, suites, output, events, model_hash(model))
        targets = {"target_modules": names_or_pattern(recipe.target_modules)}
        made = job.statistics(needed, texts, targets, recipe.sample_norm, named=True)
        write_text(output / APART, json.dumps(apart_hashes(suites), indent=1) + "\n")
        return made, [*job.notes, *findings(made)]
