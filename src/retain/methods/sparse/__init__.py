"""Sparse updates: a chosen share of each matrix's entries is trained, and all others stay as they are, to the bit.

The forms differ in the score that chooses the entries (`config.SCORES`): SIFT's (arXiv 2312.11875), SaRA's
(2409.06633), one after GaLLoP (2510.19778), one of ours, and controls.
"""
