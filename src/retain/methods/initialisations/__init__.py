"""Data-driven initialisations of LoRA: one file each, and what they share.

Each chooses A0 and B0 of a frozen layer y = W0 x + b; `adapter.py` collects what it reads of the calibration texts,
solves all layers, and attaches a LoRA that is trained from there. A new one is a file here with a function
`initialise(layer, config)` (see `factors.py`), and a row in `retain.methods.table`.
"""
