"""The movement of a model: one pass over the inputs a side, then the weights one layer at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retain.errors import InputError
from retain.evaluate.drift.feature_scales import feature_scale_layers
from retain.evaluate.drift.hidden_states import compare_blocks
from retain.evaluate.drift.layer_inputs import Batch, Observed, observe
from retain.evaluate.drift.weights import measure_weights
from retain.evaluate.pair import Pair
from retain.events import Events
from retain.hf.models.sides import root_of
from retain.hf.models.updates import UpdatesUnavailableError, changed_layers, left_out, weight_updates
from retain.records.drift_record import Drift


def measure_drift(pair: Pair, keep_inputs: Sequence[Batch], learn_inputs: Sequence[Batch], events: Events) -> Drift:
    """Measure the movement of the tuned model from its base, on inputs to keep and on inputs to learn.

    Hidden states are compared on the inputs to keep (without any, on those to learn). F_Δ and the equivalent amounts
    are read on each layer's inputs in the base; amounts on the inputs to learn where there are any. Only the first few
    rows are used: see `retain.evaluate.drift.layer_inputs`. Both models come back as they were.

    Args:
        pair: base and tuned model, of any modality.
        keep_inputs: batches as the model takes them: `input_ids` with `attention_mask`, `pixel_values`, ….
        learn_inputs: likewise, the task's.
        events: receives the progress.
    """
    names, note = _changed(pair)
    bar = events.task("how far the model moved", total=len(names) or None)
    keep, learn, tuned = _observed(pair, names, keep_inputs, learn_inputs)
    before = keep.states or learn.states
    notes = [note, _states_note(keep_inputs, learn_inputs, before)]
    found = Drift()
    if not note:
        try:
            updates = weight_updates(pair.tuned_model, pair.separate_base) if names else ()
            found = measure_weights(names, updates, keep.inputs, learn.inputs, bar.advance)
            notes += [found.note, _left_out_note(pair)]
        except (UpdatesUnavailableError, InputError) as error:
            notes.append(str(error))
    if not names and not note:  # no linear layer changed at all
        no_change = {"f_delta": 0.0 if keep_inputs else None, "f_delta_learn": 0.0 if learn_inputs else None}
        found = found.model_copy(update=no_change)
    root = pair.tuned_model if pair.separate_base is None else root_of(pair.tuned_model)
    ratio = found.f_delta_learn / found.f_delta if found.f_delta and found.f_delta_learn is not None else None
    return found.model_copy(
        update={
            "f_delta_ratio": ratio,
            "hidden": compare_blocks(before, tuned.states),
            "feature_scales": feature_scale_layers(root, learn.inputs or keep.inputs),
            "note": " ".join(text for text in notes if text),
        }
    )


def _changed(pair: Pair) -> tuple[list[str], str]:
    """The changed layers, or why they are not known."""
    try:
        return changed_layers(pair.tuned_model, pair.separate_base), ""
    except (UpdatesUnavailableError, InputError) as error:
        return [], str(error)


def _observed(
    pair: Pair, names: Sequence[str], keep: Sequence[Batch], learn: Sequence[Batch]
) -> tuple[Observed, Observed, Observed]:
    """The base on inputs to keep and to learn, and the tuned model on those where hidden states are compared."""
    with pair.base() as model:
        kept = observe(model, keep, names, states=True)
        learned = observe(model, learn, names, states=not keep)
    with pair.tuned() as model:
        return kept, learned, observe(model, keep or learn, states=True)


def _states_note(keep: Sequence[Batch], learn: Sequence[Batch], states: Sequence[Any]) -> str:
    if not states:
        return "Hidden states were not compared: the model gives none." if keep or learn else ""
    return "" if keep else "Hidden states are compared on the task's inputs."


def _left_out_note(pair: Pair) -> str:
    names = left_out(pair.tuned_model)
    kinds = ", ".join(sorted({name.rpartition(".")[2] for name in names}))
    return f"{len(names)} adapted modules are no linear layers and are left out ({kinds})." if names else ""
