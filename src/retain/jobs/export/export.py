"""`retain export`, by path or in Python."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from retain.errors import InputError
from retain.evaluate.pair import carries_base
from retain.evaluate.suites.suite import Settings, Suites
from retain.events import Events
from retain.exporting.llama_cpp import find_llama_cpp
from retain.hf.adapters.card import auto_class, hub_id
from retain.hf.exporting.carried import config_values, form_problems, heads_of
from retain.hf.models.given import unwrapped
from retain.hf.models.head import is_classifier
from retain.hf.models.sides import is_adapted, root_of
from retain.hf.scaling import adapter_to_write
from retain.jobs.export.deliver import Exported, deliver
from retain.jobs.export.models import open_source, read_batches, run_result
from retain.jobs.export.plan import Opened, Plan
from retain.jobs.export.source import source_of
from retain.jobs.inputs.given import Given, given_preprocessor, given_suites
from retain.jobs.output_place import output_problem
from retain.jobs.progress import make_console, showing_progress
from retain.recipe import ExportRecipe, load_recipe
from retain.recipe.from_run import export_values
from retain.records.export_record import Form


def export(
    model: Any,
    output: str | Path | None = None,
    *,
    to: Form,
    rank: int | Literal["auto"] | None = None,
    dtype: str = "auto",
    held_out_text: str | Path | Sequence[str | Path] | None = None,
    max_loss: float | None = None,
    base: nn.Module | None = None,
    tokenizer: Any = None,
    processor: Any = None,
    test: Given | None = None,
    adapter_name: str | None = None,
    base_model_id: str | None = None,
    show_progress: bool = True,
    **fields: Any,
) -> Exported:
    """Write a trained adapter in a form that servers take, and tell what that lost.

    Args:
        model: a `PeftModel`, which is not touched; or, as on the command line, the folder of a run or of an adapter, or
            a hub id.
        output: the folder to write; an export that retain wrote there is replaced. None: beside the run.
        to: `lora`, `merged`, `folded`, `ia3` or `gguf`.
        rank: of a LoRA: a number, `auto` (the smallest that keeps `max_loss`), or None for the update's own.
        dtype: of what is written; auto is the base's for a model and float32 for an adapter.
        held_out_text: text on which the loss is measured.
        max_loss: the most nats per token by which the export may differ from the adapter.
        base: the untouched base, for an adapter whose initialisation rewrote the one inside the model.
        tokenizer: is written beside the weights, and reads the text.
        processor: likewise, of a model that reads images.
        test: items on which the loss of a classifier is measured.
        adapter_name: which of several adapters; None for the active one.
        base_model_id: the base's hub id, for the files that name it.
        show_progress: whether bars are shown on a terminal.
        fields: other fields of `retain export` (llama_cpp, outtype, gguf, licence, shard_size, …).

    Returns:
        The folder, the record of what was lost, and the error of each layer.

    Raises:
        InputError: with every problem found before any work; or the update has no such form.
        RetainError: it loses more than `max_loss`, or a converter failed; nothing was delivered.

    Examples:
        >>> retain.export(model, "served", to="lora", rank=4).rank  # a folder that vLLM and llama.cpp read
        4
    """
    texts = [held_out_text] if isinstance(held_out_text, (str, Path)) else list(held_out_text or ())
    given = {"to": to, "rank": rank, "dtype": dtype, "max_loss": max_loss, "base_model_id": base_model_id, **fields}
    given = {name: value for name, value in given.items() if value is not None}
    given |= {"held_out_text": [str(text) for text in texts]} if texts else {}
    given |= {"output": str(output)} if output is not None else {}
    with showing_progress(make_console(quiet=not show_progress)) as events:
        if isinstance(model, (str, Path)):
            given |= {"test": str(test)} if test is not None else {}
            return export_recipe(load_recipe(ExportRecipe, *export_values(str(model), given)), events)
        if output is None:
            raise InputError("output: name the folder that is to be written.")
        recipe = load_recipe(ExportRecipe, None, {"tuned": "the model that was given", **given})
        return _export_model(recipe, model, base, adapter_name, (tokenizer, processor, test), events)


def export_recipe(recipe: ExportRecipe, events: Events) -> Exported:
    """Export what a recipe names.

    Raises:
        InputError: with every problem; or as `deliver`.
    """
    problems: list[str] = []
    data = given_suites(recipe.test, None, recipe.held_out_text, problems)
    try:
        source = source_of(recipe)
    except InputError as error:
        raise InputError([*problems, *error.problems]) from error
    if problems:
        raise InputError(problems)
    plan = _plan(recipe, source.base_id, source.llama_cpp)
    settings = Settings(held_out_tokens=recipe.held_out_tokens, max_length=recipe.max_length)
    opened = open_source(source, data, settings, run_result(source.folder))
    return deliver(opened, plan, Path(recipe.output), events)


def _export_model(
    recipe: ExportRecipe,
    model: Any,
    base: nn.Module | None,
    adapter_name: str | None,
    readers: tuple[Any, Any, Given | None],
    events: Events,
) -> Exported:
    """Export a model in memory, of which a copy is used up where that is needed."""
    model, base = unwrapped(model), unwrapped(base)
    tokenizer, processor, test = readers
    problems: list[str] = []
    adapter = adapter_name or (adapter_to_write(model) if is_adapted(model) else None)
    if adapter is None or adapter not in getattr(model, "peft_config", {}):
        there = ", ".join(getattr(model, "peft_config", {})) or "none"
        raise InputError(f"there is no adapter{f' {adapter!r}' if adapter else ' on this model'}; there are {there}.")
    own = recipe.gguf == "adapter"
    form = ("lora" if own else "merged") if recipe.to == "gguf" else recipe.to
    problems += form_problems(form, config_values(model.peft_config[adapter]), heads_of(model))
    converters = None
    if recipe.to == "gguf":
        if (kind := auto_class(model)) != "AutoModelForCausalLM":
            problems.append(f"to: llama.cpp generates text, and this model is an {kind}; take merged.")
        elif tokenizer is None:
            problems.append("tokenizer: a GGUF holds the tokenizer; give it as tokenizer=.")
        try:
            converters = find_llama_cpp(recipe.llama_cpp, recipe.outtype, adapter=own)
        except InputError as error:
            problems += error.problems
    preprocessor = None
    if tokenizer is not None or processor is not None:
        preprocessor = given_preprocessor(tokenizer, processor, {}, model)
    data = given_suites(test, None, recipe.held_out_text, problems)
    if (data.held_out_text or data.all) and preprocessor is None:
        problems.append("tokenizer: is needed to read what the loss is measured on (processor= for images).")
    problems += output_problem(recipe.output)
    if problems:
        raise InputError(problems)
    named = recipe.base_model_id or hub_id(str(getattr(root_of(model).config, "_name_or_path", "")))
    plan = _plan(recipe, named, converters)
    opened = _opened(model, adapter, base, preprocessor, data, plan, recipe)
    return deliver(opened, plan, Path(recipe.output), events)


def _opened(
    model: Any,
    adapter: str,
    base: nn.Module | None,
    preprocessor: Any,
    data: Suites,
    plan: Plan,
    recipe: ExportRecipe,
) -> Opened:
    settings = Settings(held_out_tokens=recipe.held_out_tokens, max_length=recipe.max_length)
    root: Any = root_of(model)
    family = "classifier" if is_classifier(root) else "causal-lm"
    batches, hashes = read_batches(preprocessor, data, settings, family)
    if plan.max_loss is not None and not batches:
        raise InputError("max_loss: give held_out_text (or, for a classifier, test) and what reads it.")
    owned = bool(plan.makes_a_model or batches)
    used: Any = copy.deepcopy(model) if owned else model
    before = list(model.active_adapters)
    if before != [adapter]:
        if not owned:
            used = copy.deepcopy(model)
        used.set_adapter(adapter)
    return Opened(
        used,
        adapter,
        None if carries_base(model) else base,
        root.dtype,
        preprocessor,
        batches,
        hashes,
        owned=owned,
    )


def _plan(recipe: ExportRecipe, base_id: str | None, converters: Any) -> Plan:
    return Plan(
        to=recipe.to,
        rank=recipe.rank,
        dtype=recipe.dtype,
        max_loss=recipe.max_loss,
        base_id=base_id,
        licence=recipe.licence,
        gguf=recipe.gguf,
        outtype=recipe.outtype,
        llama_cpp=converters,
        shard_size=recipe.shard_size,
    )
