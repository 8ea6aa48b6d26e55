"""What each form for serving can carry of an adapter, told from its configuration, before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PeftConfig, PeftType
from peft.config import PromptLearningConfig

from retain.hf.adapters.config_file import method_of
from retain.hf.models.head import head_names

FOLDABLE = "vefa"
"""The method whose update is a scale of each input feature."""

HEADS = frozenset({"score", "classifier", "classification_head", "qa_outputs", "head", "pre_classifier"})
"""Names of classifiers' heads, where no model is loaded yet that could tell."""


def form_problems(form: str, values: Mapping[str, Any], heads: Collection[str] = HEADS) -> list[str]:
    """The reasons why an adapter has no such form, one sentence each, with the cure.

    Args:
        form: `lora`, `ia3`, `folded` or `merged`.
        values: the adapter's configuration, as `adapter_config.json` holds it.
        heads: names of modules that are a classifier's head, which a LoRA's folder carries beside the LoRA.
    """
    method = method_of(values)
    if reason := _no_update(method, values):
        return [f"--to {form}: {reason}"]
    if form in {"ia3", "folded"} and method != FOLDABLE:
        what = "an IA3 in its place" if form == "ia3" else "folded into the layers before"
        told = f"this adapter's method is {method}, and only {FOLDABLE}, which scales each input feature, can be {what}"
        return [f"--to {form}: {told}; take --to lora or --to merged."]
    if form != "lora":
        return []
    return [f"--to lora: this {method} {reason}; take --to merged." for reason in _beyond_a_lora(values, heads)]


def config_values(config: PeftConfig) -> dict[str, Any]:
    """The values of a configuration as its file would hold them."""
    values = dict(config.to_dict())
    kind = values["peft_type"]
    return {**values, "peft_type": str(getattr(kind, "value", kind))}


def heads_of(model: Any) -> frozenset[str]:
    """The names by which `modules_to_save` can mean a model's head."""
    return frozenset(head_names(model))


def _no_update(method: str, values: Mapping[str, Any]) -> str | None:
    """The reason why an adapter is no update of the base's weights that would be the same for every token."""
    made_by: Any = next((PEFT_TYPE_TO_CONFIG_MAPPING[kind] for kind in PeftType if kind.value.lower() == method), None)
    if (made_by is not None and issubclass(made_by, PromptLearningConfig)) or method == "adaption_prompt":
        return f"{method} is no update of weights, so only PEFT itself can run it; serve the adapter as it is."
    if method in {"xlora", "poly"}:
        return f"{method} mixes adapters anew for each input, so it is no one update; serve the adapter as it is."
    if values.get("alora_invocation_tokens"):
        return "an activated LoRA acts after its invocation tokens only; serve it as it is (vLLM reads such adapters)."
    if values.get("layer_replication"):
        return "layer_replication gave the model other layers than its base; build that model and save it in full."
    return None


def _beyond_a_lora(values: Mapping[str, Any], heads: Collection[str]) -> list[str]:
    beyond = [name for name in values.get("modules_to_save") or () if name not in heads]
    checks: list[tuple[Callable[[], Any], str]] = [
        (lambda: beyond, f"trains {', '.join(beyond)} in full, which a LoRA cannot carry"),
        (
            lambda: values.get("lora_bias") or values.get("bias", "none") not in ("none", None, False),
            "trains biases, which a LoRA cannot carry",
        ),
        (lambda: values.get("trainable_token_indices") or values.get("token_indices"), "trains single tokens too"),
        (lambda: values.get("target_parameters"), "changes bare parameters (experts), which no server's LoRA reads"),
    ]
    return [told for holds, told in checks if holds()]
