"""Rotations in a model: carries tensors to `equations` and back.

An adapter is T(x) = Σⱼ strengthⱼ (xRⱼ − x). It is trained as one rotation of strength 1. Other strengths come from
scaling an update, more rotations from combining adapters; either is exact, and neither is a rotation any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from retain.hf.tuners.feature_layer import FeatureLayer
from retain.hf.tuners.feature_tuner import FeatureTuner
from retain.hf.tuners.forward import FrozenMatrix
from retain.kernels.shifted_input import shifted_linear
from retain.methods.rotation import equations
from retain.methods.rotation.config import RotationConfig


class SkewMatrices(nn.Module):
    """The upper triangles of every K, (numbers, rotations), zero before training: one column a rotation.

    A module, so that sharding and offloading can gather it when it is called.
    """

    def __init__(self, form: str, sizes: Sequence[int], rotations: int) -> None:
        super().__init__()
        self.form = form
        self.sizes = tuple(sizes)
        self.weight = nn.Parameter(torch.zeros(equations.numbers_of(sizes), rotations))

    def forward(self, x: Tensor, strengths: Tensor) -> Tensor:
        """T(x) = Σⱼ strengthⱼ (xRⱼ − x), (..., n) to (..., n), in at least the precision of the weight."""
        wide = x.to(torch.promote_types(x.dtype, self.weight.dtype))
        return self.shifted(wide, [D.to(wide.dtype) for D in self.matrices(self.weight)], strengths)

    def change(self, W0: Tensor, strengths: Tensor) -> Tensor:
        """W0·T = Σⱼ strengthⱼ (W0 Rⱼᵀ − W0): the rows of W0 turned by the inverse; (m, n), in the dtype of W0."""
        return self.shifted(W0, [D.to(W0.dtype).mT for D in self.matrices(self.weight)], strengths)

    def matrices(self, weight: Tensor) -> list[Tensor]:
        """Every D = Q − I, one rotation after the other: all blocks of one (k, b, b), or its factors (nᵢ, nᵢ)."""
        columns = weight.unbind(1)
        if self.form == "block":
            return [equations.cayley(equations.skew(values, self.sizes[0])) for values in columns]
        lengths = [equations.numbers_of([size]) for size in self.sizes]
        return [
            equations.cayley(equations.skew(part, size)[0])
            for values in columns
            for part, size in zip(torch.split(values, lengths), self.sizes, strict=True)
        ]

    def shifted(self, rows: Tensor, matrices: Sequence[Tensor], strengths: Tensor) -> Tensor:
        """T of rows by the matrices of all rotations, in the dtype that these share with the rows."""
        each = len(matrices) // len(strengths)
        parts = (matrices[start : start + each] for start in range(0, len(matrices), each))
        shifts = (
            equations.block_shift(rows, D[0]) if self.form == "block" else equations.kronecker_shift(rows, D)
            for D in parts
        )
        return reduce(torch.add, map(torch.mul, shifts, strengths.to(rows.dtype).unbind(0)))


class Strengths(nn.Module):
    """One number a rotation, 1 before it is scaled: saved with the adapter, never trained."""

    weight: Tensor

    def __init__(self, rotations: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(rotations))

    def forward(self) -> Tensor:
        """The numbers, (rotations,)."""
        return self.weight


class RotationLinear(FeatureLayer):
    """A linear layer with rotations of its input: y = W0(xR) + b."""

    adapter_layer_names = ("rotation_K", "rotation_strength")
    module_names: ClassVar = adapter_layer_names
    part_types: ClassVar = (SkewMatrices, Strengths)
    shrunk_by: ClassVar = ("rotation_K",)  # by a smaller angle, which leaves a rotation

    @classmethod
    def problems(cls, config: Any, key: str, in_features: int) -> list[str]:
        """A width of which no rotation of the form can be made."""
        return [f"{key}: {problem}" for problem in config.width_problems(in_features)]

    def parts(self, config: Any, key: str) -> dict[str, nn.Module]:  # noqa: ARG002 -- no field differs by layer
        """K = 0, so that R = I, at strength 1."""
        matrices = SkewMatrices(config.form, config.sizes(self.in_features), config.rotations)
        return {"rotation_K": matrices, "rotation_strength": Strengths(config.rotations)}

    def shift(self, name: str, x: Tensor) -> Tensor:
        """The shift xR − x."""
        shifted: Tensor = self.rotation_K[name](x, self.rotation_strength[name]())
        return shifted

    def fused(self, names: Sequence[str], x: Tensor, base: FrozenMatrix) -> Tensor:
        """W0(x + Σᵢ Tᵢ(x)) + b with one product, also in 16 bits, where the input is rounded stochastically."""
        modules = [self.rotation_K[name] for name in names]
        strengths = [self.rotation_strength[name]() for name in names]

        def shift(rows: Tensor, weights: Sequence[Tensor]) -> Tensor:
            given = zip(modules, weights, strengths, strict=True)
            parts = (one.shifted(rows, one.matrices(K), strength) for one, K, strength in given)
            total: Tensor = reduce(torch.add, parts)
            return total

        stochastic = all(self.preserve_small_shifts[name] for name in names)
        weights = [module.weight for module in modules]
        return shifted_linear(x, base.weight, base.bias, weights, shift, stochastic=stochastic)

    def change(self, name: str, weight: Tensor) -> Tensor:
        """W0 Rᵀ − W0."""
        changed: Tensor = self.rotation_K[name].change(weight, self.rotation_strength[name]())
        return changed

    def combine(self, name: str, adapters: dict[str, float]) -> None:
        """All rotations side by side with strengths wᵢ·strengthᵢ, exact; columns that are left over have strength 0."""
        K, strengths = (getattr(self, kind)[name].weight.data.zero_() for kind in self.module_names)
        taken = 0
        for adapter, weight in adapters.items():
            mine = self.rotation_strength[adapter].weight
            into = slice(taken, taken := taken + len(mine))
            K[:, into] = self.rotation_K[adapter].weight.data
            strengths[into] = weight * self.scaling[adapter] * mine


class RotationModel(FeatureTuner):
    """The tuner that PEFT makes for a `RotationConfig`.

    Examples:
        >>> turned = get_peft_model(base, retain.RotationConfig(target_modules="all-linear"))
        >>> isinstance(turned.base_model, retain.RotationModel)
        True
    """

    config_class = RotationConfig
    prefix = "rotation_"
    tuner_layer_cls = RotationLinear
    combination = "cat"
    refused_combinations: ClassVar = {"linear": "the rotation of Σ wK is not Σ w·(R − I)"}

    def combined_fields(self, layers: dict[str, FeatureLayer], adapters: list[str]) -> dict[str, Any]:  # noqa: ARG002 -- alike in all layers
        """As many rotations as all have together."""
        return {"rotations": sum(self.peft_config[name].rotations for name in adapters)}

    def _combination_problems(
        self, adapters: Sequence[str], weights: Sequence[float], adapter_name: str, kind: str | None
    ) -> list[str]:
        problems = super()._combination_problems(adapters, weights, adapter_name, kind)
        forms = {
            (c.form, c.block_size if c.form == "block" else c.kronecker_factors)
            for c in (self.peft_config[name] for name in adapters if name in self.peft_config)
        }
        if len(forms) > 1:
            told = " and ".join(sorted(f"{form} {size}" for form, size in forms))
            problems.append(f"The adapters' rotations have different forms ({told}); merge them one by one instead.")
        return problems
