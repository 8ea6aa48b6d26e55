"""Transformers models: their heads, their sides, their weights."""
