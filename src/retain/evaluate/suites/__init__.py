"""Suites: what is measured, read from suite files, plain data and data sets."""
