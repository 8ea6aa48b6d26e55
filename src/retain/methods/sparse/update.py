"""A sparse update of a model: score the entries of its layers, choose, attach."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from retain.activations import distributed as together
from retain.errors import InputError
from retain.hf.adapters.attach import task_type
from retain.hf.adapters.sparse import attach_sparse, check_layers, count_of
from retain.hf.models.given import ensure, ensure_model
from retain.hf.models.head import is_classifier
from retain.hf.models.sides import is_adapted, root_of
from retain.hf.tuners.targets import lora_targets
from retain.methods.sparse.config import SparseConfig
from retain.methods.sparse.gradients import Batch, batches_of, mean_gradient, mean_square_gradient, own_weights
from retain.methods.sparse.scores import largest, scored

Tick = Callable[[], object]


def sparse_update(
    base: nn.Module,
    config: SparseConfig,
    *,
    learn: Iterable[Batch] | None = None,
    keep: Iterable[Batch] | None = None,
    adapter_name: str = "default",
    on_batch: Tick = lambda: None,
) -> Any:
    """Attach an adapter that trains a chosen share of each matrix's entries; all others stay the base's, bit for bit.

    The base is not changed, and before training the model is the base, bit for bit. `save_pretrained` writes a
    Supertuning adapter that stock PEFT loads.

    Args:
        base: the model, without adapters.
        config: density, score and layers.
        learn: batches of what is to be learned, where the score reads any: model inputs with `labels`; without labels,
            all tokens of a text are learned. The first `config.batches` are read.
        keep: batches of what must stay, where the score reads any; labels are not used.
        adapter_name: the adapter's name.
        on_batch: called after each batch to learn and each sequence to keep.

    Returns:
        The model with the adapter, ready to train.

    Raises:
        InputError: data that the score reads are missing, or the base has adapters.
        TargetError: no layer matches, or one cannot be adapted.

    Examples:
        >>> batches = retain.text_batches(tokenizer, texts, length=16)
        >>> adapted = retain.sparse_update(base, retain.SparseConfig(density=0.05), learn=batches)
        >>> adapted.save_pretrained("sparse")  # a Supertuning adapter that stock PEFT loads
    """
    base = ensure_model(base, "base")
    ensure(config, SparseConfig, "config", "give a SparseConfig, and batches as learn= and keep=")
    given = {"learn": learn, "keep": keep}
    if missing := [text for text in config.reads if given[text] is None]:
        raise InputError(f"score={config.score!r} needs batches of what to {' and what to '.join(missing)}.")
    if is_adapted(base):
        raise InputError("the model has adapters already, and a sparse update stands alone; give the base.")
    layers = check_sparse_targets(base, config)
    chosen = select(base, config, layers, given, on_batch)
    own_type = None if is_classifier(base) else task_type(root_of(base))
    fields = {"modules_to_save": config.modules_to_save, "task_type": config.task_type or own_type}
    told = {"score": config.score, "density": config.density}
    told |= {"batches": config.batches} if config.reads else {}
    kept = {name: value for name, value in fields.items() if value is not None}
    return attach_sparse(base, kept, config.density, chosen, told, adapter_name)


def check_sparse_targets(model: nn.Module, config: SparseConfig) -> dict[str, Any]:
    """The layers that a sparse update would change, by name; nothing is changed.

    Raises:
        TargetError: none matches, or one cannot be adapted.
    """
    layers = lora_targets(model, config.targets)
    check_layers(layers, model, config.density)
    return dict(layers)


def select(
    base: nn.Module,
    config: SparseConfig,
    layers: Mapping[str, Any],
    data: Mapping[str, Iterable[Batch] | None],
    tick: Tick = lambda: None,
) -> dict[str, Tensor]:
    """The flat places of the entries to train, by layer: of each matrix those with the largest scores.

    Args:
        base: the model; it comes back as it was.
        config: the score, the density, the seed.
        layers: whose entries.
        data: batches to learn and to keep, where the score reads them.
        tick: called as the data are read.
    """
    gradients = squares = None
    with own_weights(base, layers) as weights:
        if "learn" in config.reads:
            learn = list(islice(batches_of(data["learn"], "learn"), config.batches))
            gradients = mean_gradient(base, weights, learn, tick)
        if "keep" in config.reads:
            squares = mean_square_gradient(base, weights, list(batches_of(data["keep"], "keep")), tick, config.seed)
    chosen = {}
    with torch.no_grad():
        for key, layer in layers.items():
            G = None if gradients is None else gradients.pop(key)
            F = None if squares is None else squares.pop(key)
            score = scored(config.score, layer.weight.detach(), G, F, seed=config.seed, layer=key)
            chosen[key] = together.of_first(largest(score, count_of(layer.weight.numel(), config.density)))
    return chosen
