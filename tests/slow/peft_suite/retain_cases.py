"""Copied into PEFT's tests: rows for our methods in PEFT's tables, made from the plain ones of its LoRA.

LoRA's own rows stay beside them, so that a failure of ours can be told from one that every method has there.
"""

from __future__ import annotations

import torch
from peft import LoraConfig

import retain
from retain.methods.lorfa.layer import LoRFALinear
from retain.methods.vefa.layer import VeFALinear

OURS = {"VeFA": retain.VeFAConfig, "LoRFA": retain.LoRFAConfig}
ALL = (LoraConfig, *OURS.values())
COMMON = {"target_modules", "exclude_modules", "modules_to_save", "task_type", "layers_to_transform", "inference_mode"}
LORAS = {"r", "lora_alpha", "lora_dropout", "bias", "init_lora_weights"}
AWAKE = {"now": False}
"""Whether new adapters begin away from the identity, as PEFT's tests ask of other methods by a field."""


def with_ours(table):
    """The rows of LoRA that mean linear layers and nothing special, and the same rows for our methods."""
    rows = []
    for row in table:
        if LoraConfig not in row:
            continue
        place = list(row).index(LoraConfig)
        names, fields = list(row[:place]), list(row[place + 1 :])
        if not all(isinstance(part, dict) and is_plain(part) for part in fields) or "conv" in str(names).lower():
            continue
        bare = [name.replace(" LoRA", "").replace("LoRA ", "") if " " in str(name) else name for name in names]
        rows.append((*bare, LoraConfig, *fields))
        for title, config in OURS.items():
            own = [title.lower() if name == "lora" else name for name in bare]
            rows.append((*own, config, *(translated(title, part) for part in fields)))
    return rows


def is_plain(fields) -> bool:
    """Whether a row of LoRA has a like for our methods: linear layers, no variant."""
    targets = str(fields.get("target_modules", "")).lower()
    special = fields.get("bias", "none") != "none" or not isinstance(fields.get("init_lora_weights", True), bool)
    return (
        fields.keys() <= COMMON | LORAS and not special and not any(part in targets for part in ("conv", "emb", "mha"))
    )


def translated(title, fields):
    """A row's fields under our names."""
    own = {key: value for key, value in fields.items() if key in COMMON}
    if title == "LoRFA":
        own["r"] = min(int(fields.get("r", 2)), 4)
        own |= {f"lorfa_{key}": fields[f"lora_{key}"] for key in ("alpha", "dropout") if f"lora_{key}" in fields}
    return own


def awake(fields):
    """The same fields; adapters made from here on until the end of the test begin away from the identity."""
    AWAKE["now"] = True
    return dict(fields)


def _stir(layer, container, size):
    plain = layer.parts

    def parts(self, config, key):
        made = plain(self, config, key)
        if AWAKE["now"]:
            torch.nn.init.normal_(made[container].weight, std=size)
        return made

    layer.parts = parts


_stir(VeFALinear, "vefa_lambda", 0.3)
_stir(LoRFALinear, "lorfa_B", 0.3)
