"""retain fine-tunes a pretrained model without losing what it knew, and proves it.

A table of contents, which is `__init__.pyi`. Importing it loads neither torch nor PEFT (`retain --help` must answer at
once); it only asks to be told when PEFT is imported, by whomever, so that our tuners are registered before anyone can
use it.
"""

import difflib
from importlib import import_module
from importlib.metadata import version

from lazy_loader import attach_stub
from wrapt import register_post_import_hook

__version__ = version("retain")

_listed, __dir__, __all__ = attach_stub(__name__, __file__)
__all__ += ["__version__"]


def __getattr__(name: str) -> object:
    try:
        return _listed(name)
    except AttributeError as error:
        if name.startswith("_") or name in __all__:
            raise
        raise AttributeError(_missing(name)) from error


def _missing(name: str) -> str:
    """What to tell of a name that is not there: a verb's, or the nearest ones, or all functions."""
    functions = ", ".join(known for known in __all__ if known.islower() and not known.startswith("_"))
    if name in import_module("retain.cli.verbs").VERBS:
        return (
            f"retain has no {name} in Python: `retain {name}` is a verb of the command line. A model that was trained "
            f"in any way can be measured with retain.measure; functions are {functions}"
        )
    plain = {known.lower().replace("_", ""): known for known in __all__}
    near = difflib.get_close_matches(name.lower().replace("_", ""), plain, n=2)
    hint = f"did you mean {' or '.join(plain[one] for one in near)}?" if near else f"functions are {functions}"
    return f"retain has no {name}; {hint}"


def _register(_peft: object) -> None:
    import_module("retain.methods.table").register_all()


register_post_import_hook(_register, "peft")
