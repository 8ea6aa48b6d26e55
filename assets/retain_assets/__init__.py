"""The real model and texts that the demo, the studies and the slow tests use, made from packages that pip installs.

Nothing here is part of the library: `assets/prepare.py` is its one user.
"""
