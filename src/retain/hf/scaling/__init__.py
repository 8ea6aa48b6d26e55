"""The update scaling: how strongly an update acts, chosen after training. Every weight becomes W0 + α(W_eff − W0).

`scaled` does it inside a context, `scale_in_place` for good, `write_at` writes an ordinary adapter at α, `merged_at` a
whole model, and `shrink` makes a trained update smaller so that training can go on. The equations and what each method
does are in docs/concepts/scaling.md.
"""

from __future__ import annotations

from retain.hf.scaling.in_place import bent, scale_in_place
from retain.hf.scaling.parts import Alpha, keeps_its_form, scales_exactly
from retain.hf.scaling.scaled import ensure_scalable, scaled
from retain.hf.scaling.shrink import shrink
from retain.hf.scaling.write_scaled import adapter_to_write, merged_at, write_at

__all__ = [
    "Alpha",
    "adapter_to_write",
    "bent",
    "ensure_scalable",
    "keeps_its_form",
    "merged_at",
    "scale_in_place",
    "scaled",
    "scales_exactly",
    "shrink",
    "write_at",
]
