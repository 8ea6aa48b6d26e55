"""The configuration of a UniFA adapter."""

from dataclasses import dataclass
from typing import ClassVar

from retain.hf.tuners.feature_config import FeatureConfig


@dataclass
class UniFAConfig(FeatureConfig):
    """Configuration of UniFA; all its fields are those of `FeatureConfig`."""

    method: ClassVar[str] = "unifa"
