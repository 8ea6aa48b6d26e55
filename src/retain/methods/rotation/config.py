"""The configuration of a rotation: the layers that it changes, and the form of the orthogonal matrix."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from retain.errors import TargetError
from retain.hf.tuners.feature_config import FeatureConfig
from retain.methods.rotation import equations

Form = Literal["block", "kronecker"]


@dataclass
class RotationConfig(FeatureConfig):
    """Configuration of a rotation; the fields that are not here are those of `FeatureConfig`.

    Examples:
        >>> turned = get_peft_model(base, retain.RotationConfig(block_size=16, target_modules="all-linear"))
        >>> turned.peft_config["default"].block_size
        16
    """

    method: ClassVar[str] = "rotation"

    form: Form = field(
        default="block",
        metadata={"help": "block: rotates neighbouring features among themselves. kronecker: all, by small factors."},
    )
    block_size: int = field(
        default=32,
        metadata={
            "help": "Features that one block rotates; the next smaller divisor where it does not divide a layer's "
            "width. Without effect with form kronecker."
        },
    )
    kronecker_factors: int = field(
        default=3,
        metadata={
            "help": "Factors of the Kronecker product; their sizes are those of least sum (640 = 8·8·10). Without "
            "effect with form block."
        },
    )
    rotations: int = field(
        default=1,
        metadata={"help": "Rotations whose shifts are summed. Only a combination of adapters has more than 1."},
    )

    def problems(self) -> list[str]:
        """The problems of a form that is unknown and of sizes that are too small."""
        problems = []
        if self.form not in get_args(Form):
            problems.append(f"form={self.form!r}: a rotation has the form {' or '.join(get_args(Form))}.")
        least = {"block_size": 2, "kronecker_factors": 1, "rotations": 1}
        return problems + [
            f"{name}={value!r}: give a whole number ≥ {lowest}."
            for name, lowest in least.items()
            if isinstance(value := getattr(self, name), bool) or not isinstance(value, int) or value < lowest
        ]

    def sizes(self, width: int) -> tuple[int, ...]:
        """The sizes of the small orthogonal matrices for a layer of some width.

        Raises:
            TargetError: there are none.
        """
        if problems := self.width_problems(width):
            raise TargetError(problems)
        if self.form == "kronecker":
            return equations.kronecker_sizes(width, self.kronecker_factors)
        size = equations.block_size(width, self.block_size)
        return (size,) * (width // size)

    def width_problems(self, width: int) -> list[str]:
        """The reason why layers of some width cannot be rotated, with the cure; nothing where they can."""
        if width < 2:
            return ["a single input feature has no rotation; leave such layers out (exclude_modules)."]
        if self.form == "kronecker" or equations.block_size(width, self.block_size) > 1:
            return []
        larger = next(size for size in range(2, width + 1) if width % size == 0)
        told = (
            f"block_size={self.block_size}: {width} features divide into no blocks of 2 to {self.block_size}, so "
            f"nothing would be rotated; the smallest block that divides them is {larger}. Give that, or form "
            "kronecker, or leave such layers out (exclude_modules)."
        )
        return [told]

    def told(self, widths: set[int]) -> list[str]:
        """A sentence where blocks are smaller than asked, because they divide the width of a layer."""
        if self.form != "block":
            return []
        found = {width: self.sizes(width)[0] for width in sorted(widths)}
        other = [f"{size} of {width}" for width, size in found.items() if size != self.block_size]
        if not other:
            return []
        return [f"block_size={self.block_size} does not divide every width: features a block are {', '.join(other)}."]
