"""The feature penalty: what an encoder's features say of its inputs stays as it was in the base.

The objective is task + w·KL(p₀ ‖ p) with p = softmax(P z/‖z‖): z (d,) the features of an input, P (K, d) frozen
directions, p₀ the same in the base (FD-Align, arXiv 2310.15105, whose factor of 20 beside a mean over 20 contexts is a
weight of 1 here). The inputs are those of the step itself, so no other data are needed (`FeaturePenalty`), or data to
keep: a `KLPenalty` whose divergence is a `FeatureDivergence`. Only what P sees is held.

Where we differ: the base is the model with its adapters off, not a second copy; the directions of `probes`; data to
keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerState, TrainingArguments

from retain.errors import InputError
from retain.hf.models.features import features_read
from retain.hf.models.given import unwrapped
from retain.hf.models.head import is_classifier
from retain.hf.models.inference import device_of
from retain.hf.models.sides import eval_mode, root_of
from retain.kernels.kl_divergence import logits_kl
from retain.train.regularise.callback import refuse_sharded
from retain.train.regularise.divergence import Batch, Divergence, placed
from retain.train.regularise.objective import Own, Scale, check_weight
from retain.train.regularise.own_batch import OwnBatchPenalty


class FeatureDivergence(Divergence):
    """KL(p₀ ‖ p) of what the features of a model and of its base say, mean over items, for a `KLPenalty` of an encoder.

    Args:
        probe: P (K, d), or (K, k) with a projection: `cluster_centres` or `text_prototypes` make one.
        projection: (k, d), of the pooled output into the space of text (CLIP); None: features are the mean of the last
            hidden states.
        teacher: the base as a second model, for a model without adapters (full fine-tuning).

    Raises:
        InputError: the probe is no table of two directions or more, or the projection does not fit it.

    Examples:
        >>> held = retain.FeatureDivergence(torch.eye(2, 8))
        >>> len(held.probe)
        2
    """

    key = "retain.FeatureDivergence"
    penalty = "a feature penalty"
    bears_fsdp2 = False

    def __init__(self, probe: Tensor, *, projection: Tensor | None = None, teacher: nn.Module | None = None) -> None:
        super().__init__(teacher)
        _check_table("probe", probe, 2)
        if projection is not None:
            _check_table("projection", projection, 1)
            if len(projection) != probe.shape[1]:
                raise InputError(
                    f"probe: its directions have {probe.shape[1]} numbers, and the projection gives {len(projection)}; "
                    "give both of one model, as text_prototypes does."
                )
        self.probe, self.projection = probe.detach().float(), projection

    def check(self, model: nn.Module) -> None:
        """Refuse a model that is no encoder, or has no base to compare with.

        Raises:
            InputError: it is so.
        """
        if not is_classifier(unwrapped(model)):
            raise InputError(
                f"a feature penalty is for encoders and vision models, and {type(root_of(model)).__name__} is "
                "neither: hold a language model's predictions with a KLPenalty or Distillation."
            )
        self.check_base(model)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """KL in nats, mean over the items of a batch; both sides in eval mode.

        Args:
            model: the model that is trained, wrapped for data parallelism or not.
            batch: its inputs; moved to its device.

        Raises:
            InputError: as `check`, or the directions have another width than the features.
        """
        plain, given = unwrapped(model), without_labels(batch)
        self.check(plain)
        before = self.of_base(plain, given)
        with eval_mode(plain), self.read(plain, given) as after:
            plain(**placed(plain, given))
            return feature_kl(self.probe, before, after())

    def units(self, batch: Batch) -> int:
        """The items of a batch."""
        return min(len(value) for value in batch.values())

    def logged(self, kl: float, weight: float) -> dict[str, float]:
        """As `Divergence.logged`."""
        return {"retain_feature_kl": kl, "retain_feature_weight": weight}

    def of_base(self, model: nn.Module, inputs: Batch) -> Tensor:
        """Features z₀ (B, d) of the base."""
        with self.base(model) as base, self.read(base, inputs) as before:
            base(**placed(base, inputs))
            found: Tensor = before()
        return found

    def read(self, model: nn.Module, inputs: Batch) -> AbstractContextManager[Any]:
        """Let the next forward pass on these inputs tell its features."""
        mask = inputs.get("attention_mask")
        return features_read(model, None if mask is None else mask.to(device_of(model)), self.projection)


class FeaturePenalty(OwnBatchPenalty):
    """Adds w·KL(p₀ ‖ p) of the features of each step's inputs to the loss of a Trainer, for encoders and vision models.

    The loss that the Trainer logs is then that of the whole objective. Logged: `retain_feature_kl`, nats, mean over the
    step's items.

    Args:
        probe: P (K, d), or (K, k) with a projection: `cluster_centres` or `text_prototypes` make one.
        weight: w.
        projection: (k, d), of the pooled output into the space of text (CLIP); None: features are the mean of the last
            hidden states.
        teacher: the base as a second model, for a model without adapters (full fine-tuning).

    Raises:
        InputError: a number is out of range, or the probe is no table of two directions or more.

    Examples:
        >>> penalty = retain.FeaturePenalty(torch.eye(2, 8), weight=1.0)
        >>> penalty.weight
        1.0
    """

    key = "retain.FeaturePenalty"
    logged = "retain_feature_kl"
    subject = "the features"

    def __init__(
        self,
        probe: Tensor,
        *,
        weight: float = 1.0,
        projection: Tensor | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.weight = check_weight(weight)
        self._divergence = FeatureDivergence(probe, projection=projection, teacher=teacher)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, *_: Any, model: nn.Module, **__: Any
    ) -> None:
        """Refuse a Trainer that cannot have it.

        Raises:
            InputError: it was not attached, the model is sharded, is no encoder, or has no base.
        """
        self.refuse_unattached()
        refuse_sharded(args, model, self._divergence.penalty, bears_fsdp2=self._divergence.bears_fsdp2)
        self._divergence.check(model)
        self.resume(state)

    def term(self, model: nn.Module, inputs: Mapping[str, Any], own: Own, scale: Scale) -> tuple[Tensor, Any]:
        """The task's loss and w·KL of the features, on a micro-batch."""
        plain, given = unwrapped(model), without_labels(inputs)
        held = self._divergence.of_base(plain, given)
        with self._divergence.read(plain, given) as after:
            task, outputs = own(True)  # noqa: FBT003 -- the one argument that `own` has
            features = after()
        kl = feature_kl(self._divergence.probe, held, features)
        self.count(kl, len(features))
        return task + self.weight * scale(kl, len(features)), outputs


