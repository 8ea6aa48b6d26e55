"""Every method that a recipe can name, one row each. A new one is a folder or a file beside this one, and a row here.

A row holds plain values, so that recipes, help texts and labels read it without loading torch. Its `code` names where
its code is, as `module:object`; that is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from retain.records import numbers
from retain.records.recommended import NAMES, Kind

if TYPE_CHECKING:
    from retain.hf.tuners.feature_config import FeatureConfig
    from retain.hf.tuners.feature_layer import FeatureLayer
    from retain.hf.tuners.feature_tuner import FeatureTuner
    from retain.methods.initialisations.factors import Initialise

OTHER_LEARNING_RATE = 5e-4
"""The default learning rate of PEFT's methods that have no row."""


@dataclass(frozen=True)
class Method:
    """A method with the defaults that retain gives it.

    Attributes:
        name: as recipes name it, in lower case; PEFT's own name where PEFT has the method.
        title: as papers write it.
        summary: the change to the model, in one line.
        learning_rate: where a recipe gives none.
        measured_rates: the same for kinds of model on which studies/benchmark settles it: of the three rates tried the
            middle one is best for what is learned, by validation items, and it has four seeds. A test of the benchmark
            holds the two together.
    """

    name: str
    title: str
    summary: str
    learning_rate: float
    measured_rates: Mapping[Kind, float] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True)
class FeatureMethod(Method):
    """A feature-space method, which retain ships as a PEFT tuner.

    Attributes:
        code: its tuner class, which knows its configuration and its layer.
    """

    code: str

    @property
    def tuner(self) -> type[FeatureTuner]:
        """The class that puts adapters into a model."""
        tuner: type[FeatureTuner] = _load(self.code)
        return tuner

    @property
    def config(self) -> type[FeatureConfig]:
        """The class of its PEFT configuration."""
        return self.tuner.config_class

    @property
    def layer(self) -> type[FeatureLayer]:
        """The class of its adapted layers."""
        return self.tuner.tuner_layer_cls


@dataclass(frozen=True)
class Initialisation(Method):
    """A LoRA that is trained from factors A0, B0 computed from the base, and mostly from texts.

    Attributes:
        code: its function `initialise`, of the type `Initialise`.
        reads: the calibration texts that it needs: "learn", of what is to be learned, and "keep", of what must stay.
        fields: those of `SCLoRAConfig`'s fields beta, sample_norm and seed that act on it.
        streamed: it can be computed while both texts are read, also from second moments of a layer's outputs.
        drawn: it is drawn at random, so each seed of a run gives another one.
        spans_outputs: its rank is limited by a layer's outputs alone, not by its inputs.
    """

    code: str
    reads: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    streamed: bool = False
    drawn: bool = False
    spans_outputs: bool = False

    @property
    def initialise(self) -> Initialise:
        """The function that computes A0 and B0 of one layer."""
        function: Initialise = _load(self.code)
        return function


METHODS = (
    FeatureMethod(
        name="vefa",
        title="VeFA",
        summary="scales each input feature: W0((1 + λ) ⊙ x)",
        learning_rate=3e-3,  # it moves each feature by itself; studies/benchmark: the highest rates learn and lose most
        code="retain.methods.vefa.layer:VeFAModel",
    ),
    FeatureMethod(
        name="lorfa",
        title="LoRFA",
        summary="shifts the input within a low rank: W0(x + s·BAx)",
        learning_rate=5e-4,
        measured_rates={"encoder": 1.1e-3},  # studies/benchmark, sentiment
        code="retain.methods.lorfa.layer:LoRFAModel",
    ),
    FeatureMethod(
        name="rotation",
        title="Rotation",
        summary="rotates the input features: W0(xR), R orthogonal",
        learning_rate=1e-4,  # all angles of a block turn at once: at six times the rate it only drifts farther
        code="retain.methods.rotation.layer:RotationModel",
    ),
)
"""Feature-space methods: each has a folder here."""

INITIALISED_LEARNING_RATE = 1e-4
"""With both factors away from 0, a LoRA learns as much as an ordinary one at some ten times this rate.

On the tickets of studies/benchmark SC-LoRA learned most at 6e-4, the highest rate tried, and 99 % of that at 1.1e-4.
"""

