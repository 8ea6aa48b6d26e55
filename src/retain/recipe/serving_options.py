"""Where the result is to be served, so that what a server refuses is told before anything is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from retain.recipe.marks import Decides, Flag

ServerName = Literal["vllm", "sglang", "tgi", "lorax", "llama.cpp", "ollama", "all"]
"""Servers whose rules are known; a test holds them against the rules' file."""


class ServingOptions(BaseModel):
    """Fields on serving: they decide nothing of a run."""

    serve: Annotated[tuple[ServerName, ...], Decides("nothing"), Flag("serving", "SERVER")] = Field(
        (),
        description="Servers that the result is meant for, or all: vllm, sglang, tgi, lorax, llama.cpp, ollama. "
        "`retain check` tells what they would refuse, ignore or change of it.",
    )

    @field_validator("serve", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = value.split(",")
        if not isinstance(value, (list, tuple)):
            return value
        names = [one.strip().lower() if isinstance(one, str) else one for one in value]
        return tuple(name for name in names if name != "")
