"""What is to be exported: an adapter or a full model, its base, its method; and what forbids it, before models load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from retain.data.family import Family
from retain.errors import InputError
from retain.exporting.llama_cpp import LlamaCpp, find_llama_cpp
from retain.hf.adapters.card import hub_id
from retain.hf.adapters.config_file import method_of, read_config
from retain.hf.adapters.folder import adapter_folder, inner_adapters, is_adapter, stored_shapes
from retain.hf.exporting.carried import HEADS, form_problems
from retain.hf.models.head import saved_labels
from retain.hf.models.quantization import own_quantization
from retain.jobs.inputs.classes_told import classes_beside
from retain.jobs.inputs.loading import Loading
from retain.jobs.inputs.model_sources import located
from retain.jobs.inputs.models import ModelSpec
from retain.jobs.output_place import output_problem
from retain.recipe import ExportRecipe
from retain.recipe.from_run import no_folder
from retain.records.manifest import check_unchanged
from retain.records.paths import expanded, is_path, may_be_hub_adapter

FULL = "full"
"""The method of a model that was trained in full."""

_IMAGE = ("ForImageClassification",)
_TEXT_CLASSES = ("ForSequenceClassification",)


@dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes:
        folder: holds the adapter, or the full model.
        values: the adapter's configuration; empty for a full model.
        spec: how the base is loaded; of a full model whose base is not known, that model itself.
        has_base: whether there is a base to compare with.
        base_id: the base's hub id, for the files.
        llama_cpp: its converters, where a GGUF is to be made.
    """

    folder: Path
    values: Mapping[str, Any]
    spec: ModelSpec
    has_base: bool
    base_id: str | None
    llama_cpp: LlamaCpp | None = None

    @property
    def method(self) -> str:
        """The method's name."""
        return method_of(self.values) if self.values else FULL

    @property
    def whole(self) -> ModelSpec:
        """How a full model that was trained is loaded, or one that was made of base and adapter."""
        return replace(self.spec.at(self.folder, "tuned"), loading=Loading())

    @property
    def plain(self) -> ModelSpec:
        """How the base is loaded unquantised."""
        return replace(self.spec, loading=replace(self.spec.loading, quantization=None))


def source_of(recipe: ExportRecipe) -> Source:
    """Look at everything that a recipe names, and refuse what cannot be done.

    Raises:
        InputError: with every problem; no model was loaded.
    """
    problems: list[str] = []
    folder, values = _tuned(recipe.tuned, problems)
    base = recipe.model or values.get("base_model_name_or_path") or (None if values or folder is None else "")
    if values and base is None:
        problems.append(f"model: {recipe.tuned} does not say which base it was trained on; give it as --model.")
    elif values and recipe.model is None and is_path(str(base)) and not expanded(str(base)).is_dir():
        problems.append(
            f"model: the base that {recipe.tuned} names, {base}, is not there any more; give where it is as --model."
        )
    problems += [] if folder is None else _form_problems(recipe, values)
    converters = None
    if recipe.to == "gguf":
        try:
            converters = find_llama_cpp(recipe.llama_cpp, recipe.outtype, adapter=recipe.gguf == "adapter")
        except InputError as error:
            problems += error.problems
    problems += output_problem(recipe.output) or _overlap(recipe, folder, str(base or ""))
    if problems or folder is None:
        raise InputError(problems)
    spec, found = _spec(recipe, folder, values, str(base or folder))
    if found:
        raise InputError(found)
    named = recipe.base_model_id or hub_id(str(base)) or hub_id(values.get("base_model_name_or_path"))
    return Source(folder, values, spec, bool(base), named, converters)


def _tuned(given: str, problems: list[str]) -> tuple[Path | None, dict[str, Any]]:
    """The folder of what is exported, and the configuration of an adapter."""
    place = expanded(given)
    try:
        if is_adapter(given):
            folder = adapter_folder(given)
            check_unchanged(folder)
            return folder, read_config(folder)
        if (place / "config.json").is_file():
            check_unchanged(place)
            return place, {}
        if place.is_dir():
            inner = inner_adapters(place)
            cure = f"; give one of the adapters inside it: {', '.join(map(str, inner[:5]))}" if inner else ""
            problems.append(
                f"tuned: {given} holds neither an adapter (adapter_config.json), nor a model (config.json), nor a run "
                f"of retain tune{cure}."
            )
        elif place.exists() or not may_be_hub_adapter(given):
            problems.append(no_folder(given))
        else:
            problems.append(f"tuned: there is no folder {given} here, and no adapter of that name on the hub.")
    except InputError as error:
        problems += error.problems
    return None, {}


