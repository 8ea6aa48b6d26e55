"""SC-LoRA (arXiv 2505.23724) and its relatives: a LoRA that starts where data say, beside an untouched base."""
