"""`assets/` is no installed package: its script finds the modules beside it, and so do these tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "assets"))
