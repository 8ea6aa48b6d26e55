"""VeFA in a model: carries tensors to `equations` and back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from retain.hf.tuners.feature_layer import FeatureLayer
from retain.hf.tuners.feature_tuner import FeatureTuner
from retain.hf.tuners.forward import FrozenMatrix
from retain.kernels.feature_scale import scale_features, scaled_linear
from retain.methods.vefa import equations
from retain.methods.vefa.config import VeFAConfig


class FeatureScale(nn.Module):
    """λ (n,), zero before training. A module, so that sharding and offloading can gather it when it is called."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(in_features))

    def forward(self, x: Tensor) -> Tensor:
        """T(x), (..., n) to (..., n)."""
        return equations.shift(x, self.weight)


class VeFALinear(FeatureLayer):
    """A linear layer with VeFA adapters: y = W0((1 + λ) ⊙ x) + b."""

    adapter_layer_names = ("vefa_lambda",)
    module_names: ClassVar = adapter_layer_names
    part_types: ClassVar = (FeatureScale,)

    def parts(self, config: Any, key: str) -> dict[str, nn.Module]:  # noqa: ARG002 -- nothing depends on them
        """One λ."""
        return {"vefa_lambda": FeatureScale(self.in_features)}

    def shift(self, name: str, x: Tensor) -> Tensor:
        """λ ⊙ x."""
        shifted: Tensor = self.vefa_lambda[name](x)
        return shifted

    def fused(self, names: Sequence[str], x: Tensor, base: FrozenMatrix) -> Tensor:
        """W0((1 + Σᵢ sᵢ λᵢ) ⊙ x) + b."""
        lam = reduce(torch.add, map(self._scaled, names))
        stochastic = all(self.preserve_small_shifts[name] for name in names)
        return scaled_linear(x, base.weight, base.bias, lam, stochastic=stochastic)

    def shifted_rows(self, names: Sequence[str], rows: Tensor, x: Tensor, *, stochastic: bool) -> Tensor:
        """Each row scaled by its adapter's 1 + λ."""
        scales = [self._scaled(name) for name in names]
        table = torch.stack([*scales, torch.zeros_like(scales[0])])
        return scale_features(x, table.index_select(0, rows).unsqueeze(1), stochastic=stochastic)

    def _scaled(self, name: str) -> Tensor:
        lam: Tensor = self.vefa_lambda[name].weight
        return lam if self.scaling[name] == 1.0 else self.scaling[name] * lam

    def change(self, name: str, weight: Tensor) -> Tensor:
        """W0·diag(λ)."""
        return equations.weight_change(weight, self.vefa_lambda[name].weight)

    def combine(self, name: str, adapters: dict[str, float]) -> None:
        """λ = Σᵢ wᵢ λᵢ: exact."""
        total = sum(w * self.scaling[a] * self.vefa_lambda[a].weight.data for a, w in adapters.items())
        self.vefa_lambda[name].weight.data.copy_(total)


class VeFAModel(FeatureTuner):
    """The tuner that PEFT makes for a `VeFAConfig`.

    Examples:
        >>> vefa = get_peft_model(base, retain.VeFAConfig(target_modules="all-linear"))
        >>> isinstance(vefa.base_model, retain.VeFAModel)
        True
    """

    config_class = VeFAConfig
    prefix = "vefa_"
    tuner_layer_cls = VeFALinear
    combination = "linear"
