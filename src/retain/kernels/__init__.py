"""The equations of adapted linear layers with as little time and memory as they take; pure tensor functions, no PEFT.

Each has its plain form beside it, which the tests compare with and which `plain()` returns to.
"""

from retain.kernels.eligibility import plain

__all__ = ["plain"]
