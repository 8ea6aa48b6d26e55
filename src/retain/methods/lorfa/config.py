"""The configuration of a LoRFA adapter: the layers that it changes, its rank, scale and dropout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from retain.errors import is_number
from retain.hf.tuners.feature_config import FeatureConfig, for_layer


@dataclass
class LoRFAConfig(FeatureConfig):
    """Configuration of LoRFA; the fields that are not here are those of `FeatureConfig`.

    Examples:
        >>> lorfa = get_peft_model(base, retain.LoRFAConfig(r=4, target_modules=["q_proj", "v_proj"]))
        >>> lorfa.peft_config["default"].r
        4
    """

    method: ClassVar[str] = "lorfa"

    r: int = field(default=8, metadata={"help": "Rank: the number of directions across the input features."})
    lorfa_alpha: float = field(default=8, metadata={"help": "The shift is scaled by lorfa_alpha / r."})
    lorfa_dropout: float = field(default=0.0, metadata={"help": "Dropout on the input of A, in [0, 1)."})
    rank_pattern: dict[str, int] = field(
        default_factory=dict, metadata={"help": "Other ranks for some layers: the end of a name, or a regex, to rank."}
    )
    alpha_pattern: dict[str, float] = field(
        default_factory=dict,
        metadata={"help": "Other alphas for some layers: the end of a name, or a regex, to alpha."},
    )

    def problems(self) -> list[str]:
        """The problems of ranks that are not positive, alphas that are no numbers, and a dropout outside [0, 1)."""
        ranks = {"r": self.r} | {f"rank_pattern[{key!r}]": rank for key, rank in (self.rank_pattern or {}).items()}
        problems = [
            f"{name}={rank!r}: a rank is a whole number ≥ 1." for name, rank in ranks.items() if not _is_rank(rank)
        ]
        alphas = {f"alpha_pattern[{key!r}]": alpha for key, alpha in (self.alpha_pattern or {}).items()}
        problems += [
            f"{name}={alpha!r}: an alpha is a finite number."
            for name, alpha in {"lorfa_alpha": self.lorfa_alpha, **alphas}.items()
            if not is_number(alpha)
        ]
        if not (is_number(self.lorfa_dropout) and 0 <= self.lorfa_dropout < 1):
            problems.append(f"lorfa_dropout={self.lorfa_dropout!r}: a dropout lies in [0, 1).")
        return problems

    def rank(self, key: str) -> int:
        """The rank for the layer named `key`."""
        return for_layer(self.rank_pattern, key, self.r)

    def alpha(self, key: str) -> float:
        """The alpha for the layer named `key`."""
        return for_layer(self.alpha_pattern, key, self.lorfa_alpha)


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
