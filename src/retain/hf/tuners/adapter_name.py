"""Names that an adapter can have."""

from __future__ import annotations

from torch import nn

from retain.errors import AdapterError
from retain.hf.tuners.feature_layer import BASE


def check_adapter_name(name: str) -> None:
    """Refuse a name under which torch keeps no module, or which means something else.

    Raises:
        AdapterError: such as `train`, which is a method of torch's modules, or one with a dot.
    """
    if name == BASE:
        raise AdapterError(f"adapter_name={name!r}: it stands for no adapter in a mixed batch; give another name.")
    try:
        nn.ModuleDict().add_module(name, None)
    except (KeyError, TypeError) as error:
        raise AdapterError(f"adapter_name={name!r}: torch refuses it ({error.args[0]}); give another.") from error
