"""`python -m retain VERB …` is `retain VERB …`."""

from __future__ import annotations

import sys

from retain.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
