"""The equivalent amount of a feature-space adapter, by layer and by input feature.

VeFA and LoRFA give a frozen layer the input x + T(x) (docs/concepts/vefa.md). T(x) is the amount that stands for what
changed; its size beside x, read on real inputs, says where the adapter found the change. Source: the total equivalent
amount of arXiv 2510.19155; reading it layer by layer is ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from retain.evaluate.drift.weights import plain_name
from retain.hf.models.inference import evaluating
from retain.hf.tuners.feature_layer import FeatureLayer
from retain.records.drift_record import FeatureScaleLayer

FEATURES_NAMED = 5


def feature_scale_layers(root: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[FeatureScaleLayer, ...]:
    """The amount of each layer with a feature-space adapter, in the model's order.

    With T the sum of the active adapters' scaled shifts: `amount` is the mean of ‖T(x)‖/‖x‖ over the inputs x ≠ 0;
    `share` is that over the sum of all layers; a feature's part is mean |Tⱼ(x)| over the sum of all features (for VeFA
    mean |Tⱼ(x)| = |λⱼ|·mean |xⱼ|, the amount times the feature's own scale).

    Args:
        root: the tuned model, whose names of layers are those of `inputs`.
        inputs: layer inputs (vectors, n) in the base, by layer; a layer that is missing is left out.

    Returns:
        Empty where there is no such adapter.
    """
    read: dict[str, tuple[float, tuple[tuple[int, float], ...]]] = {}
    with evaluating(root):
        for name, module in root.named_modules():
            if isinstance(module, FeatureLayer) and name in inputs:
                x = inputs[name].float()
                shift = _shift(module, x)
                read[name] = _amount(shift, x), _features(shift)
    total = sum(amount for amount, _ in read.values())
    return tuple(
        FeatureScaleLayer(
            name=plain_name(name), amount=amount, share=amount / total if total else 0.0, features=features
        )
        for name, (amount, features) in read.items()
    )


def _shift(layer: FeatureLayer, x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for name in layer.active_adapters:
        if name in layer.scaling:
            total = total + layer.scaling[name] * layer.shift(name, x)
    return total


def _amount(shift: Tensor, x: Tensor) -> float:
    lengths = x.norm(dim=1)
    present = lengths > 0
    return float((shift.norm(dim=1)[present] / lengths[present]).double().mean()) if present.any() else 0.0


def _features(shift: Tensor) -> tuple[tuple[int, float], ...]:
    sizes = shift.double().abs().sum(dim=0)
    total = float(sizes.sum())
    if not total:
        return ()
    values, places = sizes.topk(min(FEATURES_NAMED, len(sizes)))
    return tuple((index, value / total) for index, value in zip(places.tolist(), values.tolist(), strict=True))
