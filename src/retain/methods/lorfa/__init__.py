"""LoRFA: a low-rank shift across the input features, arXiv 2510.19155 (v1)."""

import retain.hf as _hf  # noqa: F401 -- before this folder's modules: see the text of retain/hf/__init__.py
