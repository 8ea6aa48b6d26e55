"""retain fine-tunes a pretrained model without losing what it knew, and proves it.

A table of contents. Importing it loads neither torch nor PEFT (`retain --help` must answer at once); it only asks to be
told when PEFT is imported, by whomever, so that our tuners are registered before anyone can use it. What type checkers
read is `__init__.pyi`.
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

from wrapt import register_post_import_hook

__version__ = version("retain")

_HOMES = {
    "retain.train.regularise.kl_penalty": ("KLPenalty", "text_batches"),
    "retain.train.regularise.update_limit": ("UpdateLimit",),
    "retain.train.regularise.replay": ("mix_replay",),
    "retain.train.regularise.kl_monitor": ("RetentionWarning", "KLMonitor"),
    "retain.errors": ("InputError", "MergeError", "RetainError", "TargetError", "TrainingError"),
    "retain.export.lora": ("Exported", "export_lora"),
    "retain.hf.adapters.accelerate": ("accelerate", "decelerate"),
    "retain.hf.adapters.load": ("load_adapter",),
    "retain.hf.adapters.swap": ("swap_adapter",),
    "retain.methods.lorfa.config": ("LoRFAConfig",),
    "retain.methods.lorfa.layer": ("LoRFAModel",),
    "retain.methods.initialisations.adapter": ("CalibrationWarning", "sc_lora"),
    "retain.methods.initialisations.config": ("SCLoRAConfig",),
    "retain.methods.vefa.config": ("VeFAConfig",),
    "retain.methods.vefa.layer": ("VeFAModel",),
    "retain.recipe": ("Budget",),
    "retain.records.result": ("Result", "read_result"),
    "retain.jobs.scale": ("scale",),
    "retain.jobs.measure": ("measure",),
    "retain.jobs.self_generated": ("self_generated",),
}
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


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'retain' has no attribute {name!r}")


def _register(_peft: object) -> None:
    import_module("retain.methods.table").register_all()


register_post_import_hook(_register, "peft")
