"""Models and their preprocessors, loaded from a folder or a hub id; a refusal names the cure."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from retain.data.family import Family, in_words, modality_of
from retain.data.preprocess import ImagePreprocessor, Preprocessor, TextPreprocessor
from retain.data.template_source import give_template
from retain.errors import InputError
from retain.evaluate.causality import looks_ahead, not_causal, other_reader
from retain.hf.models.head import renew_output_layer
from retain.hf.models.memory import telling_memory
from retain.hf.models.own_memory import own_memory
from retain.hf.models.placement import current_device, random_states_kept
from retain.hf.models.positions import UNLIMITED, Positions
from retain.hf.models.precision import precision_note, weights_dtype
from retain.hf.models.quantised_heads import heads_in_full
from retain.hf.models.quantization import is_quantised, own_quantization, prepared
from retain.hf.models.sides import is_adapted
from retain.jobs.inputs.classes_told import names_to_set, numbers_to_set
from retain.jobs.inputs.loading import PLAIN, Loading, device_of
from retain.jobs.inputs.model_inputs import input_problem
from retain.jobs.inputs.model_sources import REASONS, ensure_base, failure_told, in_own_code, located
from retain.jobs.inputs.weights_found import layers_left_over, missing_weights
from retain.recipe import MeasurementOptions

log = logging.getLogger(__name__)

_LOADERS: dict[Family, Any] = {
    "causal-lm": AutoModelForCausalLM,
    "text-classifier": AutoModelForSequenceClassification,
    "image-classifier": AutoModelForImageClassification,
    "text-features": AutoModel,
    "image-features": AutoModel,
}


@cache
def _warn_once(note: str) -> None:
    log.warning("%s", note)


class Loaded(NamedTuple):
    """A model in eval mode, and whether its head is new, that is to say random."""

    model: Any
    head_is_new: bool


@dataclass(frozen=True)
class ModelSpec:
    """All that decides how a model is loaded, and the preprocessor beside it.

    Attributes:
        source: folder or hub id.
        family: the class to load it as.
        labels: the classes, for a classifier.
        dtype: name of a torch dtype, or auto for the checkpoint's.
        attention: transformers' `attn_implementation`; None for its choice.
        trust_remote_code: whether code that comes with the model may run.
        max_length: longest sequence that the preprocessor makes, in tokens.
        template: source of the chat template in place of the tokenizer's own; None for that.
        template_values: values for the template's arguments.
        loading: how its weights are quantised, and where its layers lie.
        role: the field of a recipe that names the source, for messages.
        is_finished: whether it is measured only: a head whose outputs have no names is that of numbered classes then.
    """

    source: str
    family: Family = "causal-lm"
    labels: Sequence[str] = ()
    dtype: str = "auto"
    attention: str | None = None
    trust_remote_code: bool = False
    max_length: int = 512
    template: str | None = None
    template_values: Mapping[str, Any] = field(default_factory=dict)
    loading: Loading = PLAIN
    role: str = "model"
    is_finished: bool = False

    @classmethod
    def of(cls, recipe: MeasurementOptions, family: Family, labels: Sequence[str] = ()) -> ModelSpec:
        """The base of a recipe.

        Raises:
            InputError: an adapter was given as the base.
        """
        ensure_base(recipe.model)
        return cls(
            recipe.model,
            family,
            tuple(labels),
            weights_dtype(recipe.dtype, device_of(recipe)),
            recipe.attention,
            recipe.trust_remote_code,
            recipe.max_length,
            recipe.template,
            recipe.template_values,
            Loading.of(recipe),
        )

    def at(self, source: str | Path, role: str = "model") -> ModelSpec:
        """The same for a model that lies elsewhere."""
        return replace(self, source=str(source), role=role)

    def load(self) -> Loaded:
        """Load the model in eval mode, on an accelerator where there is one, or spread as its device map says.

        A quantised one is prepared for training as PEFT prepares it, so that it is measured as it is trained.
        A classifier whose checkpoint has a head for the classes that are named keeps it, in its own order of classes.
        Any other gets a new head, random by a fixed seed, also where its head has as many classes of other names. A
        pooler that the checkpoint lacks is random by the same seed; of anything else nothing may be missing.

        Raises:
            InputError: nothing there, no model of this family, an adapter, a checkpoint that is not whole, the hub
                cannot be reached, or it cannot be quantised or placed so.
            OutOfMemoryError: memory ran out.
        """
        path = located(self.source, self.role)
        if problems := self.loading_problems():
            raise InputError(problems)
        with telling_memory("loading"), self._refusing("model", RuntimeError, SafetensorError), random_states_kept():
            torch.manual_seed(0)
            model, is_new = self._classifier(path) if self._is_classifier else (self._pretrained(path)[0], False)
            if is_adapted(model):  # transformers follows an adapter to its base and puts it on
                raise InputError(
                    f"{self.role}: {self.source} is an adapter on a base, not a model; give its base here."
                )
            if not is_quantised(model) and self.loading.device_map is None:
                model = model.to(current_device())
            if self.family == "causal-lm" and looks_ahead(model):
                raise InputError(not_causal(self.role, self.source, model.config.model_type))
            for note in precision_note(model, device=self.loading.device):
                _warn_once(note)
            return Loaded(own_memory(prepared(model)).eval(), is_new)

    def loading_problems(self) -> list[str]:
        """A sentence for each reason why the model cannot be quantised or placed as asked, found before it is loaded.

        Raises:
            InputError: no configuration could be loaded at all.
        """
        return self.loading.problems(self.own_quantization(), self.empty)

    def quantization_in_use(self) -> Any:
        """The configuration by which the model will be quantised, its own or the one asked for; None for a plain one.

        Raises:
            InputError: there is no such configuration, or the model's could not be loaded.
        """
        return self.loading.quantization_in_use(self.own_quantization())

    def own_quantization(self) -> dict[str, Any] | None:
        """The quantisation that the checkpoint has already; None for an unquantised one.

        Raises:
            InputError: no configuration could be loaded.
        """
        path = located(self.source, self.role)
        with self._refusing("model"):
            return own_quantization(AutoConfig.from_pretrained(path, trust_remote_code=self.trust_remote_code))

    def empty(self) -> Any:
        """The structure of the model without its weights (meta device), to check targets against in a moment.

        Raises:
            InputError: as `load`.
        """
        path = located(self.source, self.role)
        with self._refusing("model"):
            classes = self._named_classes(path) if self._is_classifier else {}
            config = AutoConfig.from_pretrained(path, trust_remote_code=self.trust_remote_code, **classes)
            self._refuse_other_readers(config)
            with torch.device("meta"):
                return _LOADERS[self.family].from_config(config, trust_remote_code=self.trust_remote_code)

    def preprocessor(self, positions: Positions = UNLIMITED) -> Preprocessor:
        """Load the tokenizer or the image processor beside the model.

        Args:
            positions: those of the model, beyond which no text may go.

        Raises:
            InputError: as `load`; or a chat template was given that cannot be used.
        """
        if (self.template or self.template_values) and self.family != "causal-lm":
            raise InputError(
                f"template: {in_words(self.family)} reads no conversations; leave out --template and "
                "--template-arguments."
            )
        if self.reads_text:
            return TextPreprocessor(self._tokenizer(), self.max_length, positions)
        path = located(self.source, self.role)
        with self._refusing("image processor"):
            return ImagePreprocessor(
                AutoImageProcessor.from_pretrained(path, backend="pil", trust_remote_code=self.trust_remote_code)
            )

    def _refuse_other_readers(self, config: Any) -> None:
        """Refuse a model whose configuration says that it reads other data, or text otherwise than this family does.

        Raises:
            InputError: it is one.
        """
        told = (self.family, self.role, self.source)
        if problem := other_reader(config, *told) or input_problem(config, *told):
            raise InputError(problem)

    @property
    def reads_text(self) -> bool:
        """True for models that read text, false for those of images."""
        return modality_of(self.family) == "text"

    @property
    def _is_classifier(self) -> bool:
        return self.family.endswith("classifier")

    def _pretrained(self, path: str, **more: Any) -> tuple[Any, dict[str, Any]]:
        """The model and transformers' account of its loading.

        Raises:
            InputError: values are missing that nothing else gives.
        """
        self._refuse_other_readers(AutoConfig.from_pretrained(path, trust_remote_code=self.trust_remote_code))
        options = {
            "dtype": self.dtype,
            "attn_implementation": self.attention,
            "trust_remote_code": self.trust_remote_code,
        }
        with self.loading.told(self.own_quantization(), self.empty) as told:
            options |= told.options
            model, report = _LOADERS[self.family].from_pretrained(path, output_loading_info=True, **options, **more)
            told.keep_for(model)
        if is_quantised(model):
            heads_in_full(model)
        if lacking := missing_weights(model, self.family, report["missing_keys"]):
            raise InputError(f"{self.role}: the files of {self.source} hold no values for {lacking}")
        if left := layers_left_over(model.state_dict().keys(), report["unexpected_keys"]):
            log.warning("%s: %s holds layers that its config.json does not count: %s, …", self.role, self.source, left)
        return model, report

    def _classifier(self, path: str) -> tuple[Any, bool]:
        config = AutoConfig.from_pretrained(path, trust_remote_code=self.trust_remote_code)
        numbers = numbers_to_set(config.id2label or {}, self.labels) if self.is_finished else {}
        named = self._named_classes(path)
        model, is_new = self._with_head(path, numbers or named)
        if is_new and numbers not in ({}, named):  # there was no head to keep
            model, is_new = self._with_head(path, named)
        if named and not numbers and not is_new:
            renew_output_layer(model)
            is_new = True
        model.config.problem_type = "single_label_classification"  # whatever the checkpoint's head was trained for
        reader = model.config.get_text_config()  # of a model that reads images too, its part for text
        if type(model).__name__.endswith("ForSequenceClassification") and reader.pad_token_id is None:
            # A decoder reads its logits from the last token that is no padding, so it must know which is padding.
            reader.pad_token_id = self._tokenizer().pad_token_id
        return model, is_new

    def _with_head(self, path: str, named: dict[str, Any]) -> tuple[Any, bool]:
        """A classifier, and whether the checkpoint lacks its head."""
        model, report = self._pretrained(path, ignore_mismatched_sizes=True, **named)
        return model, bool(report["missing_keys"] or report["mismatched_keys"])

    def _named_classes(self, path: str) -> dict[str, Any]:
        """The names of the classes for the configuration; none where the checkpoint's own cover them."""
        config = AutoConfig.from_pretrained(path, trust_remote_code=self.trust_remote_code)
        return names_to_set(config.id2label or {}, self.labels)

    def _tokenizer(self) -> Any:
        """The tokenizer beside the model; one without a padding token pads with its end token."""
        path = located(self.source, self.role)
        with self._refusing("tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=self.trust_remote_code)
        if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
            tokenizer.pad_token = tokenizer.eos_token
        give_template(tokenizer, self.template, self.template_values)
        return tokenizer

    @contextmanager
    def _refusing(self, what: str, *besides: type[Exception]) -> Iterator[None]:
        """Turn what transformers raises into a refusal that names the cure.

        Raises:
            InputError: something could not be loaded.
        """
        try:
            yield
        except Exception as error:
            if not isinstance(error, (*REASONS, *besides)) and not in_own_code(error):
                raise
            loader = _LOADERS["causal-lm" if what == "tokenizer" else self.family].__name__
            raise InputError(f"{self.role}: {failure_told(self.source, what, loader, error)}") from error
