"""A served model and its base, opened: the tokenizer that makes all inputs, both sides, and what was found of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from retain.data.preprocess import Preprocessor, TextPreprocessor
from retain.data.tokens import Encoded, encode_prompt, encode_question
from retain.errors import InputError
from retain.evaluate.generate import end_tokens
from retain.evaluate.refusal_judges import judge_problems
from retain.evaluate.served.fit_suites import fit_suites
from retain.evaluate.served.looks import Looked, ensure_room
from retain.evaluate.served.sides import ServedSides
from retain.evaluate.suites.suite import Suites
from retain.evaluate.tasks.table import task_type_of
from retain.evaluate.tasks.task_type import first_refusal
from retain.events import Events
from retain.hf.models.describe import model_hash, vocabulary_of
from retain.hf.models.placement import placement_note
from retain.hf.models.positions import Positions, positions_of
from retain.jobs.inputs.families import family_of
from retain.jobs.inputs.lengths import stated_problems
from retain.jobs.inputs.models import ModelSpec
from retain.jobs.inputs.read import read_suites, settings_of
from retain.jobs.junit_file import junit_problem
from retain.jobs.output_place import output_problem
from retain.jobs.served.connect import connect, ensure_separate, stored
from retain.jobs.served.looking import look_at, probe_of
from retain.jobs.served.side_record import served_record
from retain.recipe import MeasureRecipe
from retain.records.paths import expanded
from retain.records.served_record import ServedSide
from retain.report.write import holding_problem
from retain.served.explore import Probe
from retain.served.gguf_server import gguf_problems, is_gguf, serving
from retain.served.model import ServedModel

log = logging.getLogger(__name__)


@dataclass
class ServedOpening:
    """Everything that a measurement of a served model needs.

    Attributes:
        recipe: as it was given.
        spec: how the base is loaded.
        preprocessor: makes the inputs of both sides.
        suites: the items as both sides can be asked.
        tuned: the served model.
        base: the base: a served model, or None where it is run here and not loaded yet.
        looked: what the tuned side's server makes of prompts.
        told: sentences for the record.
        vocabulary: tokens of the base.
        probe: a text that tells this server and model from others by its answer.
    """

    recipe: MeasureRecipe
    spec: ModelSpec
    preprocessor: Preprocessor
    suites: Suites
    tuned: ServedModel
    base: ServedModel | None
    looked: Looked
    told: tuple[str, ...]
    vocabulary: int
    probe: Probe

    def keep_answers(self, *, in_folder: bool = True) -> None:
        """Keep what servers answer, in the output folder from now on; what an earlier process left there is used."""
        self.tuned = stored(self.tuned, self.recipe, self.probe, "tuned", in_folder=in_folder)
        if self.base is not None:
            self.base = stored(self.base, self.recipe, self.probe, "base", in_folder=in_folder)

    @property
    def tokenizer(self) -> Any:
        """The base's."""
        return self.preprocessor.tokenizer

    @property
    def served(self) -> list[ServedModel]:
        """The served sides."""
        return [self.tuned] if self.base is None else [self.tuned, self.base]

    def close(self) -> None:
        """Keep what was answered, and end all connections."""
        for side in self.served:
            side.transport.close()
            side.store.close()

    def prompts(self, count: int) -> list[Encoded]:
        """Prompts to look at the adapter with: those of the task first, then of the suites, then of a list."""
        room = min(self.preprocessor.room(32), 256)
        tokenizer, chat = self.tokenizer, bool(getattr(self.tokenizer, "chat_template", None))
        items: Any = [item for suite in self.suites.all for item in suite.items[: count if suite.part == "task" else 4]]
        rows = [encode_prompt(tokenizer, item, room) for item in items if item.trains == "causal-lm"]
        texts = [item.texts[0] for item in items if item.trains != "causal-lm" and item.texts]
        texts += files("retain.data").joinpath("self_prompts.txt").read_text(encoding="utf-8").splitlines()
        must_talk = self.tuned.can.writing[:1] == ("chat",)
        if must_talk:
            rows = [row for row in rows if row.messages is not None]
        for text in texts:
            if len(rows) >= count:
                break
            if chat:
                rows.append(encode_question(tokenizer, text, room))
            else:
                ids = tuple(tokenizer.encode(text)[:room])
                rows += [Encoded(ids, len(ids))] if ids else []
        return rows[:count]

    def ends(self, model: Any) -> tuple[int, ...]:
        """The tokens that end an answer."""
        return tuple(end_tokens(model, self.tokenizer))

    def sides(self, base: Any, events: Events) -> ServedSides:
        """Both sides.

        Args:
            base: the loaded base; not needed where it is served.
            events: receives the progress.
        """
        return ServedSides(
            base=base if self.base is None else self.base,
            tuned=self.tuned,
            preprocessor=self.preprocessor,
            suites=self.suites,
            settings=settings_of(self.recipe),
            events=events,
            vocabulary=self.vocabulary,
            ends=self.ends(base),
            concurrency=self.recipe.concurrency,
            told=self.told,
        )

    def load_base(self) -> tuple[Any, str]:
        """The base and the hash of its weights."""
        model, _ = self.spec.load()
        self.told = (*self.told, *placement_note(model))
        return model, model_hash(model)

    def records(self) -> dict[str, ServedSide]:
        """Both served sides for the record."""
        sides = {"tuned": self.tuned} if self.base is None else {"base": self.base, "tuned": self.tuned}
        return {
            side: served_record(model, self.looked.cautions if side == "tuned" else ()) for side, model in sides.items()
        }


