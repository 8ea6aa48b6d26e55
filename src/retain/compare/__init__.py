"""Runs beside each other: aggregates, Pareto fronts, trade-offs. Plain values."""
