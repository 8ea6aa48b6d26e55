"""Rotation: an orthogonal matrix on the input features, as SODA's input rotation (arXiv 2405.21050)."""

import retain.hf as _hf  # noqa: F401 -- before this folder's modules: see the text of retain/hf/__init__.py
