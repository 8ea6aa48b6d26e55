"""Output directions that the text to keep uses least: not a published method, for the test of adding one.

B0 = Q holds the r eigenvectors of smallest eigenvalue of Cov− = W0 C Wᵀ, and A0 = Qᵀ W0.
"""

import torch

from retain.methods.initialisations.config import SCLoRAConfig
from retain.methods.initialisations.factors import Factors, FrozenLayer


def initialise(layer: FrozenLayer, config: SCLoRAConfig) -> Factors:
    """The factors of one layer."""
    W = layer.weight.double()
    moment = layer.moments["keep"] if layer.of_outputs else W @ layer.input_moment("keep") @ W.T
    Q = torch.linalg.eigh(moment).eigenvectors[:, : config.r]
    return Factors(Q.T @ W, Q)
