"""Make our methods known to PEFT, which has no plug-in mechanism: a member of its enum, and its four tables.

A plain string as `peft_type` is not enough: transformers reads `.value` of it when it loads or deletes an adapter.
"""

from __future__ import annotations

from typing import Any

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import PeftType, register_peft_method

from retain.errors import RetainError


def peft_type(name: str) -> Any:
    """The member of `peft.PeftType` for a method, made if it is missing.

    Enumerations are closed to subclassing and assignment; a member is added the way the enum machinery itself does it.
    It then pickles, copies, compares and looks up by value like the others.
    """
    value = name.upper()
    if value in PeftType.__members__:
        return PeftType[value]
    member = str.__new__(PeftType, value)
    member._name_ = member._value_ = value
    member.__objclass__ = PeftType
    member._sort_order_ = len(PeftType.__members__)
    type.__setattr__(PeftType, value, member)  # before the maps: EnumType.__setattr__ refuses to replace a member
    PeftType._member_names_.append(value)
    PeftType._member_map_[value] = member
    PeftType._value2member_map_[value] = member
    return member


def register(name: str, config: type, tuner: type) -> None:
    """Enter a method in PEFT's tables. Doing it twice is harmless; a reloaded module replaces its older self.

    Args:
        name: lower case; the prefix of its parameters is `name_`.
        config: the PEFT config class.
        tuner: the PEFT tuner class.

    Raises:
        RetainError: somebody else's method of that name is there already.
    """
    member = peft_type(name)
    present = PEFT_TYPE_TO_CONFIG_MAPPING.get(member)
    if present is config:
        return
    if present is None:
        register_peft_method(name=name, config_cls=config, model_cls=tuner)
    elif present.__module__ == config.__module__:
        PEFT_TYPE_TO_CONFIG_MAPPING[member] = config
        PEFT_TYPE_TO_TUNER_MAPPING[member] = tuner
    else:
        raise RetainError(
            f"PEFT already has a method {name!r}, from {present.__module__}; retain would replace it by its own. "
            "Use a version of PEFT that does not ship it, or a version of retain made for this one."
        )
