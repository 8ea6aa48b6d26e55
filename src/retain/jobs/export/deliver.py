"""Write an export: its weights, what belongs beside them, the card, and the record; whole, or not at all."""

from __future__ import annotations

import platform
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from retain.errors import RetainError
from retain.evaluate.conversion_loss import ConversionLoss, Reference, kept_predictions
from retain.evaluate.pair import Pair
from retain.events import Events
from retain.exporting.loading_notes import adapter_section, gguf_section, model_section, modelfile
from retain.hf.adapters.card import Card, auto_class, kind_of, licence_of, pipeline_of
from retain.hf.exporting.feeds import alike
from retain.hf.exporting.probe import outputs_of, probe_inputs
from retain.hf.models.describe import model_hash
from retain.hf.models.inference import evaluating
from retain.hf.models.sides import root_of
from retain.jobs.export.forms import Made, make_form
from retain.jobs.export.plan import Opened, Plan
from retain.jobs.record import PACKAGES
from retain.records.export_record import EXPORT_RECORD, ExportLoss, ExportRecord
from retain.records.files import new_folder, write_text
from retain.records.manifest import CARD, tree_digests
from retain.report.page.model_card import model_card
from retain.report.verdict_words import headline

LARGEST_TRUNCATION = 1e-5
"""Weights that differ by a smaller share are the same but for rounding, and so must the logits be."""


class ExportLossError(RetainError):
    """An export loses more than was allowed; nothing was delivered."""


@dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        folder: where it lies.
        record: what was made, and what that lost.
        layers: of a LoRA, ‖ΔW − ΔW'‖_F / ‖ΔW‖_F of each layer by its name.

    Examples:
        >>> exported = retain.export(model, "served", to="lora", rank=2)
        >>> exported.rank, exported.folder.name, exported.error < 1
        (2, 'served', True)
    """

    folder: Path
    record: ExportRecord
    layers: dict[str, float]

    @property
    def rank(self) -> int | None:
        """The rank of a LoRA."""
        return self.record.rank

    @property
    def error(self) -> float:
        """‖ΔW − ΔW'‖_F / ‖ΔW‖_F over all layers together; 0 where nothing was cut off or rounded."""
        return self.record.weight_error or 0.0


def deliver(opened: Opened, plan: Plan, output: Path, events: Events) -> Exported:
    """Make an export and write its folder.

    Raises:
        InputError: this update has no such form, or the folder holds what is not retain's.
        ExportLossError: it loses more than was allowed.
        RetainError: what was written is not what was meant, or a converter failed.
    """
    facts = _Facts.of(opened, plan)
    with new_folder(output) as place, ExitStack() as undo:
        reference = _reference(opened, events, undo)
        expected = _probed(opened.model) if opened.owned else None

        def measure(converted: Any, label: str) -> ConversionLoss | None:
            return None if reference is None else reference.loss_of(converted, events, label)

        made = make_form(opened, plan, place, measure)
        _check_loss(made, plan)
        difference = _check_outputs(made, expected, plan)
        _write_beside(opened, plan, place, made, facts)
        record = _record(opened, plan, made, facts, difference)
        (place / CARD).write_text(_card(opened, plan, made, facts, record), encoding="utf-8")
        record = record.model_copy(update={"files": tree_digests(place)})
        write_text(place / EXPORT_RECORD, record.model_dump_json(by_alias=True, indent=2) + "\n")
    return Exported(output.expanduser().absolute(), record, made.layers)


@dataclass(frozen=True)
class _Facts:
    """What is told of the models, taken down before the export uses them up."""

    auto: str
    pipeline: str | None
    method: str
    base_weights: str
    source: str
    generation: Any
    stop: tuple[str, ...]

    @classmethod
    def of(cls, opened: Opened, plan: Plan) -> _Facts:
        root: Any = root_of(opened.model)
        config = None if opened.adapter is None else opened.model.peft_config[opened.adapter]
        base = opened.model if opened.base is None else opened.base
        tokenizer = None if opened.preprocessor is None else opened.preprocessor.tokenizer
        generation = getattr(root, "generation_config", None)
        return cls(
            auto_class(root),
            pipeline_of(root),
            "full" if config is None else kind_of(config),
            "" if config is None and opened.base is None else model_hash(base),
            str(getattr(root.config, "_name_or_path", "") or ""),
            generation,
            tuple(_stops(tokenizer, generation)) if plan.to == "gguf" else (),
        )

    @property
    def is_language_model(self) -> bool:
        return self.pipeline == "text-generation"


