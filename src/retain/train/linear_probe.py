"""A linear probe: a head for new classes, fitted on the base's own features before anything else is trained.

With a random head there is no "before" to compare with, and its first large gradients distort the features for
nothing. With a fitted head the base is a classifier from the start, and what fine-tuning adds or costs can be paired
item by item. (Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", arXiv
2202.10054: linear probing, then fine-tuning.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from retain.data.batches import Batching, in_batches
from retain.data.preprocess import Preprocessor
from retain.events import Events
from retain.hf.models.head import head_inputs, output_layer, set_output_layer

ITEMS = 2000
"""Training items used at most, evenly taken, of each class at least one; more change a linear probe little."""

INVERSE_REGULARISATION = 0.1
"""C of scikit-learn's logistic regression on features of unit spread."""


def fit_head(
    model: Any,
    preprocessor: Preprocessor,
    items: Sequence[Any],
    labels: Sequence[str],
    batch_size: int,
    events: Events,
    batching: Batching = "padded",
) -> None:
    """Fit the output layer by logistic regression on the features that it reads; the rest of the model stays.

    Args:
        model: a classifier; it is left in eval mode.
        preprocessor: makes its inputs.
        items: labelled training items.
        labels: the classes in the order of the outputs.
        batch_size: items in a batch.
        events: receives the progress.
        batching: which items may be together.
    """
    chosen = evenly_chosen(items)
    groups = in_batches(preprocessor.lengths(chosen), batch_size, batching)
    order = [index for group in groups for index in group]
    device = next(model.parameters()).device
    task = events.task("a head is fitted on the base's features", total=len(chosen))

    def batches() -> Any:
        for group in groups:
            part = [chosen[index] for index in group]
            yield {key: value.to(device) for key, value in preprocessor.batch(part).items()}
            task.advance(len(part))

    features = head_inputs(model.eval(), batches()).double().numpy()
    truth = np.asarray([labels.index(chosen[index].label) for index in order])
    weight, bias = logistic_head(features, truth, len(labels), bias=output_layer(model).bias is not None)
    set_output_layer(model, torch.from_numpy(weight), torch.from_numpy(bias))


def evenly_chosen(items: Sequence[Any], most: int = ITEMS) -> list[Any]:
    """Items spread evenly over the list, which may be sorted by class, and the first of each class besides."""
    places = {index * len(items) // most for index in range(most)} if len(items) > most else set(range(len(items)))
    first: dict[str, int] = {}
    for place, item in enumerate(items):
        first.setdefault(item.label, place)
    return [items[place] for place in sorted(places | set(first.values()))]


def logistic_head(features: Any, truth: Any, classes: int, *, bias: bool = True) -> tuple[Any, Any]:
    """Weights (classes, features) and bias (classes,) of a multinomial logistic regression, for features as they are.

    Args:
        features: (n, d), float64.
        truth: (n,) indices of classes, each of which occurs.
        classes: how many there are.
        bias: whether the layer has one; without it the features are not centred, and the bias returned is 0.
    """
    scaler = StandardScaler(with_mean=bias).fit(features)
    regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000, fit_intercept=bias)
    fitted = regression.fit(scaler.transform(features), truth)
    coefficients, intercept = fitted.coef_, np.broadcast_to(fitted.intercept_, len(fitted.coef_))
    if classes == 2:  # scikit-learn gives one row, for the second class: z₁ − z₀
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    weight = coefficients / scaler.scale_
    return weight, intercept - weight @ scaler.mean_ if bias else np.zeros(classes)
