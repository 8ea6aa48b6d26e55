"""LoRFA: a low-rank amount across the input features, arXiv 2510.19155 (v1)."""
