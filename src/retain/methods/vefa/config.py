"""What a VeFA adapter is made of: the layers it changes, and nothing else to set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from retain.hf.tuners.feature_config import FeatureConfig


@dataclass
class VeFAConfig(FeatureConfig):
    """Configuration of VeFA; all its fields are those of `FeatureConfig`."""

    method: ClassVar[str] = "vefa"