def _reference(opened: Opened, events: Events, undo: ExitStack) -> Reference | None:
    if not opened.batches:
        return None
    base = opened.base
    if opened.adapter is None and base is None:  # a full model whose base nobody named: there is no effect to tell
        base = opened.model
    pair = Pair(opened.model, base)
    return undo.enter_context(kept_predictions(pair, opened.batches, events, "the adapter's effect"))


def _probed(model: Any) -> Tensor:
    with evaluating(model):
        return outputs_of(model, probe_inputs(model)).float().cpu()


def _check_loss(made: Made, plan: Plan) -> None:
    if plan.max_loss is None:
        return
    if made.loss is None:
        raise ExportLossError(
            "--max-loss: the loss could not be measured, so nothing was delivered; give --held-out-text (or, for a "
            f"classifier, --test). {' '.join(made.notes)}".strip()
        )
    if made.loss.lost > plan.max_loss:
        raise ExportLossError(
            f"this export differs from the adapter by {made.loss.lost:.3g} nats per {made.loss.unit}, more than "
            f"--max-loss {plan.max_loss:g} allows ({made.loss.share:.1%} of the adapter's effect of "
            f"{made.loss.effect:.3g}); nothing was delivered."
        )


def _check_outputs(made: Made, expected: Tensor | None, plan: Plan) -> tuple[float, float] | None:
    """The largest difference of the outputs on a random probe, and the largest output.

    Raises:
        RetainError: nothing was cut off or rounded, and still the outputs are others.
    """
    if made.model is None or expected is None:
        return None
    found = _probed(made.model)
    width = min(found.shape[-1], expected.shape[-1])
    found, expected = found[..., :width], expected[..., :width]
    difference, scale = float((found - expected).abs().max()), float(expected.abs().max())
    is_exact = (made.weight_error or 0.0) < LARGEST_TRUNCATION and made.dtype == "float32" and plan.to != "gguf"
    if is_exact and not alike(expected, found) and made.model.dtype == torch.float32:
        raise RetainError(
            f"what was written gives other outputs than the adapter (by up to {difference:.2g}, where the largest is "
            f"{scale:.2g}), so it was not delivered; please report this with the method ({plan.to}) and the model."
        )
    return difference, scale


def _write_beside(opened: Opened, plan: Plan, place: Path, made: Made, facts: _Facts) -> None:
    """The tokenizer with its template, generation settings, a Modelfile: what a server wants beside the weights."""
    if plan.to == "gguf":
        adapter = plan.gguf == "adapter"
        text = modelfile(str(made.file), plan.base_id, list(facts.stop), adapter=adapter)
        write_text(place / "Modelfile", text)
        return
    if opened.preprocessor is not None:
        opened.preprocessor.save(place)
    if facts.generation is not None and facts.is_language_model and not (place / "generation_config.json").is_file():
        facts.generation.save_pretrained(place)


def _stops(tokenizer: Any, generation: Any) -> list[str]:
    ids = getattr(generation, "eos_token_id", None)
    listed = ids if isinstance(ids, list) else [] if ids is None else [ids]
    if tokenizer is None:
        return []
    return [text for one in listed if isinstance(text := tokenizer.convert_ids_to_tokens(one), str)]


