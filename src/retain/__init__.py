"""retain fine-tunes a pretrained model without losing what it knew, and proves it.

A table of contents, which is `__init__.pyi`. Importing it loads neither torch nor PEFT (`retain --help` must answer at
once); it only asks to be told when PEFT is imported, by whomever, so that our tuners are registered before anyone can
use it.
"""

from importlib import import_module
from importlib.metadata import version

from lazy_loader import attach_stub
from wrapt import register_post_import_hook

__version__ = version("retain")

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
__all__ += ["__version__"]


def _register(_peft: object) -> None:
    import_module("retain.methods.table").register_all()


register_post_import_hook(_register, "peft")
