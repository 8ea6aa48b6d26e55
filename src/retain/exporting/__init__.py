"""Trained adapters in the forms that others serve: what is beside the weights, and what llama.cpp makes of them."""
