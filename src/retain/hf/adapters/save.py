"""Write an adapter or a whole model with a model card of ours, in which no path of this machine stands.

`adapter_config.json` keeps that path in `base_model_name_or_path`: PEFT's auto classes
load the base by it. The card says so where the base has no hub id.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from peft.utils import CONFIG_NAME
from torch import Tensor, nn

from retain.hf.adapters.card import PLACEHOLDER, Card, auto_class, hub_id, kind_of, licence_of, pipeline_of
from retain.hf.adapters.initialise import NOTE, note_of
from retain.hf.adapters.origin import write_origin
from retain.hf.models.sides import root_of
from retain.hf.models.vocabulary import embeddings_of
from retain.hf.tuners.feature_config import FeatureConfig
from retain.records.manifest import CARD
from retain.records.reading import read_json_mapping

_LOADING = """\
```python
{needed}from peft import PeftModel
from transformers import {auto}

base = {auto}.from_pretrained("{source}")
model = PeftModel.from_pretrained(base, "{folder}")
```
"""

_INITIALISED = f"""\
Its initialisation was computed from its base, mostly with texts; `{NOTE}` records how. It loads as an ordinary LoRA; to
train it further, load it with `retain.load_adapter(base, folder, trainable=True)`.
"""

_LOCAL_BASE = """\
The base was loaded from a folder, and `adapter_config.json` names that folder. Before you publish the adapter, write
the base's hub id there, and as `base_model` into the front matter above; `retain export` does both.
"""

_WHOLE = """\
```python
from transformers import {auto}

model = {auto}.from_pretrained("{folder}")
```
"""


def save_weights(
    model: Any,
    folder: str | Path,
    *,
    adapter_name: str | None = None,
    state: dict[str, Tensor] | None = None,
    max_shard_size: str | None = None,
) -> None:
    """Write an adapter, or a model without adapters in full, with its card; the folder may hold other files.

    Args:
        model: a `PeftModel`, or a transformers model.
        folder: where to write.
        adapter_name: the adapter; None for all that the model has.
        state: its weights, where those in memory are in pieces (FSDP, DeepSpeed).
        max_shard_size: largest file of a whole model's weights; None for transformers' own.
    """
    more: dict[str, Any] = {} if state is None else {"state_dict": state}
    place = Path(folder)
    if not isinstance(model, PeftModel):
        with _ties_as_they_are(model):
            sizes = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
            model.save_pretrained(place, **more, **sizes)
        write_card(place, model)
        return
    chosen = list(model.peft_config) if adapter_name is None else [adapter_name]
    model.save_pretrained(place, selected_adapters=chosen, **more)
    for name in chosen:
        own = place if name == "default" else place / name
        order_sets(own, model.peft_config[name])
        write_origin(own, model)
    write_card(place, model, model.peft_config[chosen[0]], initialised=note_of(model, chosen[0]) is not None)


def order_sets(folder: Path, config: PeftConfig) -> None:
    """Sort what is a set of a configuration in its file, where PEFT leaves the order that sets have in one process.

    Args:
        folder: holds `adapter_config.json`.
        config: the configuration that was written.
    """
    path = folder / str(CONFIG_NAME)
    values = read_json_mapping(path)
    ordered = {
        name: sorted(value, key=str) if isinstance(getattr(config, name, None), (set, frozenset)) else value
        for name, value in values.items()
    }
    if ordered != values:
        path.write_text(json.dumps(ordered, indent=2, sort_keys=True), encoding="utf-8")


@contextmanager
def _ties_as_they_are(model: Any) -> Iterator[None]:
    """Let a configuration say that embeddings and head are not tied, inside, where both have values of their own.

    An adapter may have trained one of two tied weights. Software that believes the configuration would drop it.
    """
    vocabulary = [module.weight for module in embeddings_of(model)]
    differ = len(vocabulary) == 2 and vocabulary[0] is not vocabulary[1] and not _equal(*vocabulary)
    root: Any = getattr(model, "config", None)
    known: list[Any] = [root, getattr(root, "text_config", None)]
    configs = [one for one in known if getattr(one, "tie_word_embeddings", False)]
    with ExitStack() as undo:
        for config in configs if differ else []:
            undo.callback(setattr, config, "tie_word_embeddings", config.tie_word_embeddings)
            config.tie_word_embeddings = False
        yield


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.data_ptr() == other.data_ptr() and one.device.type != "meta":
        return True
    return one.shape == other.shape and bool(torch.equal(one.to(other.device), other))


def write_card(folder: Path, model: nn.Module, config: PeftConfig | None = None, *, initialised: bool = False) -> None:
    """Write the model card of an adapter, or of a whole model, in place of the one that is there.

    Args:
        folder: where the weights lie.
        model: the model, with or without adapters.
        config: the adapter's configuration; None for a whole model.
        initialised: the note of a data-driven initialisation lies beside the adapter.
    """
    source = _source(model, config)
    base = hub_id(source)
    card = Card(
        title=type(root_of(model)).__name__ if config is None else f"{kind_of(config).upper()} adapter",
        intro=_whole_intro(base) if config is None else _adapter_intro(base),
        base=base,
        library="transformers" if config is None else "peft",
        pipeline=pipeline_of(model),
        relation="finetune" if config is None else "adapter",
        licence=licence_of(source),
        tags=() if config is None else (kind_of(config),),
        sections=_whole_sections(model)
        if config is None
        else _adapter_sections(model, config, base, initialised=initialised),
    )
    (folder / CARD).write_text(card.text(), encoding="utf-8")


def _source(model: nn.Module, config: PeftConfig | None) -> str | None:
    own = None if config is None else config.base_model_name_or_path
    found: str | None = own or getattr(getattr(root_of(model), "config", None), "_name_or_path", None)
    return found


def _adapter_intro(base: str | None) -> str:
    told = f"`{base}`" if base else "the base model that it was trained on"
    return (
        f"An adapter for {told}, trained with retain {version('retain')}. The base's weights are unchanged, and are "
        "not in this folder."
    )


def _adapter_sections(model: nn.Module, config: PeftConfig, base: str | None, *, initialised: bool) -> list[str]:
    kind = kind_of(config)
    loading = _LOADING.format(
        needed=f"import retain  # makes {kind} known to PEFT\n" if isinstance(config, FeatureConfig) else "",
        auto=auto_class(model),
        source=base or "BASE_MODEL",
        folder=PLACEHOLDER,
    )
    more = [_INITIALISED if initialised else "", _LOCAL_BASE if base is None and config.base_model_name_or_path else ""]
    return [loading, *more]


def _whole_intro(base: str | None) -> str:
    told = f"`{base}`" if base else "a base model that lay in a folder"
    return f"Fine-tuned from {told} with retain {version('retain')}."


def _whole_sections(model: nn.Module) -> list[str]:
    return [_WHOLE.format(auto=auto_class(model), folder=PLACEHOLDER)]
