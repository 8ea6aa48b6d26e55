"""UniFA: one number for all input features of a layer. Not a published method, for the test of adding one."""

import retain.hf as _hf  # noqa: F401 -- before this folder's modules: see the text of retain/hf/__init__.py
