from retain.control.anchor import Anchor, text_batches
from retain.control.limit_size import UpdateLimit
from retain.control.replay import mix
from retain.control.watch import RetentionWarning, Watch
from retain.errors import InputError, MergeError, RetainError, TargetError, TrainingError
from retain.export.to_lora import Exported, export_lora
from retain.hf.accelerate import accelerate, decelerate
from retain.hf.load import load_adapter
from retain.hf.swap import swap_adapter
from retain.methods.lorfa.config import LoRFAConfig
from retain.methods.lorfa.layer import LoRFAModel
from retain.methods.sc_lora.attach import CalibrationWarning, sc_lora
from retain.methods.sc_lora.config import ScLoraConfig
from retain.methods.vefa.config import VeFAConfig
from retain.methods.vefa.layer import VeFAModel
from retain.recipe import Budget
from retain.results import Result, read_result
from retain.workflow.dial import dial
from retain.workflow.measure import measure
from retain.workflow.self_written import self_written

__all__ = ["Anchor", "Budget", "CalibrationWarning", "Exported", "InputError", "LoRFAConfig", "LoRFAModel"]
__all__ += ["MergeError", "Result", "RetainError", "RetentionWarning", "ScLoraConfig", "TargetError", "TrainingError"]
__all__ += ["UpdateLimit", "accelerate", "decelerate"]
__all__ += ["VeFAConfig", "VeFAModel", "Watch", "__version__", "dial", "export_lora", "load_adapter", "measure", "mix"]
__all__ += ["read_result", "sc_lora", "self_written", "swap_adapter", "text_batches"]

__version__: str
