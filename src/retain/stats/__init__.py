"""Statistics of paired measurements: exact tests, intervals, bounds, power. Pure functions of numbers."""
