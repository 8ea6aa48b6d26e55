"""retain fine-tunes a pretrained model without losing what it knew, and proves it.

A table of contents. Importing it loads neither torch nor PEFT (`retain --help` must answer at once); it only asks to be
told when PEFT is imported, by whomever, so that our tuners are registered before anyone can use it.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from wrapt import register_post_import_hook

if TYPE_CHECKING:
    from retain.errors import InputError, MergeError, RetainError, TargetError, TrainingError
    from retain.export.to_lora import Exported, export_lora
    from retain.hf.load import load_adapter
    from retain.methods.lorfa.config import LoRFAConfig
    from retain.methods.lorfa.layer import LoRFAModel
    from retain.methods.sc_lora.attach import CalibrationWarning, sc_lora
    from retain.methods.sc_lora.config import ScLoraConfig
    from retain.methods.vefa.config import VeFAConfig
    from retain.methods.vefa.layer import VeFAModel
    from retain.results import Result, read_result
    from retain.workflow.measure import measure
    from retain.workflow.self_written import self_written

__version__ = version("retain")

_HOMES = {
    "retain.errors": ("InputError", "MergeError", "RetainError", "TargetError", "TrainingError"),
    "retain.export.to_lora": ("Exported", "export_lora"),
    "retain.hf.load": ("load_adapter",),
    "retain.methods.lorfa.config": ("LoRFAConfig",),
    "retain.methods.lorfa.layer": ("LoRFAModel",),
    "retain.methods.sc_lora.attach": ("CalibrationWarning", "sc_lora"),
    "retain.methods.sc_lora.config": ("ScLoraConfig",),
    "retain.methods.vefa.config": ("VeFAConfig",),
    "retain.methods.vefa.layer": ("VeFAModel",),
    "retain.results": ("Result", "read_result"),
    "retain.workflow.measure": ("measure",),
    "retain.workflow.self_written": ("self_written",),
}
__all__ = ["CalibrationWarning", "Exported", "InputError", "LoRFAConfig", "LoRFAModel", "MergeError", "Result"]
__all__ += ["RetainError", "ScLoraConfig", "TargetError", "TrainingError", "VeFAConfig", "VeFAModel", "__version__"]
__all__ += ["export_lora", "load_adapter", "measure", "read_result", "sc_lora", "self_written"]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'retain' has no attribute {name!r}")


def _register(_peft: object) -> None:
    import_module("retain.methods.table").register_all()


register_post_import_hook(_register, "peft")