@contextmanager
def open_served(recipe: MeasureRecipe, events: Events) -> Iterator[ServedOpening]:
    """Read the data, load the tokenizer, look at the servers; every problem found so far is told at once.

    At the end connections are closed, what was answered is kept, and servers that were started here are ended.

    Args:
        recipe: names models and data.
        events: receives the progress.

    Raises:
        InputError: data, base or servers cannot be used as asked.
    """
    with ExitStack() as held:
        opened = _opened(recipe, events, held)
        held.callback(opened.close)
        yield opened


def _opened(recipe: MeasureRecipe, events: Events, held: ExitStack) -> ServedOpening:
    suites = _read(recipe)
    spec = ModelSpec.of(recipe, "causal-lm")
    empty = spec.empty()
    positions = positions_of(empty)
    preprocessor = spec.preprocessor(positions)
    probe = probe_of(preprocessor, suites)
    looking = events.task("looking at the server", total=3)
    tuned, base = _connected(recipe, probe, _context(recipe, suites, positions), held)
    sides = [tuned] if base is None else [tuned, base]
    looking.advance()
    context = min((side.can.context for side in sides if side.can.context is not None), default=None)
    told: list[str] = []
    if context is not None and context < recipe.max_length and "max_length" in recipe.model_fields_set:
        raise InputError(
            f"max_length: the server reads at most {context:,} tokens at once; serve it with a longer context, or say "
            "a smaller --max-length."
        )
    if context is not None and (positions.limit is None or context < positions.limit):
        positions = replace(positions, limit=context)
        told.append(f"The server reads at most {context:,} tokens at once, prompt and answer together.")
    if problems := stated_problems(recipe, positions):
        raise InputError(problems)
    preprocessor = TextPreprocessor(preprocessor.tokenizer, recipe.max_length, positions)
    fitted, sentences = fit_suites(suites, [side.can for side in sides], settings_of(recipe))
    told += sentences
    for sentence in sentences:  # before the long measurement, and in its record
        log.warning("%s", sentence)
    if not (fitted.all or fitted.held_out_text or recipe.only_check):
        raise InputError([*told, "tuned: nothing of what was given can be measured at this server."])
    if problems := _prompt_problems(recipe, fitted, preprocessor):
        raise InputError(problems)
    looked = look_at(tuned, preprocessor, fitted, probe)
    for sentence in () if recipe.only_check else looked.cautions:
        log.warning("%s", sentence)
    looking.advance()
    for side in sides if fitted.all or fitted.held_out_text else ():
        ensure_room(side, probe.ids, preprocessor.room(1))
    looking.advance()
    told += [f"Compared with the model's own files before measuring: {sure}." for sure in looked.sure]
    vocabulary = vocabulary_of(empty)
    opened = ServedOpening(recipe, spec, preprocessor, fitted, tuned, base, looked, tuple(told), vocabulary, probe)
    opened.keep_answers(in_folder=False)
    return opened


def _read(recipe: MeasureRecipe) -> Suites:
    """The data.

    Raises:
        InputError: with every problem of them, and of the output folder.
    """
    problems: list[str] = []
    suites = read_suites(recipe, problems)
    if suites.all and family_of(None, suites) != "causal-lm":
        problems.append("tuned: a server of language models writes text; classes and features cannot be asked of it.")
    problems += judge_problems(recipe.judge)
    problems += junit_problem(recipe.junit)
    if recipe.output:
        others = ["run.json", "summary.json", "scaling.json"]
        problems += output_problem(recipe.output) or holding_problem(recipe.output, others)
    if problems:
        raise InputError(problems)
    return suites


def _connected(
    recipe: MeasureRecipe, probe: Probe, context: int, held: ExitStack
) -> tuple[ServedModel, ServedModel | None]:
    """Both served sides; files of llama.cpp are served here for as long as they are held."""
    if problems := [*_file_problems(recipe.tuned, "tuned"), *_file_problems(recipe.base or "", "base")]:
        raise InputError(problems)

    def one(source: str, name: str | None, field: str) -> ServedModel:
        if not is_gguf(source):
            return connect(recipe, source, name, field, probe)
        address = held.enter_context(serving(source, field, context=context))
        return connect(recipe, address, None, field, probe, file=expanded(source))

    tuned = one(recipe.tuned, recipe.tuned_model, "tuned")
    if recipe.base is None:
        return tuned, None
    base = one(recipe.base, recipe.base_model, "base")
    ensure_separate(tuned, base)
    return tuned, base


def _file_problems(source: str, field: str) -> list[str]:
    return gguf_problems(source, field) if is_gguf(source) else []


def _context(recipe: MeasureRecipe, suites: Suites, positions: Positions) -> int:
    """Tokens of the longest prompt and the longest answer together, as far as the model has positions."""
    settings = settings_of(recipe)
    written = max((task_type_of(suite).written_tokens(suite, settings) for suite in suites.all), default=0)
    needed = max(recipe.max_length, settings.window) + max(written, 32)
    return needed if positions.limit is None else min(needed, positions.limit)


def _prompt_problems(recipe: MeasureRecipe, suites: Suites, preprocessor: Preprocessor) -> list[str]:
    """A sentence for each part of the data that this tokenizer cannot make prompts of."""
    settings = settings_of(recipe)
    found = [
        problem
        for suite in suites.all
        for problem in task_type_of(suite).tokenizer_problems(suite, preprocessor.tokenizer, settings)
    ]
    learned = [item for item in suites.task_items if item.trains == "causal-lm"]
    return found + first_refusal("test", learned, lambda item: preprocessor.encode([item]))
