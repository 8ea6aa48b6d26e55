"""The initialisations, worked out token by token in float64 NumPy. Shares no code with retain and never calls it.

SC-LoRA is defined on a layer's *outputs* h = W x + b, and so it is computed here. A data set is a list of samples, each
an array (tokens, n) of the layer's inputs with padding dropped.
"""

import numpy as np


def outputs(weight, bias, sample):
    return [weight @ x if bias is None else weight @ x + bias for x in sample]


def covariance(weight, bias, samples, sample_norm="none"):
    """E[h hᵀ] a token, uncentred (m, m); with "max" each sample's outputs are divided by their largest magnitude."""
    total, tokens = np.zeros((len(weight), len(weight))), 0
    for sample in samples:
        found = outputs(weight, bias, sample)
        largest = max(abs(number) for h in found for number in h) if sample_norm == "max" else 1.0
        for h in found:
            total += np.outer(h / largest, h / largest)
            tokens += 1
    return total / tokens


def contrast(plus, minus, beta):
    return (1 - beta) * plus - beta * minus


def leading(delta, r):
    """Q (m, r) of the largest signed eigenvalues, and all eigenvalues, descending."""
    values, vectors = np.linalg.eigh((delta + delta.T) / 2)
    order = np.argsort(values)[::-1]
    return vectors[:, order[:r]], values[order]


def is_determined(values, r):
    """Whether the r leading directions are one subspace: λ_r and λ_{r+1} differ."""
    return r == len(values) or values[r - 1] - values[r] > 1e-9 * np.abs(values).max()


def factors_in(Q, weight):
    """A0, B0."""
    return Q.T @ weight, Q


def effective(weight, scale, A, B, A0, B0):
    return weight + scale * (B @ A - B0 @ A0)


def reward(Q, delta):
    return np.trace(Q.T @ delta @ Q)


def milora(weight, r):
    """What MiLoRA trains: W0 without its largest singular components."""
    U, S, Vh = np.linalg.svd(weight, full_matrices=False)
    return weight - sum(S[i] * np.outer(U[:, i], Vh[i]) for i in range(len(S) - r))


def corda_kpm(weight, samples, r, damping=0.01):
    """What CorDA trains to keep knowledge: the r smallest singular components of W0 C, times C⁻¹."""
    C = input_moment(samples)
    C += damping * np.mean(np.diag(C)) * np.eye(len(C))
    U, S, Vh = np.linalg.svd(weight @ C, full_matrices=False)
    return sum(S[i] * np.outer(U[:, i], Vh[i]) for i in range(len(S) - r, len(S))) @ np.linalg.inv(C)


def lora_null(weight, samples, r):
    """What LoRA-Null trains: W0 on the r input directions that the samples use least."""
    null = np.linalg.eigh(input_moment(samples))[1][:, :r]
    return weight @ null @ null.T


def input_moment(samples):
    tokens = [x for sample in samples for x in sample]
    return sum(np.outer(x, x) for x in tokens) / len(tokens)


class Net:
    """Linear layers with tanh between them, on rows of an embedding.

    Args:
        embedding: (vocabulary, n).
        layers: (weight, bias or None) each.
    """

    def __init__(self, embedding, layers):
        self.embedding, self.layers = embedding, layers

    def inputs(self, sentence):
        """What each layer reads of one sentence: arrays (tokens, n); last, what the net gives out."""
        found = [self.embedding[sentence]]
        for number, (weight, bias) in enumerate(self.layers):
            h = np.array(outputs(weight, bias, found[-1]))
            found.append(h if number == len(self.layers) - 1 else np.tanh(h))
        return found
