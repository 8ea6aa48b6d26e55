"""Write an adapter or a whole model with a model card of ours, in which no path of this machine stands.

The card that PEFT writes names the base by the path that it was loaded from, which the hub refuses as `base_model` and
which shows the user's folders. `adapter_config.json` keeps that path in `base_model_name_or_path`: PEFT's auto classes
load the base by it. The card says so where the base has no hub id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCardData
from peft import PeftConfig, PeftModel
from peft.utils import CONFIG_NAME
from torch import Tensor, nn

from retain.hf.adapters.initialise import NOTE, note_of
from retain.hf.adapters.origin import write_origin
from retain.hf.models.head import is_classifier
from retain.hf.models.sides import root_of
from retain.hf.models.vocabulary import embeddings_of
from retain.hf.tuners.feature_config import FeatureConfig
from retain.records.reading import read_json_mapping

CARD = "README.md"

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")

_ADAPTER = """\
# {title} adapter

An adapter for {base}, trained with retain {version}. The base's weights are unchanged, and are not in this folder.

```python
{needed}from peft import PeftModel
from transformers import {auto}

base = {auto}.from_pretrained("{source}")
model = PeftModel.from_pretrained(base, "THIS_FOLDER_OR_REPOSITORY")
```
"""

_INITIALISED = f"""
Its initialisation was computed from its base, mostly with texts; `{NOTE}` records how. It loads as an ordinary LoRA; to
train it further, load it with `retain.load_adapter(base, folder, trainable=True)`.
"""

_LOCAL_BASE = """
The base was loaded from a folder, and `adapter_config.json` names that folder. Before you publish the adapter, write
the base's hub id there, and as `base_model` into the front matter above.
"""

_WHOLE = """\
# {title}

Fine-tuned from {base} with retain {version}.

```python
from transformers import {auto}

model = {auto}.from_pretrained("THIS_FOLDER_OR_REPOSITORY")
```
"""


def save_weights(
    model: Any, folder: str | Path, *, adapter_name: str | None = None, state: dict[str, Tensor] | None = None
) -> None:
    """Write an adapter, or a model without adapters in full, with its card; the folder may hold other files.

    Args:
        model: a `PeftModel`, or a transformers model.
        folder: where to write.
        adapter_name: the adapter; None for all that the model has.
        state: its weights, where those in memory are in pieces (FSDP, DeepSpeed).
    """
    more: dict[str, Any] = {} if state is None else {"state_dict": state}
    place = Path(folder)
    if not isinstance(model, PeftModel):
        with _ties_as_they_are(model):
            model.save_pretrained(place, **more)
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
    base = hub_id(_source(model, config))
    text = _whole_text(model, base) if config is None else _adapter_text(model, config, base, initialised=initialised)
    (folder / CARD).write_text(f"---\n{_front_matter(model, config, base)}\n---\n\n{text}", encoding="utf-8")


def hub_id(name: str | None) -> str | None:
    """A model's name where it can only be a hub id: of a repository's form, and no path that exists here.

    Args:
        name: the `_name_or_path` of a configuration, or an adapter's `base_model_name_or_path`.

    Returns:
        The name, or None for a local path and for nothing.
    """
    if not name or not _REPOSITORY.fullmatch(name) or ".." in name or "--" in name or name.endswith((".git", "-", ".")):
        return None
    return None if Path(name).exists() else name


def _source(model: nn.Module, config: PeftConfig | None) -> str | None:
    own = None if config is None else config.base_model_name_or_path
    found: str | None = own or getattr(getattr(root_of(model), "config", None), "_name_or_path", None)
    return found


def _front_matter(model: nn.Module, config: PeftConfig | None, base: str | None) -> str:
    tags = ["retain", *([] if config is None else [_kind(config)])]
    if config is not None and base is not None:
        tags.append(f"base_model:adapter:{base}")
    card = ModelCardData(
        base_model=base,
        library_name="transformers" if config is None else "peft",
        pipeline_tag="text-generation" if _auto_class(model) == "AutoModelForCausalLM" else None,
        tags=tags,
    )
    return str(card.to_yaml())


def _adapter_text(model: nn.Module, config: PeftConfig, base: str | None, *, initialised: bool) -> str:
    kind = _kind(config)
    text = _ADAPTER.format(
        title=kind.upper(),
        base=f"`{base}`" if base else "the base model that it was trained on",
        version=version("retain"),
        needed=f"import retain  # makes {kind} known to PEFT\n" if isinstance(config, FeatureConfig) else "",
        auto=_auto_class(model),
        source=base or "BASE_MODEL",
    )
    if initialised:
        text += _INITIALISED
    if base is None and config.base_model_name_or_path:
        text += _LOCAL_BASE
    return text


def _whole_text(model: nn.Module, base: str | None) -> str:
    return _WHOLE.format(
        title=type(root_of(model)).__name__,
        base=f"`{base}`" if base else "a base model that lay in a folder",
        version=version("retain"),
        auto=_auto_class(model),
    )


def _kind(config: PeftConfig) -> str:
    """The adapter's method by its PEFT type, in lower case."""
    return str(getattr(config.peft_type, "value", config.peft_type)).lower()


def _auto_class(model: nn.Module) -> str:
    """The auto class of transformers that loads a model's kind."""
    root = root_of(model)
    name = type(root).__name__
    if is_classifier(root):
        return (
            "AutoModelForImageClassification" if "ImageClassification" in name else "AutoModelForSequenceClassification"
        )
    if getattr(root, "can_generate", lambda: False)():
        encoder_decoder = getattr(getattr(root, "config", None), "is_encoder_decoder", False)
        return "AutoModelForSeq2SeqLM" if encoder_decoder else "AutoModelForCausalLM"
    return "AutoModel"
