"""Fields of a model that is served: where it is, how it is asked, and what it is compared with first."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from retain.recipe.marks import Decides, Flag
from retain.recipe.measurement_options import TunedModelOptions

_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ServedOptions(TunedModelOptions):
    """A tuned model behind a server, or in a GGUF file."""

    tuned_model: Annotated[str | None, Decides("data"), Flag("served", "NAME")] = Field(
        None,
        description="Name of the model at the server that --tuned names; vLLM lists an adapter under a name of its "
        "own. [the only one that it has]",
    )
    base: Annotated[str | None, Decides("data"), Flag("served", "URL")] = Field(
        None,
        description="Server that answers for the base. --model is needed beside it, for its tokenizer; its weights are "
        "not loaded then. [the base is run here]",
    )
    base_model: Annotated[str | None, Decides("data"), Flag("served", "NAME")] = Field(
        None, description="Name of the base at that server. [the only one that it has]"
    )
    adapter: Annotated[str | None, Decides("data"), Flag("served", "FOLDER")] = Field(
        None,
        description="What should be served: an adapter, a run's folder, or a full model. It is run here on a few "
        "prompts before the long measurement, beside the base, to tell whether it acts where it is served.",
    )
    converted: Annotated[str | None, Decides("data"), Flag("served", "MODEL")] = Field(
        None,
        description="What was made of the tuned model: a merged or quantised folder, a GGUF file, or the address of a "
        "server. All three answer the same items, and the report tells what training changed and what the conversion.",
    )
    converted_model: Annotated[str | None, Decides("data"), Flag("served", "NAME")] = Field(
        None, description="Name of the converted model at the server that --converted names. [the only one it has]"
    )
    only_check: Annotated[bool, Decides("nothing"), Flag("served")] = Field(
        default=False,
        description="End after that check: exit code 0 where the adapter acts and nothing else differs, 3 where it "
        "does not act, acts in part or under noise, or another model or template is served, 4 where it cannot be told. "
        "Needs no data and no --output.",
    )
    key_variable: Annotated[str, Decides("nothing"), Flag("served", "NAME")] = Field(
        "OPENAI_API_KEY", description="Environment variable with the server's key; the key itself is written nowhere."
    )
    concurrency: Annotated[int, Decides("nothing"), Flag("served")] = Field(
        8, gt=0, le=256, description="Requests at a time; the results do not depend on it."
    )
    request_timeout: Annotated[float, Decides("nothing"), Flag("served", "SECONDS")] = Field(
        120.0, gt=0, description="The longest time for one answer, to its last byte; then it is asked for again."
    )
    request_tries: Annotated[int, Decides("nothing"), Flag("served")] = Field(
        6,
        gt=0,
        le=100,
        description="How often a request is sent at most, where the server is too busy, fails or breaks off; the "
        "pauses grow to half a minute, or are what the server asks for.",
    )

    @property
    def is_served(self) -> bool:
        """True where the tuned model is asked through a server or a GGUF file."""
        return is_served_source(self.tuned)

    @field_validator("base", mode="after")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and not is_served_source(value):
            raise ValueError(
                "expected the address of a server (http://HOST/v1) or a GGUF file; a folder or hub id of "
                "the base goes to --model"
            )
        return value

    @model_validator(mode="after")
    def _serving_has_a_server(self) -> Self:
        if not _NAME.fullmatch(self.key_variable):  # told here, since a field's own refusal shows its value
            raise ValueError("key_variable: expected the name of an environment variable, and not the key itself")
        if self.converted_model is not None and not is_served_source(self.converted or ""):
            raise ValueError("converted_model: names a model of the server --converted; give that too")
        if self.is_served:
            if self.converted is not None:
                raise ValueError(
                    "converted: is compared with a tuned model that is run here; give the adapter as --tuned, and what "
                    "is served as --converted"
                )
            if self.base_model is not None and self.base is None:
                raise ValueError("base_model: names a model of the server --base; give that too")
            if self.only_check and self.adapter is None:
                raise ValueError("only_check: compares what is served with the adapter here; give --adapter FOLDER")
            return self
        given = [
            name
            for name in ("tuned_model", "base", "base_model", "adapter", "only_check")
            if getattr(self, name) not in {None, False}
        ]
        if given:
            raise ValueError(
                f"{given[0]}: is for a tuned model that is served; give --tuned http://HOST/v1 or --tuned FILE.gguf"
            )
        return self


def is_served_source(source: str) -> bool:
    """Tell whether a source is a server's address or a GGUF file, and no folder or hub id."""
    return bool(_ADDRESS.match(source.strip())) or source.strip().lower().endswith(".gguf")
