"""The fine-tuning methods: one folder a method (equations, config, layer) and one table of them."""

import retain.hf as _hf  # noqa: F401 -- before any method's module: see the text of retain/hf/__init__.py
