"""Frozen directions that say what features mean: what a text tower calls contexts, or centres of the base's features.

FD-Align (arXiv 2310.15105) takes contexts of CLIP's text tower ("a sketch of …"): for each template the mean over class
names of the normalised text features, normalised, times exp(logit_scale). Where we differ: all templates are
directions, and none is left out or clustered, which its code does without a seed. Centres of the base's own features,
for models without a text tower, are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from retain.errors import InputError, is_whole
from retain.hf.models.inference import device_of, evaluating
from retain.train.regularise.given_texts import given_texts

CONTEXTS = (
    "a photo of a {}", "a bright photo of a {}", "a dark photo of a {}", "a blurry photo of a {}",
    "a close-up photo of a {}", "a photo of a small {}", "a photo of a large {}", "a photo of many {}",
    "a cropped photo of a {}", "a photo of a {} from far away", "a black and white photo of a {}",
    "a grainy photo of a {}", "a photo of a {} outdoors", "a photo of a {} indoors", "a sketch of a {}",
    "a drawing of a {}", "a painting of a {}", "a cartoon of a {}", "a sculpture of a {}", "a toy {}",
    "a rendering of a {}", "an icon of a {}", "a pattern of a {}", "a {} in a video game",
)  # fmt: skip
"""Contexts in which something can be seen; {} stands for what it is."""

CENTRES = 20
"""How many centres there are at most: as many contexts as FD-Align keeps."""

SPREAD = 2.0
"""Standard deviation, over the directions and on average over items, that centres give the base's logits: about what
CLIP's own text gives. A softmax over flatter logits would hardly tell features apart."""

SMALLEST_SPREAD = 1e-6
"""Less than that, of unit vectors, is the rounding of float32 features."""


def cluster_centres(features: Tensor, count: int = CENTRES, seed: int = 0) -> Tensor:
    """Directions P (k, d) to the centres of features by k-means, for the logits P z/‖z‖.

    Args:
        features: z (items, d) of the base, each other than 0.
        count: how many centres, at most one for two items.
        seed: of k-means.

    Raises:
        InputError: there are fewer than four items, a feature is not finite, or all features point one way.

    Examples:
        >>> retain.cluster_centres(torch.randn(40, 8)).shape
        torch.Size([20, 8])
    """
    if not isinstance(features, Tensor) or features.ndim != 2 or not bool(torch.isfinite(features).all()):
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise InputError(f"features: {found}; give a tensor (items, numbers), all finite.")
    if not (is_whole(count) and count >= 2):
        raise InputError(f"count: {count!r}; give a whole number of centres, 2 or more.")
    if len(features) < 4:
        raise InputError(
            f"feature_weight: {len(features)} items are too few for centres of features; give four or more."
        )
    units = nn.functional.normalize(features.double(), dim=1).cpu()
    number = min(count, len(units) // 2)
    fitted = KMeans(number, n_init=4, random_state=seed).fit(np.asarray(units))
    centres = torch.from_numpy(np.asarray(fitted.cluster_centers_, dtype=np.float64))
    spread = float((units @ centres.T).std(dim=1).mean())
    if not spread > SMALLEST_SPREAD:
        raise InputError(
            "feature_weight: the base's features of all items point one way, so they tell nothing apart; use "
            "--kl-weight."
        )
    return (centres * (SPREAD / spread)).float()


def text_prototypes(
    model: Any, tokenizer: Any, names: Sequence[str], contexts: Sequence[str] = CONTEXTS
) -> tuple[Tensor, Tensor]:
    """Directions P (contexts, k) in the space that a model shares between images and text, and the way there.

    Args:
        model: with a text tower beside the tower of images: CLIP's and SigLIP's.
        tokenizer: of its texts.
        names: of the classes.
        contexts: texts with {} for a name.

    Returns:
        P, and the projection (k, d) of a pooled image output into the same space.

    Raises:
        InputError: it has no text tower, or there are no names.

    Examples:
        >>> retain.text_prototypes(model, tokenizer, ["cat", "dog"])
        Traceback (most recent call last):
        ...
        retain.errors.InputError: a PeftModel... with 2 class names gives no text prototypes; ...
    """
    names = given_texts(names, "names")
    if not has_text_tower(model) or not names:
        raise InputError(
            f"a {type(model).__name__} with {len(names)} class names gives no text prototypes; they need a text tower "
            "beside that of images (CLIP, SigLIP)."
        )
    rows = []
    with evaluating(model):
        for context in contexts:
            texts = [context.format(name.replace("_", " ")) for name in names]
            inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
            told = model.get_text_features(**{key: value.to(device_of(model)) for key, value in inputs.items()})
            found = getattr(told, "pooler_output", told).float()
            rows.append(nn.functional.normalize(nn.functional.normalize(found, dim=1).mean(dim=0), dim=0))
        directions = torch.stack(rows) * model.logit_scale.float().exp()
    own = getattr(model, "visual_projection", None)
    projection = torch.eye(directions.shape[1]) if own is None else own.weight.detach()
    return directions.detach().cpu(), projection.float().cpu()


def has_text_tower(model: Any) -> bool:
    """Tell whether a model has a tower for text beside one for images, and compares the two."""
    return all(hasattr(model, name) for name in ("text_model", "vision_model", "get_text_features", "logit_scale"))
