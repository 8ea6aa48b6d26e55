"""Which versions of transformers and PEFT work together."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version
from transformers.integrations.peft import MIN_PEFT_VERSION


def version_note(peft: str | None = None, needed: str = MIN_PEFT_VERSION) -> str | None:
    """A sentence where the installed transformers asks for a newer PEFT than is installed; None where they fit.

    Args:
        peft: a version of PEFT. [the installed one]
        needed: the oldest that transformers works with.
    """
    found = peft or version("peft")
    if Version(found) >= Version(needed):
        return None
    return (
        f"transformers {version('transformers')} works with PEFT {needed} or newer only, and {found} is installed; "
        f"pip install 'peft>={needed}', or an older transformers."
    )
