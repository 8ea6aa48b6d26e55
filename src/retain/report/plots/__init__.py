"""Plots, one subject a file."""
