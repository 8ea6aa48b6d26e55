"""The frozen directions of a run's feature penalty, found once and kept in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from retain.activations.distributed import gathered, wait
from retain.data.item import items_hash
from retain.evaluate.batching import head_batching
from retain.evaluate.encode import features
from retain.evaluate.input_hash import InputHash
from retain.evaluate.shares import Share
from retain.hf.models.features import features_read
from retain.hf.models.inference import evaluating
from retain.jobs.inputs.joint_models import has_joint_files, load_joint
from retain.jobs.regularisers import LONGEST
from retain.jobs.run import Run
from retain.jobs.state_files import key_of, read_or_none, rewrite
from retain.train.linear_probe import evenly_chosen
from retain.train.regularise.divergence import placed
from retain.train.regularise.probes import CENTRES, CONTEXTS, cluster_centres, text_prototypes


class Directions(BaseModel):
    """A probe as it is kept.

    Attributes:
        directions: P (K, d).
        projection: (d, width) into the space of text; empty where features stay as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    directions: tuple[tuple[float, ...], ...]
    projection: tuple[tuple[float, ...], ...] = ()


class Probe(NamedTuple):
    """A probe for the feature penalty.

    Attributes:
        directions: P (K, d), float32.
        projection: (d, width), or None.
        note: for the record.
    """

    directions: Tensor
    projection: Tensor | None
    note: str


def feature_probe(run: Run, base: Any, base_hash: str, kept: Callable[[], Sequence[Any]]) -> Probe | None:
    """The probe of a run's feature penalty; None without one.

    Args:
        run: says which.
        base: its base, before it is adapted.
        base_hash: of the base's weights.
        kept: gives the rows to keep, whose features have the centres where the penalty reads them.
    """
    if not run.recipe.feature_weight:
        return None
    kind = run.recipe.feature_probe
    if kind == "auto":
        kind = "text" if has_joint_files(run.recipe) else "centres"
    rows = run.preprocessor.predicting_rows(kept()) if run.recipe.keeps_features and kind == "centres" else []
    read = list(map(run.preprocessor.row_content, rows)) if rows else items_hash(run.data.train)
    key = key_of(kind, base_hash, read, run.data.labels, run.preprocessor.identity(), run.recipe.seed)
    file, share = run.shared / f"probe-{key}.json", Share.of_group()
    with run.in_turn(file, run.events) if share.rank == 0 else nullcontext():  # the others wait for the first
        known = read_or_none(file, Directions)
        if not all(gathered(known is not None)) or known is None:
            known = _text(run) if kind == "text" else _centres(run, base, rows, share)
            if share.rank == 0:
                rewrite(file, known.model_dump_json())
            wait()
    projection = torch.tensor(known.projection) if known.projection else None
    told = (
        f"The feature penalty holds what {len(CONTEXTS)} contexts of the text tower say of each image."
        if kind == "text"
        else f"The feature penalty holds the features' place among {len(known.directions)} centres of the base's own"
        f"{' of what is to be kept' if rows else ''}."
    )
    return Probe(torch.tensor(known.directions), projection, told)


def _text(run: Run) -> Directions:
    model, tokenizer = load_joint(run.recipe)
    run.events.task("the text tower names contexts")
    directions, projection = text_prototypes(model, tokenizer, run.data.labels)
    return Directions(directions=_rows(directions), projection=_rows(projection))


def _centres(run: Run, base: Any, rows: Sequence[Any], share: Share) -> Directions:
    found = _of_rows(run, base, rows) if rows else _of_training(run, base, share)
    return Directions(directions=_rows(cluster_centres(found, CENTRES, run.recipe.seed)))


def _of_training(run: Run, base: Any, share: Share) -> Tensor:
    """The base's features of training items, of each class evenly many."""
    items = evenly_chosen(run.data.train)
    task = run.events.task("features of the base are read", total=len(items))
    return features(
        base,
        run.preprocessor,
        items,
        run.recipe.evaluation_batch_size,
        task.advance,
        InputHash(),
        batching=head_batching(base, run.preprocessor, items),
        share=share,
    )


def _of_rows(run: Run, base: Any, rows: Sequence[Any]) -> Tensor:
    """The base's features of text or images to keep."""
    batches = run.preprocessor.row_batches(rows, run.recipe.evaluation_batch_size, LONGEST)
    task = run.events.task("features of the base are read", total=len(batches))
    found = []
    with evaluating(base):
        for batch in batches:
            given = placed(base, batch)
            with features_read(base, given.get("attention_mask")) as read:
                base(**given)
                found.append(read().cpu())
            task.advance()
    return torch.cat(found)


def _rows(table: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, table.tolist()))
