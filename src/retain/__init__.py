"""retain fine-tunes a pretrained model without losing what it knew, and proves it.

A table of contents. Importing it loads neither torch nor PEFT (`retain --help` must answer at once); it only asks to be
told when PEFT is imported, by whomever, so that our tuners are registered before anyone can use it.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

if TYPE_CHECKING:
    from retain.control.anchor import Anchor, text_batches
    from retain.control.limit_size import UpdateLimit
    from retain.control.replay import mix
    from retain.control.watch import RetentionWarning, Watch
    from retain.errors import InputError, MergeError, RetainError, TargetError, TrainingError
    from retain.export.to_lora import Exported, export_lora
    from retain.hf.load import load_adapter
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

__version__ = version("retain")

_HOMES = {
    "retain.control.anchor": ("Anchor", "text_batches"),
    "retain.control.limit_size": ("UpdateLimit",),
    "retain.control.replay": ("mix",),
    "retain.control.watch": ("RetentionWarning", "Watch"),
    "retain.errors": ("InputError", "MergeError", "RetainError", "TargetError", "TrainingError"),
    "retain.export.to_lora": ("Exported", "export_lora"),
    "retain.hf.load": ("load_adapter",),
    "retain.methods.lorfa.config": ("LoRFAConfig",),
    "retain.methods.lorfa.layer": ("LoRFAModel",),
    "retain.methods.sc_lora.attach": ("CalibrationWarning", "sc_lora"),
    "retain.methods.sc_lora.config": ("ScLoraConfig",),
    "retain.methods.vefa.config": ("VeFAConfig",),
    "retain.methods.vefa.layer": ("VeFAModel",),
    "retain.recipe": ("Budget",),
    "retain.results": ("Result", "read_result"),
    "retain.workflow.dial": ("dial",),
    "retain.workflow.measure": ("measure",),
    "retain.workflow.self_written": ("self_written",),
}
__all__ = ["Anchor", "Budget", "CalibrationWarning", "Exported", "InputError", "LoRFAConfig", "LoRFAModel"]
__all__ += ["MergeError", "Result", "RetainError", "RetentionWarning", "ScLoraConfig", "TargetError", "TrainingError"]
__all__ += ["UpdateLimit"]
__all__ += ["VeFAConfig", "VeFAModel", "Watch", "__version__", "dial", "export_lora", "load_adapter", "measure", "mix"]
__all__ += ["read_result", "sc_lora", "self_written", "text_batches"]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'retain' has no attribute {name!r}")


def _register(_peft: object) -> None:
    import_module("retain.methods.table").register_all()


register_post_import_hook(_register, "peft")
