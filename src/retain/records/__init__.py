"""The records of a run: the one schema that evaluation writes and every report reads. Plain values, no torch."""
