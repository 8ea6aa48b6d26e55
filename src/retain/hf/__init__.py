"""The only folder that knows the internals of PEFT and transformers.

PEFT is imported here, before any module of our tuners begins to be imported. Its import makes our tuners register
themselves (see `retain/__init__.py`), which imports all their modules; none may be half-imported by then. So each
method's folder imports this one first.
"""

import peft as _peft  # noqa: F401 -- imported for its effect, see above
