"""retain fine-tunes a pretrained model without losing what it knew, and proves it."""
