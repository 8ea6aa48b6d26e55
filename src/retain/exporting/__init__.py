"""Trained adapters in the forms that others serve."""
