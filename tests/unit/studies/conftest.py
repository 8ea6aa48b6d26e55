"""`studies/benchmark/` is no installed package: its scripts find the modules beside them, and so do these tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "studies" / "benchmark"))
