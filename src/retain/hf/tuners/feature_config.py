"""The configuration that all feature-space methods share, in PEFT's conventions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from peft import LoraConfig, PeftConfig
from peft.utils.other import get_pattern_key

from retain.errors import AdapterError, TargetError, layer_problems
from retain.hf.tuners.registration import peft_type

Value = TypeVar("Value")


def for_layer(pattern: dict[str, Value] | None, key: str, default: Value) -> Value:
    """The value that a pattern (ends of names, or regular expressions, to values) gives the layer `key`, as in PEFT."""
    return (pattern or {}).get(get_pattern_key(pattern or {}, key), default)


_LORA_FIELDS = frozenset(field.name for field in dataclasses.fields(LoraConfig))


class LoraOnlyError(AdapterError, AttributeError):
    """A tool for PEFT's LoRA was given another method. An `AttributeError`, so `getattr` with a default goes on."""


@dataclass
class FeatureConfig(PeftConfig):  # type: ignore[misc]  # PEFT ships no types
    """The linear layers that a feature-space method changes. Its own fields follow in the method's subclass.

    There is no `bias` field: these methods act on a layer's input and leave its bias as it is.
    """

    method: ClassVar[str]
    alora_invocation_tokens: ClassVar[None] = None
    """PEFT asks every adapter for it in each forward pass; an error there, though caught, would stop torch.compile."""
    """The method's name in lower case; a subclass sets it."""

    target_modules: list[str] | str | None = field(
        default=None,
        metadata={
            "help": "Names (or ends of names) of the linear layers to adapt, or one regular expression for whole "
            "names, or 'all-linear' for all but the output head. None: PEFT's default for the architecture."
        },
    )
    exclude_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Names (or ends of names), or one regular expression, of modules to leave out."}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules to train in full and to save with the adapter, e.g. a new head."}
    )
    layers_to_transform: list[int] | int | None = field(
        default=None, metadata={"help": "Indices of the layers to adapt; needs target_modules as a list of names."}
    )
    layers_pattern: list[str] | str | None = field(
        default=None, metadata={"help": "Name of the model's list of layers, where PEFT does not find it."}
    )
    preserve_small_shifts: bool = field(
        default=True,
        metadata={
            "help": "Over a base in bf16 or fp16, keep a small shift T(x) from being rounded away with x, by "
            "Wx + W·T(x) instead of W(x + T(x)), or by stochastic rounding. Without effect in float32."
        },
    )
    target_parameters: list[str] | None = field(
        default=None, metadata={"help": "Not supported (fused experts have no input that could be shifted); keep None."}
    )

    def __post_init__(self) -> None:
        """Check the fields against one another.

        Raises:
            TargetError: the fields contradict one another, or one is not supported.
        """
        super().__post_init__()
        self.peft_type = peft_type(self.method)
        for name in ("target_modules", "exclude_modules"):
            if isinstance(value := getattr(self, name), list):
                setattr(self, name, set(value))
        problems = [*self._shared_problems(), *self.problems()]
        if problems:
            raise TargetError(problems)

    def __getattr__(self, name: str) -> Any:
        """Say of a field that only PEFT's LoRA has what to do instead; called for what is not there.

        Raises:
            LoraOnlyError: it is such a field.
        """
        if name in _LORA_FIELDS:
            raise LoraOnlyError(
                f"{type(self).method} has no {name}; that belongs to PEFT's LoRA, and so do the tools that read it "
                "(X-LoRA, Arrow, EVA, CorDA, LoRA-GA, LoftQ, layer replication). Give them a LoRA: retain.export "
                "writes one of a lorfa; a vefa or a rotation can be merged into its base."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _shared_problems(self) -> list[str]:
        problems = layer_problems(vars(self))
        if self.target_parameters:
            problems.append(
                f"target_parameters={self.target_parameters!r}: {self.method} shifts the input of a linear layer and "
                "cannot act on bare (fused expert) parameters; name linear layers in target_modules."
            )
        if self.layers_to_transform is not None and isinstance(self.target_modules, str):
            problems.append(
                "`layers_to_transform` cannot be used when `target_modules` is a str. "  # PEFT's words, and ours
                f"Here it is {self.target_modules!r}; the layer is read from a matched name, so give target_modules "
                "as a list of names."
            )
        if self.layers_pattern and self.layers_to_transform is None:
            problems.append(
                "When `layers_pattern` is specified, `layers_to_transform` must also be specified. Here "
                "layers_pattern is set but layers_to_transform is not; set both or neither."
            )
        return problems

    def problems(self) -> list[str]:
        """The problems of the method's own fields, one sentence each; a subclass overrides it."""
        return []

    def told(self, widths: set[int]) -> list[str]:
        """What a user should know of layers with so many inputs; a subclass overrides it."""
        del widths
        return []
