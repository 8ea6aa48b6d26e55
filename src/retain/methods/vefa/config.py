"""The configuration of a VeFA adapter: the layers that it changes, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from retain.hf.tuners.feature_config import FeatureConfig


@dataclass
class VeFAConfig(FeatureConfig):
    """Configuration of VeFA; all its fields are those of `FeatureConfig`.

    Examples:
        >>> vefa = get_peft_model(base, retain.VeFAConfig(target_modules="all-linear"))
        >>> vefa.active_adapter
        'default'
    """

    method: ClassVar[str] = "vefa"
