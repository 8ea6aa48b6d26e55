"""The predictions of the base: collected once, and kept for all runs on the same base and items."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from retain.activations.distributed import gathered, wait
from retain.evaluate.predictions import Predictions, collect_predictions, engine
from retain.evaluate.shares import Share
from retain.evaluate.suites.suite import Settings
from retain.hf.models.inference import device_of
from retain.jobs.inputs.data import suite_hash
from retain.jobs.run import Run
from retain.jobs.state_files import key_of, read_or_none, rewrite
from retain.recipe.marks import fields_where


def base_predictions(run: Run, base: Any, base_hash: str) -> Predictions:
    """The base's predictions, read from the file of an earlier run with the same base and items, or collected now.

    Several processes share the batches out; the first of them writes the file.

    Args:
        run: names the items and their settings.
        base: its base, without an adapter.
        base_hash: of the base's weights.
    """
    file = run.shared / f"base-{_key(run, base, base_hash)}.json"
    share = Share.of_group()
    with run.in_turn(file, run.events) if share.rank == 0 else nullcontext():  # the others wait for the first
        known = read_or_none(file, Predictions)
        if all(gathered(known is not None)) and known is not None:
            return known
        suites, settings = run.data.suites.all, run.settings
        predictions = collect_predictions(
            base, run.preprocessor, suites, settings, run.events, "the base answers", share=share
        )
        if share.rank == 0:
            rewrite(file, predictions.model_dump_json())
        wait()
        return predictions


def _key(run: Run, base: Any, base_hash: str) -> str:
    """A hash of all that the predictions depend on: weights, configuration, preprocessor, suites in order, settings."""
    suites = [[suite.name, suite_hash(suite)] for suite in run.data.suites.all]
    deciding = fields_where(Settings, lambda decides: decides.part in {"answers", "predictions"})
    settings = {name: value for name, value in asdict(run.settings).items() if name in deciding}
    attention = base.config._attn_implementation  # noqa: SLF001 -- transformers has no public name for it
    computing = [base.config.to_json_string(), attention, str(base.dtype), engine(), device_of(base).type]
    return key_of(base_hash, computing, [run.preprocessor.identity(), run.preprocessor.max_length], suites, settings)
