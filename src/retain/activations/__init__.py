"""Second moments of a model's activations over data: collected, kept, merged, and checked against a model.

from retain.activations import collect, load, merge
"""

from retain.activations.collect import collect
from retain.activations.store import Manifest, Statistics, load, merge

__all__ = ["Manifest", "Statistics", "collect", "load", "merge"]
