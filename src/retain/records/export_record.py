"""The record of an export: what was made of which adapter, what that lost, and what lies in the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from retain.records.base import Record
from retain.records.reading import read_model

EXPORT_RECORD = "retain_export.json"
"""The record's name, in the folder that was exported."""

SCHEMA: Literal["retain.export/1"] = "retain.export/1"

Form = Literal["lora", "merged", "folded", "ia3", "gguf"]
"""The forms that an adapter can be exported to."""


class ExportLoss(Record):
    """What the export lost, on held-out text: means over `count` predictions, in nats per token or per item.

    `kl` is KL(tuned ‖ exported); `cross_entropy` that of the exported model less that of the tuned one; `effect` is
    KL(base ‖ tuned), `share` = kl / effect; `churn` the share of predictions of which the most likely one changed.
    """

    kl: float
    cross_entropy: float | None
    effect: float
    share: float | None
    churn: float
    count: int
    unit: Literal["token", "item"]


class ExportRecord(Record):
    """The record of an export.

    `to` is the form, `method` the adapter's (`full` for a model that was trained in full). `base` is the base's hub id,
    null where it has none; `base_weights` the hash of its weights. `rank` is that of an exported LoRA, `dtype` that of
    the weights (of a GGUF its type). `weight_error` is ‖ΔW − ΔW'‖ / ‖ΔW‖ over all layers: what truncating or rounding
    took of the update. `largest_difference` is that of the logits on a random probe, in `probe_scale` (the largest
    logit). `files` holds size and SHA-256 of every other file.

    Examples:
        >>> record = retain.export(model, "served-record", to="lora").record
        >>> record.schema_, record.to, record.needs_retain
        ('retain.export/1', 'lora', False)
    """

    schema_: Literal["retain.export/1"] = Field(default=SCHEMA, alias="schema")
    to: Form
    method: str
    base: str | None
    base_weights: str = ""
    rank: int | None = None
    dtype: str
    weight_error: float | None = None
    largest_difference: float | None = None
    probe_scale: float | None = None
    loss: ExportLoss | None = None
    held_out_text: dict[str, str] = Field(default_factory=dict)
    needs_retain: bool = False
    verdict: str | None = None
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    created: str = ""
    files: dict[str, str] = Field(default_factory=dict)

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


def read_export(folder: Path) -> ExportRecord:
    """Read the record of an exported folder.

    Raises:
        InputError: there is none, or it is damaged.
    """
    return read_model(folder / EXPORT_RECORD, ExportRecord)
