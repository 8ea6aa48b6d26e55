"""UniFA in a model."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from retain.hf.tuners.feature_layer import FeatureLayer
from retain.hf.tuners.feature_tuner import FeatureTuner
from unifa import equations
from unifa.config import UniFAConfig


class UniformScale(nn.Module):
    """λ (1,), zero before training."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """T(x)."""
        return equations.shift(x, self.weight)


class UniFALinear(FeatureLayer):
    """A linear layer with UniFA adapters."""

    adapter_layer_names = ("unifa_lambda",)
    module_names: ClassVar = adapter_layer_names

    def parts(self, config: Any, key: str) -> dict[str, nn.Module]:
        """One λ."""
        return {"unifa_lambda": UniformScale()}

    def shift(self, name: str, x: Tensor) -> Tensor:
        """λ x."""
        shifted: Tensor = self.unifa_lambda[name](x)
        return shifted

    def change(self, name: str, weight: Tensor) -> Tensor:
        """λ W0."""
        return equations.weight_change(weight, self.unifa_lambda[name].weight)

    def combine(self, name: str, adapters: dict[str, float]) -> None:
        """λ = Σᵢ wᵢ λᵢ."""
        total = sum(w * self.scaling[a] * self.unifa_lambda[a].weight.data for a, w in adapters.items())
        self.unifa_lambda[name].weight.data.copy_(total)


class UniFAModel(FeatureTuner):
    """The tuner that PEFT makes for a `UniFAConfig`."""

    config_class = UniFAConfig
    prefix = "unifa_"
    tuner_layer_cls = UniFALinear
    combination = "linear"
