"""VeFA: one amount per input feature, arXiv 2510.19155."""
