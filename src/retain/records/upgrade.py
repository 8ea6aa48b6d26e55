"""Records of schema `retain.result/1` as this version writes them: fields renamed, each score given its metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from retain.records.metric import Metric
from retain.records.metrics_table import CROSS_ENTROPY, KL_DIVERGENCE, METRICS
from retain.records.outside_metrics import Seen, outside_metric

FIRST_SCHEMA = "retain.result/1"

NATS_ENDING = "_nats_per_token"
"""The ending of the name of every metric in nats per token in schema 1."""

HELD_OUT_PART, HELD_OUT_SUITE = "reference", "reference text"
"""The part of the items of held-out text in schema 1, and their suite in a judgement."""

BASE_GUESSES = "cannot show loss: the base itself"
"""The beginning of the reason of a verdict in schema 1 where the base guesses."""

Fields = dict[str, Any]


def upgraded(record: Mapping[str, Any]) -> Fields:
    """The fields of a schema-1 record under the names of schema 2, with the metric of every score.

    A metric of the table is its row. Any other is derived once, here, from what the record holds of it: the direction,
    whether items were counted as lost and gained, the means.
    """
    found = _renamed(record, tolerances="margins", dial="scaling")
    config = _flat_config(record["method"].get("config", {}))
    new_fields = {"start": "initialisation", "precise": "preserve_small_shifts"}
    found["method"] = {**record["method"], "config": _renamed(config, **new_fields)}
    found["task"] = [_with_metric(score) for score in record.get("task", ())]
    found["keep"] = [_with_metric(score) for score in record.get("keep", ())]
    metrics = _Metrics([*found["task"], *found["keep"]])
    found["breakdowns"] = [metrics.of_breakdown(row) for row in record.get("breakdowns", ())]
    found["calibration"] = [_without(score, "ece_interval") for score in record.get("calibration", ())]
    found["suites"] = [_renamed(facts, kind="task_type") for facts in record.get("suites", ())]
    found["budget"] = [metrics.of_limit(limit) for limit in record.get("budget", ())]
    if found.get("judgement"):
        found["judgement"] = _judgement(found["judgement"], metrics)
    if found.get("scaling"):
        found["scaling"] = {**found["scaling"], "curve": [metrics.of_point(p) for p in found["scaling"]["curve"]]}
    if found.get("drift"):
        found["drift"] = _renamed(found["drift"], amounts="feature_scales")
    if found.get("cost"):
        found["cost"] = _renamed(found["cost"], dial_seconds="scaling_seconds")
    if found.get("conditions"):
        new_names = {"reader_hash": "preprocessor_hash", "questions_hash": "input_hash"}
        found["conditions"] = {side: _renamed(each, **new_names) for side, each in found["conditions"].items()}
    if "data_hashes" in record.get("provenance", {}):
        hashes = _renamed(record["provenance"]["data_hashes"], reference="held_out_text")
        found["provenance"] = {**record["provenance"], "data_hashes": hashes}
    return {**found, "schema": "retain.result/2"}


def upgraded_item(item: Mapping[str, Any]) -> Fields:
    """A line of `items.jsonl` as this version writes it; lines have no schema, and new ones come back as they are."""
    if item.get("part") != HELD_OUT_PART:
        return dict(item)
    return {**item, "part": "held-out", "suite": "held-out text"}


def _flat_config(config: Mapping[str, Any]) -> Fields:
    """A method's configuration with the fields of its initialisation beside the others, as later records have them."""
    note = config.get("start")
    if not isinstance(note, Mapping) or not isinstance(note.get("config"), Mapping):
        return dict(config)
    flat = {name: value for name, value in config.items() if name != "start"}
    asked = {name: note["config"][name] for name in ("beta", "start", "sample_norm", "seed") if name in note["config"]}
    flat |= {"saved_r": config.get("r"), "saved_alpha": config.get("lora_alpha"), **asked}
    flat |= {name: note["config"].get(name, flat.get(name)) for name in ("r", "target_modules")}
    for side, source in note.get("data", {}).items():
        flat |= {f"{side}_tokens": source["tokens"], f"{side}_data": source["data_hash"][:8]}
    return flat


