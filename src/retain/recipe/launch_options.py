"""Fields of the processes that a training runs in."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator

from retain.recipe.marks import Decides, Flag

FIELDS: dict[str, tuple[type, int]] = {"processes": (int, 1), "config": (str, 0), "machine_rank": (int, 0)}
"""The fields of `launch`, each with its type and the smallest value of a number."""


class LaunchOptions(BaseModel):
    """The processes of a training. They count in a run's identity by what they are, not by a file's name."""

    launch: Annotated[dict[str, Any], Decides("nothing"), Flag("processes", "FIELDS")] = Field(
        default_factory=dict,
        description="Train, calibrate and ask the base in several processes: --launch.processes N on this machine, or "
        "--launch.config FILE, which `accelerate config` writes (DDP, FSDP2, DeepSpeed; several machines, where each "
        "says its --launch.machine_rank). --batch-size is that of one process.",
    )

    @field_validator("launch", mode="before")
    @classmethod
    def _known_fields(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("expected fields, as {processes: 2} or {config: accelerate.yaml}")  # noqa: TRY004 -- pydantic reports a ValueError
        problems = [
            f"{name} is none of its fields, which are {', '.join(FIELDS)}" for name in value if name not in FIELDS
        ]
        for name, (kind, low) in FIELDS.items():
            found = value.get(name)
            if found is None:
                continue
            if isinstance(found, bool) or not isinstance(found, kind):
                problems.append(
                    f"{name} is {'a whole number' if kind is int else 'the name of a file'} (found {found!r})"
                )
            elif isinstance(found, int) and found < low:
                problems.append(f"{name} is a whole number of {low} or more (found {found})")
        if value.get("processes") is not None and value.get("config") is not None:
            problems.append("processes and config were both given, and the file says how many processes; give one")
        if value.get("machine_rank") is not None and value.get("config") is None:
            problems.append("machine_rank needs config, the file of several machines")
        if problems:
            raise ValueError("; ".join(problems))
        return {name: found for name, found in value.items() if found is not None}

    @property
    def is_launched(self) -> bool:
        """True if the training runs in processes of its own."""
        return "config" in self.launch or self.launch.get("processes", 1) > 1
