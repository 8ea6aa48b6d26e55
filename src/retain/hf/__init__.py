"""The only folder that knows the internals of PEFT and transformers.

PEFT is imported here, before any module of ours is half-made: its import makes our tuners register themselves (see
`retain/__init__.py`), which needs every module of theirs whole, whichever of them was asked for first.
"""

import peft as _peft  # noqa: F401 -- imported for its effect, see above