def _form_problems(recipe: ExportRecipe, values: Mapping[str, Any]) -> list[str]:
    form = ("lora" if recipe.gguf == "adapter" else "merged") if recipe.to == "gguf" else recipe.to
    if values:
        return form_problems(form, values)
    if form == "merged":
        return []
    told = f"{recipe.tuned} is a full model and no adapter; take --to merged or --to gguf, which write it anew"
    return [f"--to {recipe.to}: {told}."]


def _overlap(recipe: ExportRecipe, folder: Path | None, base: str) -> list[str]:
    """A sentence where the output is, holds, or lies in one of the inputs."""
    output = Path(recipe.output).expanduser().resolve()
    inputs = {"what is exported": folder, "the base": expanded(base) if base else None}
    for what, place in inputs.items():
        if place is None or not place.exists():
            continue
        inside = place.resolve()
        if output == inside or inside in output.parents or output in inside.parents:
            return [f"output: {recipe.output} is, holds or lies in {what} ({place}); give a folder of its own."]
    return []


def _spec(recipe: ExportRecipe, folder: Path, values: Mapping[str, Any], base: str) -> tuple[ModelSpec, list[str]]:
    """How the base is loaded, and what is wrong with that."""
    own = _config_of(base, trust=recipe.trust_remote_code)
    labels = saved_labels(folder) or classes_beside(folder) or _unnamed_classes(folder, values)
    family = _family(own, folder, values, classes=bool(labels), trust=recipe.trust_remote_code)
    spec = ModelSpec(
        base,
        family,
        tuple(labels),
        recipe.computed_in,
        recipe.attention,
        recipe.trust_remote_code,
        recipe.max_length,
        recipe.template,
        recipe.template_values,
        Loading.of(recipe),
    )
    problems = spec.loading_problems()
    is_whole = recipe.to in {"merged", "folded"} or (recipe.to == "gguf" and recipe.gguf == "model")
    if is_whole and own_quantization(own) is not None:
        problems.append(
            f"--to {recipe.to}: {base} is quantised, and a plain model is made of an unquantised base; give the "
            "checkpoint that it was quantised from as --model."
        )
    if recipe.to == "gguf" and family != "causal-lm":
        problems.append(f"--to gguf: llama.cpp generates text, and this is a model of the family {family}.")
    return spec, problems


def _config_of(base: str, *, trust: bool) -> Any:
    """The configuration of a model.

    Raises:
        InputError: there is none.
    """
    path = located(base)
    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=trust)
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"model: no model could be loaded from {base!r} ({reason}); give the base as --model: a folder with "
            "config.json and *.safetensors, or a hub id that can be reached."
        ) from error


def _unnamed_classes(folder: Path, values: Mapping[str, Any]) -> list[str]:
    """The classes of a trained head that nothing names, by transformers' own words for such; none without a head."""
    heads = HEADS.intersection(values.get("modules_to_save") or ())
    if str(values.get("task_type") or "") != "SEQ_CLS" and not heads:
        return []
    shapes = stored_shapes(folder)
    rows = [one.shape[0] for key, one in shapes.items() if HEADS.intersection(key.split(".")) and len(one.shape) == 2]
    return [f"LABEL_{number}" for number in range(rows[-1])] if rows else []


def _family(config: Any, folder: Path, values: Mapping[str, Any], *, classes: bool, trust: bool) -> Family:
    """The class that base and tuned model are loaded as."""
    own = config
    if not values and (folder / "config.json").is_file():
        own = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
    kind = next(iter(getattr(own, "architectures", None) or ()), "")
    sees = hasattr(config, "image_size") and not hasattr(config, "vocab_size")
    task = str(values.get("task_type") or "")
    if classes or task == "SEQ_CLS" or kind.endswith(_IMAGE + _TEXT_CLASSES):
        return "image-classifier" if sees else "text-classifier"
    if task == "CAUSAL_LM" or "CausalLM" in kind or "LMHead" in kind:
        return "causal-lm"
    return "image-features" if sees else "text-features"
