"""Write into identities.json what identifies each of its recipes, by the code on the path.

Recorded with the code of 933ea83, the last before fields were marked, whose names are mapped to today's:

    PYTHONPATH=<checkout of 933ea83>/src python tests/golden/make_identities.py

The parts that name the training are those of then. What is measured has two fields more since, and another default
(`smallest_gain`, `smallest_gain_nats`, `max_new_tokens`), as a verdict of today is another one; these were added to the
file.
"""

from __future__ import annotations

import json
from pathlib import Path

from retain.recipe import Recipe

try:
    from retain.jobs.identity import identity_of

    RENAMED = {}
except ImportError:
    from retain.workflow.folder import identity_of

    RENAMED = {
        "kl_weight": "anchor",
        "kl_monitor": "watch",
        "held_out_text": "reference",
        "held_out_tokens": "reference_tokens",
        "margin": "tolerance",
        "margin_nats": "tolerance_nats",
    }

FILE = Path(__file__).with_name("identities.json")
APART = "apart from "


def renamed(values, names):
    """Values by field, under other names; the names of hashes are field names too, some behind a prefix."""
    if values is None:
        return None
    found = {}
    for name, value in values.items():
        prefix = APART if name.startswith(APART) else ""
        found[prefix + names.get(name.removeprefix(prefix), name.removeprefix(prefix))] = value
    return found


def main():
    cases = json.loads(FILE.read_text(encoding="utf-8"))
    back = {old: new for new, old in RENAMED.items()}
    for case in cases:
        recipe = Recipe.model_validate(renamed(case["recipe"], RENAMED))
        hashes, apart = renamed(case["hashes"], RENAMED), renamed(case["apart"], RENAMED)
        identity = identity_of(recipe, hashes, "files", calibrated=case["calibrated"], apart=apart)
        case["identity"] = {part: renamed(values, back) for part, values in identity.items()}
    lines = ",\n".join(json.dumps(case) for case in cases)
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
