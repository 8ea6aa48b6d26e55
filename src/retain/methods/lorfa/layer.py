"""LoRFA in a model: carries tensors to `equations` and back."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from retain.hf.tuners.base_weight import at_least_float32
from retain.hf.tuners.feature_layer import FeatureLayer
from retain.hf.tuners.feature_tuner import FeatureTuner
from retain.hf.tuners.forward import FrozenMatrix
from retain.kernels.low_rank import low_rank_inside
from retain.kernels.stochastic_rounding import CUT_BITS, sum_stochastically
from retain.methods.lorfa import equations
from retain.methods.lorfa.config import LoRFAConfig


class LoRFALinear(FeatureLayer):
    """A linear layer with LoRFA adapters: y = W0(x + s·B A x) + b."""

    adapter_layer_names = ("lorfa_A", "lorfa_B")
    other_param_names = (*FeatureLayer.other_param_names, "lorfa_dropout")
    module_names: ClassVar = (*adapter_layer_names, "lorfa_dropout")

    @classmethod
    def problems(cls, config: Any, key: str, in_features: int) -> list[str]:
        """A rank above n: B A (n, n) cannot have it."""
        if (rank := config.rank(key)) <= in_features:
            return []
        return [f"{key}: rank {rank} is larger than the layer's {in_features} inputs; lower r, or use rank_pattern."]

    def parts(self, config: Any, key: str) -> dict[str, nn.Module]:
        """A as LoRA draws it, B = 0, so that B A = 0."""
        rank, dropout = config.rank(key), config.lorfa_dropout
        A = nn.Linear(self.in_features, rank, bias=False)
        B = nn.Linear(rank, self.in_features, bias=False)
        nn.init.kaiming_uniform_(A.weight, a=math.sqrt(5))
        nn.init.zeros_(B.weight)
        return {"lorfa_A": A, "lorfa_B": B, "lorfa_dropout": nn.Dropout(dropout) if dropout > 0 else nn.Identity()}

    def scale(self, config: Any, key: str) -> float:
        """The scale s = α/r."""
        return float(config.alpha(key)) / int(config.rank(key))

    def shift(self, name: str, x: Tensor) -> Tensor:
        """B A x, as `equations.shift`, but through the modules, so that one that is sharded can gather itself."""
        shifted: Tensor = self.lorfa_B[name](self._code(name, x))
        return shifted

    def projected(self, name: str, x: Tensor, weight: Tensor) -> Tensor:
        """(W0 B)(A x). B is read by calling its module, for the reason that `shift` gives."""
        code = self._code(name, x)
        B_rows = self.lorfa_B[name](torch.eye(self.lorfa_B[name].in_features, dtype=code.dtype, device=x.device))
        return equations.projected_shift(code, B_rows, weight)

    def fused(self, names: Sequence[str], x: Tensor, base: FrozenMatrix) -> Tensor | None:
        """W0 x + b + Σᵢ sᵢ (W0 Bᵢ)(Aᵢ x): a LoRA with W0 B for its second factor; several adapters as one."""
        if x.dtype == torch.float16 or any(map(self._drops, names)):  # small gradients would vanish in float16
            return None
        if len(names) == 1:
            A, B = self.lorfa_A[names[0]].weight, self.lorfa_B[names[0]].weight
            return low_rank_inside(x, base.weight, base.bias, A, B, self.scaling[names[0]])
        A = torch.cat([self.lorfa_A[name].weight for name in names])
        return low_rank_inside(x, base.weight, base.bias, A, torch.cat([self._second(name) for name in names], dim=1))

    def shifted_rows(self, names: Sequence[str], rows: Tensor, x: Tensor, *, stochastic: bool) -> Tensor | None:
        """The input x + s·B A x with each row's A and B, as two products of batches; of one rank, not in float16."""
        alike = len({self.lorfa_A[name].out_features for name in names}) == 1
        if not alike or x.dtype == torch.float16 or any(map(self._drops, names)):
            return None
        nothing = torch.zeros_like(self.lorfa_A[names[0]].weight)
        A = torch.stack([*(self.lorfa_A[name].weight for name in names), nothing]).to(x.dtype).index_select(0, rows)
        B = torch.stack([*(self._second(name) for name in names), nothing.T]).to(x.dtype).index_select(0, rows)
        code = torch.bmm(x, A.transpose(1, 2))
        if stochastic and x.dtype in CUT_BITS:
            return sum_stochastically(x, torch.bmm(code, B.transpose(1, 2)))
        return torch.baddbmm(x, code, B.transpose(1, 2))

    def _second(self, name: str) -> Tensor:
        B: Tensor = self.lorfa_B[name].weight
        return B if self.scaling[name] == 1.0 else self.scaling[name] * B

    def _drops(self, name: str) -> bool:
        dropout = self.lorfa_dropout[name]
        return isinstance(dropout, nn.Dropout) and dropout.training and dropout.p > 0

    def change(self, name: str, weight: Tensor) -> Tensor:
        """(W0 B) A."""
        return equations.weight_change(weight, self.lorfa_A[name].weight, self.lorfa_B[name].weight)

    def low_rank_change(self, name: str, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(W0 B) and A."""
        A, B = (at_least_float32(part[name].weight) for part in (self.lorfa_A, self.lorfa_B))
        return weight @ B.to(weight), A

    def combine(self, name: str, adapters: dict[str, float]) -> None:
        """A = [wᵢsᵢAᵢ], B = [Bᵢ], stacked along the rank: B A = Σᵢ wᵢsᵢ BᵢAᵢ exactly, at scale 1.

        Where the ranks add up to more than n, A = I and B = Σᵢ wᵢsᵢ BᵢAᵢ (n, n), rounded once: the same sum at rank n.
        """
        scaled = [w * self.scaling[a] * self.lorfa_A[a].weight.data for a, w in adapters.items()]
        second = [self.lorfa_B[a].weight.data for a in adapters]
        A, B = torch.cat(scaled), torch.cat(second, dim=1)
        if len(A) > self.in_features:
            B = (B.double() @ A.double()).to(B.dtype)
            A = torch.eye(self.in_features, dtype=A.dtype, device=A.device)
        self.lorfa_A[name].weight.data.copy_(A)
        self.lorfa_B[name].weight.data.copy_(B)

    def supports_lora_conversion(self, adapter_name: str = "default") -> bool:  # noqa: ARG002 -- PEFT's signature
        """W0 B A has the rank of B A, so PEFT's conversion to LoRA is exact at that rank."""
        return True

    def _code(self, name: str, x: Tensor) -> Tensor:
        A = self.lorfa_A[name]
        code: Tensor = A(self.lorfa_dropout[name](self._cast_input_dtype(x, A.weight.dtype)))
        return code


class LoRFAModel(FeatureTuner):
    """The tuner that PEFT makes for a `LoRFAConfig`.

    Examples:
        >>> lorfa = get_peft_model(base, retain.LoRFAConfig(r=4, target_modules="all-linear"))
        >>> isinstance(lorfa.base_model, retain.LoRFAModel)
        True
    """

    config_class = LoRFAConfig
    prefix = "lorfa_"
    tuner_layer_cls = LoRFALinear
    combination = "cat"
    refused_combinations: ClassVar = {
        "linear": "(Σ wB)(Σ wA) is not Σ w·BA: it holds the products of each adapter's B with every other's A"
    }

    def combined_fields(self, layers: dict[str, FeatureLayer], adapters: list[str]) -> dict[str, Any]:
        """In each layer the sum of the ranks found there, its inputs at most, and scale 1."""
        ranks = {
            key: min(layer.in_features, sum(layer.lorfa_A[a].out_features for a in adapters if a in layer.scaling))
            for key, layer in layers.items()
        }
        r = max(ranks.values())
        others = {re.escape(key): rank for key, rank in ranks.items() if rank != r}
        return {"r": r, "lorfa_alpha": r, "rank_pattern": others, "alpha_pattern": dict(others)}