INITIALISATIONS = (
    Initialisation(
        name="sc-lora",
        title="SC-LoRA",
        summary="LoRA from the output directions that matter for the text to learn and not for the text to keep",
        learning_rate=INITIALISED_LEARNING_RATE,
        measured_rates={"encoder": 6e-4},  # studies/benchmark, sentiment
        code="retain.methods.initialisations.sc_lora:initialise",
        reads=("learn", "keep"),
        fields=("beta", "sample_norm", "seed"),
        streamed=True,
        spans_outputs=True,
    ),
    Initialisation(
        name="corda-kpm",
        title="CorDA-KPM",
        summary="LoRA from the components of W0 that the text to keep uses least (knowledge-preserved CorDA)",
        learning_rate=INITIALISED_LEARNING_RATE,
        code="retain.methods.initialisations.corda_kpm:initialise",
        reads=("keep",),
        fields=("sample_norm",),
    ),
    Initialisation(
        name="lora-null",
        title="LoRA-Null",
        summary="LoRA from W0 on the input directions that the text to keep uses least",
        learning_rate=INITIALISED_LEARNING_RATE,
        code="retain.methods.initialisations.lora_null:initialise",
        reads=("keep",),
        fields=("sample_norm",),
    ),
    Initialisation(
        name="milora",
        title="MiLoRA",
        summary="LoRA from the smallest singular components of W0; reads no text",
        learning_rate=INITIALISED_LEARNING_RATE,
        code="retain.methods.initialisations.milora:initialise",
    ),
    Initialisation(
        name="random-start",
        title="random subspace",
        summary="the control: SC-LoRA with output directions drawn at random; reads no text",
        learning_rate=INITIALISED_LEARNING_RATE,
        code="retain.methods.initialisations.random_start:initialise",
        fields=("seed",),
        drawn=True,
        spans_outputs=True,
    ),
)
"""Data-driven initialisations of LoRA: each has a file in `initialisations/`."""

SPARSE = Method(
    "sparse",
    "Sparse update",
    "trains a share of each matrix's entries, chosen by a score (SIFT, SaRA); all others stay to the bit",
    2e-4,
)
"""The sparse updates: one method, whose scores stand in `sparse/config.py`."""

OTHERS = (
    # encoders: studies/benchmark, sentiment; of language models its best rate is an edge, or has one seed
    Method("lora", "LoRA", "adds a low-rank update: W0 x + s·BAx", 5e-4, measured_rates={"encoder": 1.1e-3}),
    Method("ia3", "IA3", "scales features and activations", 3e-3),
    Method("full", "all weights", "trains every weight", 2e-5),
)
"""Methods whose code is not here, with a default of ours."""


def rows() -> tuple[Method, ...]:
    """All rows: feature-space methods, initialisations, sparse updates, others."""
    return (*METHODS, *INITIALISATIONS, SPARSE, *OTHERS)


def initialisations() -> dict[str, Initialisation]:
    """The data-driven initialisations by name."""
    return {row.name: row for row in INITIALISATIONS}


def learning_rate(name: str, kind: Kind | None = None) -> float:
    """The default learning rate of a method; PEFT's methods without a row share one.

    Args:
        name: the method.
        kind: of model, for which a method may have another one. [that of all others]
    """
    row = next((row for row in rows() if row.name == name), None)
    if row is None:
        return OTHER_LEARNING_RATE
    return row.learning_rate if kind is None else row.measured_rates.get(kind, row.learning_rate)


def title(name: str) -> str | None:
    """The title of a method as papers write it; None where it has no row."""
    return next((row.title for row in rows() if row.name == name), None)


def names_listed() -> str:
    """All names as one phrase for a help text."""
    return ", ".join(row.name for row in rows())


def learning_rates_listed() -> str:
    """All default learning rates as one phrase for a help text."""
    by_rate: dict[float, list[str]] = {}
    for row in rows():
        by_rate.setdefault(row.learning_rate, []).append(row.name)
    by_rate.setdefault(OTHER_LEARNING_RATE, []).append("others")
    told = [f"{numbers.learning_rate(rate)} {', '.join(names)}" for rate, names in by_rate.items()]
    return "; ".join([*told, *_by_kind()])


def _by_kind() -> Iterator[str]:
    """For each kind of model that has rates of its own, these."""
    for kind, name in NAMES.items():
        own = [(row.measured_rates[kind], row.name) for row in rows() if kind in row.measured_rates]
        if own:
            yield f"of {name} " + ", ".join(f"{numbers.learning_rate(rate)} {method}" for rate, method in own)


def register_all() -> None:
    """Make the feature-space methods known to PEFT; doing it twice is harmless."""
    from retain.hf.tuners.registration import register  # noqa: PLC0415 -- PEFT and torch, which this table loads late

    for method in METHODS:
        register(method.name, method.config, method.tuner)


def _load(code: str) -> Any:
    module, _, name = code.partition(":")
    return getattr(import_module(module), name)
