"""Adapters in a model: attach, initialise, load, swap, speed up."""
