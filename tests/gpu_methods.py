"""The methods that tests/gpu trains on a GPU, by name: fields of a recipe. The table of what works reads them, too."""

from __future__ import annotations

from typing import Any

LORA = {"name": "lora", "r": 2}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"method": LORA},
    "mica": {"method": {**LORA, "init_lora_weights": "mica"}},
    "pissa": {"method": {**LORA, "init_lora_weights": "pissa"}},
    "dora": {"method": {**LORA, "use_dora": True}},
    "sc-lora": {"method": "sc-lora", "rank": 2},
    "sc-lora self": {"method": "sc-lora", "rank": 2, "calibrate_keep": "self"},
    "sc-lora float64": {"method": "sc-lora", "rank": 2, "calibrate_precision": "float64"},
    "vefa": {"method": "vefa"},
    "lorfa": {"method": "lorfa", "rank": 2},
    "rotation": {"method": {"name": "rotation", "block_size": 8}},
    "rotation kronecker": {"method": {"name": "rotation", "form": "kronecker"}},
    "corda-kpm": {"method": "corda-kpm", "rank": 2},
    "lora-null": {"method": "lora-null", "rank": 2},
    "milora": {"method": "milora", "rank": 2},
    "random start": {"method": "random-start", "rank": 2},
    "oft": {"method": {"name": "oft", "r": 0, "oft_block_size": 8}},
    "hra": {"method": {"name": "hra", "r": 2}},
    "ia3": {"method": "ia3"},
    "osf": {"method": "osf", "learning_rate": 1e-3},
    "sparse": {"method": {"name": "sparse", "score": "gradient", "density": 0.05, "batches": 2}},
    "sparse small": {
        "method": {"name": "sparse", "score": "small", "density": 0.05, "nuclear_weight": 1e-3, "reselect_after": 0.4}
    },
    "sparse learn-not-keep": {"method": {"name": "sparse", "score": "learn-not-keep", "density": 0.05, "batches": 2}},
    "full": {"method": "full", "learning_rate": 1e-3},
}
