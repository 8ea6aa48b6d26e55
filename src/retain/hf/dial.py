"""The dial: how strongly an update acts, chosen after training. Every weight becomes W0 + α(W_eff − W0).

`scaled` does it inside a context, `write_at` writes an ordinary adapter at α, `merged_at` a whole model, and `shrink`
makes a trained update smaller so that training can go on. The equations and what each method does are in
docs/concepts/dial.md.
"""

from __future__ import annotations

from retain.hf.dial_files import merged_at, write_at
from retain.hf.dial_parts import Alpha, keeps_its_form, scales_exactly
from retain.hf.dial_scale import ensure_scalable, scaled
from retain.hf.dial_shrink import shrink

__all__ = ["Alpha", "ensure_scalable", "keeps_its_form", "merged_at", "scaled", "scales_exactly", "shrink", "write_at"]
