"""Stages of a run in several processes: a plan, Accelerate's launcher, a line between job and workers, the worker."""
