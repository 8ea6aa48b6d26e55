"""Data to learn from, to keep and to refer to: read, checked, hashed and turned into tokens."""