def without_labels(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the model reads of a batch."""
    return {name: value for name, value in inputs.items() if name not in {"labels", "num_items_in_batch"}}


def _check_table(name: str, given: object, least: int) -> None:
    """Refuse what is no finite table of so many rows."""
    fits = isinstance(given, Tensor) and given.ndim == 2 and len(given) >= least and given.is_floating_point()
    if not (isinstance(given, Tensor) and fits and bool(torch.isfinite(given).all())):
        found = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise InputError(f"{name}: {found}; give {least} directions or more as a tensor (rows, numbers), all finite.")


def feature_kl(probe: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Mean over items of KL(softmax(P z₀/‖z₀‖) ‖ softmax(P z/‖z‖)), in nats.

    Args:
        probe: P (K, d).
        before: z₀ (B, d), of the base.
        after: z (B, d), with a gradient.

    Raises:
        InputError: the directions have another width than the features.
    """
    if probe.shape[1] != after.shape[1]:
        raise InputError(
            f"probe: its directions have {probe.shape[1]} numbers and this model's features {after.shape[1]}; make it "
            "of this model's own features (retain.cluster_centres), or give the projection that belongs to it."
        )
    device = after.device
    with torch.autocast(device.type, enabled=False):
        wide = torch.promote_types(after.dtype, torch.float32)
        directions = probe.to(device, wide).T
        first, second = (nn.functional.normalize(z.to(device, wide), dim=1) @ directions for z in (before, after))
        return logits_kl(first, second)
