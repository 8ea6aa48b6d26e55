"""Second moments of a model's activations over data: collect, keep, merge, and refuse where they do not fit.

from retain.statistics import collect, load, merge
"""

from retain.statistics.collect import collect
from retain.statistics.store import Manifest, Statistics, load, merge

__all__ = ["Manifest", "Statistics", "collect", "load", "merge"]
