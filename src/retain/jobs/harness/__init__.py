"""Tasks of lm-evaluation-harness as retention suites."""
