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
    from retain.methods.lorfa.config import LoRFAConfig
    from retain.methods.lorfa.layer import LoRFAModel
    from retain.methods.vefa.config import VeFAConfig
    from retain.methods.vefa.layer import VeFAModel
    from retain.results import Result, read_result
    from retain.workflow.measure import measure

__version__ = version("retain")

_HOMES = {
    "VeFAConfig": "retain.methods.vefa.config",
    "VeFAModel": "retain.methods.vefa.layer",
    "LoRFAConfig": "retain.methods.lorfa.config",
    "LoRFAModel": "retain.methods.lorfa.layer",
    "measure": "retain.workflow.measure",
    "Result": "retain.results",
    "read_result": "retain.results",
    "RetainError": "retain.errors",
    "InputError": "retain.errors",
    "TargetError": "retain.errors",
    "MergeError": "retain.errors",
    "TrainingError": "retain.errors",
}
__all__ = [
    "InputError",
    "LoRFAConfig",
    "LoRFAModel",
    "MergeError",
    "Result",
    "RetainError",
    "TargetError",
    "TrainingError",
    "VeFAConfig",
    "VeFAModel",
    "__version__",
    "measure",
    "read_result",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'retain' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def _register(_peft: object) -> None:
    import_module("retain.methods.table").register_all()


register_post_import_hook(_register, "peft")