def _renamed(fields: Mapping[str, Any], **names: str) -> Fields:
    return {names.get(name, name): value for name, value in fields.items()}


def _without(fields: Mapping[str, Any], name: str) -> Fields:
    return {key: value for key, value in fields.items() if key != name}


def _with_metric(score: Mapping[str, Any]) -> Fields:
    """A task or keep score with its metric, which holds the direction too."""
    fields = dict(score)
    better = fields.pop("higher_is_better", True)
    means = [value for value in (score.get("base"), score.get("tuned")) if value is not None]
    counted = score.get("lost") is not None
    return {**fields, "metric": _metric(str(score["metric"]), means, counted=counted, higher_is_better=better)}


def _metric(
    name: str, means: Iterable[float], *, counted: bool = False, higher_is_better: bool | None = None
) -> Metric:
    """A schema-1 metric, by its name in the table, or derived from its figures."""
    row = METRICS.get(name)
    if row is not None:
        return row.metric
    if name.endswith(NATS_ENDING):
        title = name.removesuffix(NATS_ENDING).replace("_", " ")
        return Metric(name=name, title=title, unit="nats per token", higher_is_better=bool(higher_is_better))
    values = [0.0, *means]
    return outside_metric(name, Seen(min(values), max(values), counted), higher_is_better=higher_is_better)


class _Metrics:
    """The metrics that a record's scores have, by suite and name, for what else names them."""

    def __init__(self, scores: Iterable[Mapping[str, Any]]) -> None:
        self._known: dict[tuple[str, str], Metric] = {}
        self._first: dict[str, Metric] = {}
        for score in scores:
            self._known.setdefault((score["name"], score["metric"].name), score["metric"])
            self._first.setdefault(score["name"], score["metric"])

    def of(self, suite: str, name: str, means: Iterable[float] = ()) -> Metric:
        """The metric of that suite and name."""
        return self._known.get((suite, name)) or _metric(name, means)

    def of_breakdown(self, row: Mapping[str, Any]) -> Fields:
        suite = "held-out text" if row["suite"] == HELD_OUT_PART else row["suite"]
        return {**row, "suite": suite, "metric": self.of(suite, row["metric"], (row["base"], row["tuned"]))}

    def of_point(self, point: Mapping[str, Any]) -> Fields:
        part = "held-out" if point["part"] == HELD_OUT_PART else point["part"]
        return {
            **point,
            "part": part,
            "metric": self.of(point["name"], point["metric"], (point["base"], point["tuned"])),
        }

    def of_limit(self, limit: Mapping[str, Any]) -> Fields:
        of_text = KL_DIVERGENCE if limit["name"] == "kl" else None
        return {**_renamed(limit, told="message"), "metric": of_text or self._first.get(limit["name"])}


def _judgement(judgement: Mapping[str, Any], metrics: _Metrics) -> Fields:
    found = _renamed(judgement, null_check="aa_check")
    verdicts = []
    for verdict in judgement.get("suites", ()):
        name = verdict["suite"]
        of_text = name == HELD_OUT_SUITE or name.startswith(f"{HELD_OUT_SUITE}: ")
        decided = metrics.of(name, verdict["decided_by"])
        fields = _renamed(verdict, tolerance="margin", can_show_loss="has_power")
        if of_text and decided == CROSS_ENTROPY:
            name = name.replace(HELD_OUT_SUITE, "held-out text", 1)
        guesses = str(verdict.get("reason", "")).startswith(BASE_GUESSES)
        verdicts.append({**fields, "suite": name, "decided_by": decided, "base_guesses": guesses})
    return {**found, "suites": verdicts}