def _record(
    opened: Opened, plan: Plan, made: Made, facts: _Facts, difference: tuple[float, float] | None
) -> ExportRecord:
    result = opened.result
    no_id = (
        "The base has no hub id that is known here, so no file names it; give --base-model-id to have it named."
        if plan.base_id is None
        else ""
    )
    return ExportRecord(
        to=plan.to,
        method=facts.method,
        base=plan.base_id,
        base_weights=facts.base_weights,
        rank=made.rank,
        dtype=made.dtype,
        weight_error=made.weight_error,
        largest_difference=None if difference is None else difference[0],
        probe_scale=None if difference is None else difference[1],
        loss=None if made.loss is None else _loss(made.loss),
        held_out_text=dict(opened.hashes),
        verdict=headline(result) if result is not None else None,
        notes=tuple(note for note in (*opened.notes, *made.notes, no_id) if note),
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _loss(loss: ConversionLoss) -> ExportLoss:
    share = loss.share if loss.effect > 0 else None
    unit = "token" if loss.unit == "token" else "item"
    return ExportLoss(
        kl=loss.lost,
        cross_entropy=loss.nats,
        effect=loss.effect,
        share=share,
        churn=loss.churn,
        count=loss.tokens,
        unit=unit,
    )


_TITLES = {"lora": "LoRA", "ia3": "IA3", "merged": "merged model", "folded": "folded model", "gguf": "GGUF"}
_RELATIONS = {"lora": "adapter", "ia3": "adapter", "merged": "finetune", "folded": "finetune", "gguf": "quantized"}
_LIBRARIES = {"lora": "peft", "ia3": "peft", "merged": "transformers", "folded": "transformers", "gguf": "llama.cpp"}


def _card(opened: Opened, plan: Plan, made: Made, facts: _Facts, record: ExportRecord) -> str:
    base = f"`{plan.base_id}`" if plan.base_id else "a base model that lay in a folder"
    how: str = {
        "lora": lambda: adapter_section(
            "lora", facts.auto, plan.base_id, made.rank, is_language_model=facts.is_language_model
        ),
        "ia3": lambda: adapter_section("ia3", facts.auto, plan.base_id, None, is_language_model=False),
        "merged": lambda: model_section(facts.auto, is_language_model=facts.is_language_model),
        "folded": lambda: model_section(facts.auto, is_language_model=facts.is_language_model),
        "gguf": lambda: gguf_section(str(made.file), plan.base_id, adapter=plan.gguf == "adapter"),
    }[plan.to]()
    card = Card(
        title=f"{facts.method.upper()} as {_TITLES[plan.to]}" if facts.method != "full" else "Fine-tuned model",
        intro=f"A fine-tune of {base}, exported with retain {version('retain')}.",
        base=plan.base_id,
        library=_LIBRARIES[plan.to],
        pipeline=facts.pipeline,
        relation=_RELATIONS[plan.to],
        licence=plan.licence or licence_of(facts.source),
        tags=(facts.method, *(("gguf",) if plan.to == "gguf" else ())),
        sections=[how, _loss_section(record), "" if opened.result is None else model_card(opened.result)],
    )
    return card.text()


def _loss_section(record: ExportRecord) -> str:
    untold = [] if record.loss is not None else ["Its loss on text was not measured."]
    lines = ["## What the export lost", *(f"* {line}" for line in (*untold, *loss_lines(record)))]
    return "\n".join([lines[0], "", *lines[1:]])


def loss_lines(record: ExportRecord) -> list[str]:
    """What an export lost, in words: its loss on text, the error of its weights, the largest difference of a logit."""
    lines = []
    if (loss := record.loss) is not None:
        share = "" if loss.share is None else f", {loss.share:.2%} of the adapter's effect ({loss.effect:.3g})"
        lines.append(
            f"On {loss.count:,} {loss.unit}s held out it differs from the adapter by {loss.kl:.2g} nats per "
            f"{loss.unit} (KL){share}; {loss.churn:.2%} of the most likely predictions changed"
            + ("." if loss.cross_entropy is None else f", and the cross-entropy by {loss.cross_entropy:+.2g} nats.")
        )
    if record.weight_error is not None:
        lines.append(f"Of the update's weights it lost {record.weight_error:.2g} (‖ΔW − ΔW'‖ / ‖ΔW‖).")
    if record.largest_difference is not None and record.probe_scale is not None:
        lines.append(
            f"Loaded again, its outputs on random input differ by at most {record.largest_difference:.2g}, where the "
            f"largest is {record.probe_scale:.2g}."
        )
    return lines
