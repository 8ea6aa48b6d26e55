"""VeFA: one scale per input feature, arXiv 2510.19155."""

import retain.hf as _hf  # noqa: F401 -- before this folder's modules: see the text of retain/hf/__init__.py
