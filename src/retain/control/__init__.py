"""A forgetting budget: how much may be lost, and whether control data show that no more is."""
