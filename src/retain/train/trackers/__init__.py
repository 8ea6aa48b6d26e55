"""Experiment trackers: what each needs beyond transformers' callback for it, and how a run reports to them."""
