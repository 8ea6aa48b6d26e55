"""Training: a recipe, and the loop on transformers' Trainer that follows it."""
