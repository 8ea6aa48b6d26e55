from retain.errors import InputError, MergeError, RetainError, TargetError, TrainingError
from retain.export.lora import Exported, export_lora
from retain.hf.adapters.accelerate import accelerate, decelerate
from retain.hf.adapters.load import load_adapter
from retain.hf.adapters.swap import swap_adapter
from retain.jobs.measure import measure
from retain.jobs.scale import scale
from retain.jobs.self_generated import self_generated
from retain.methods.initialisations.adapter import CalibrationWarning, sc_lora
from retain.methods.initialisations.config import SCLoRAConfig
from retain.methods.lorfa.config import LoRFAConfig
from retain.methods.lorfa.layer import LoRFAModel
from retain.methods.vefa.config import VeFAConfig
from retain.methods.vefa.layer import VeFAModel
from retain.recipe import Budget
from retain.records.result import Result, read_result
from retain.train.regularise.kl_monitor import KLMonitor, RetentionWarning
from retain.train.regularise.kl_penalty import KLPenalty, text_batches
from retain.train.regularise.replay import mix_replay
from retain.train.regularise.update_limit import UpdateLimit

__all__ = ["Budget", "CalibrationWarning", "Exported", "InputError", "KLPenalty", "LoRFAConfig", "LoRFAModel"]
__all__ += ["MergeError", "Result", "RetainError", "RetentionWarning", "SCLoRAConfig", "TargetError", "TrainingError"]
__all__ += ["UpdateLimit", "accelerate", "decelerate"]
__all__ += [
    "KLMonitor",
    "VeFAConfig",
    "VeFAModel",
    "__version__",
    "export_lora",
    "load_adapter",
    "measure",
    "mix_replay",
    "scale",
]
__all__ += ["read_result", "sc_lora", "self_generated", "swap_adapter", "text_batches"]

__version__: str
