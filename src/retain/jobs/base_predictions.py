"""The predictions of the base: collected once, and kept for all runs on the same base and items."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from retain.activations.distributed import gathered, wait
from retain.evaluate.predictions import Predictions, collect_predictions
from retain.evaluate.shares import Share
from retain.jobs.asked import Asked
from retain.jobs.run import Run
from retain.jobs.state_files import key_of, read_or_none, rewrite


def base_predictions(run: Run, base: Any, base_hash: str) -> Predictions:
    """The base's predictions, read from the file of an earlier run with the same base and items, or collected now.

    The file lies in the folder that the runs of a comparison share, or in the cache of runs in any folder; of the
    latter it is copied to the former. Several processes share the batches out; the first of them writes.

    Args:
        run: names the items and their settings.
        base: its base, without an adapter.
        base_hash: of the base's weights.
    """
    suites, share = run.data.suites.all, Share.of_group()
    asked = Asked(base, base_hash, run.preprocessor, tuple(suites), run.settings)
    file = run.shared / f"base-{key_of(*asked.parts())}.json"
    with ExitStack() as held:
        if share.rank == 0:  # the others wait for the first
            held.enter_context(run.in_turn(file, run.events))
            if read_or_none(file, Predictions) is None:
                held.enter_context(run.cache.in_turn(asked, run.events))
                if (kept := run.cache.find(asked, run.events)) is not None:
                    rewrite(file, kept.model_dump_json())
        wait()
        known = read_or_none(file, Predictions)
        if all(gathered(known is not None)) and known is not None:
            return known
        predictions = collect_predictions(
            base, run.preprocessor, suites, run.settings, run.events, "the base answers", share=share
        )
        if share.rank == 0:
            rewrite(file, predictions.model_dump_json())
            run.cache.keep(asked, predictions)
        wait()
        return predictions
