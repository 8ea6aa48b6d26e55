"""The methods that retain ships as PEFT tuners. A new one is a folder beside these and a row here."""

from __future__ import annotations

from dataclasses import dataclass

from retain.hf.tuners.feature_config import FeatureConfig
from retain.hf.tuners.feature_layer import FeatureLayer
from retain.hf.tuners.feature_tuner import FeatureTuner
from retain.hf.tuners.registration import register
from retain.methods.lorfa.config import LoRFAConfig
from retain.methods.lorfa.layer import LoRFALinear, LoRFAModel
from retain.methods.vefa.config import VeFAConfig
from retain.methods.vefa.layer import VeFALinear, VeFAModel


@dataclass(frozen=True)
class Method:
    """One row: a method's name in PEFT (in lower case), its classes, and what it does in one line."""

    name: str
    config: type[FeatureConfig]
    tuner: type[FeatureTuner]
    layer: type[FeatureLayer]
    summary: str


METHODS = (
    Method("vefa", VeFAConfig, VeFAModel, VeFALinear, "scales each input feature: W0((1 + λ) ⊙ x)"),
    Method("lorfa", LoRFAConfig, LoRFAModel, LoRFALinear, "shifts the input within a low rank: W0(x + s·BAx)"),
)


def register_all() -> None:
    """Make every method known to PEFT; doing it twice is harmless."""
    for method in METHODS:
        register(method.name, method.config, method.tuner)
