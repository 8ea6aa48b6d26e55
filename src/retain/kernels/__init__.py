"""The equations of adapted linear layers with as little time and memory as they take; pure tensor functions, no PEFT.

Each fused form has its reference form beside it: the tests compare with it, and `reference_only()` switches to it.
"""

from retain.kernels.eligibility import reference_only

__all__ = ["reference_only"]
